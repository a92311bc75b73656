"""What a job's inputs are: inline URLs, a manifest or a listing, all seen as one stream of entries."""

from imagejob_runner.sources.base import Entry
from imagejob_runner.sources.globs import Glob
from imagejob_runner.sources.listing import list_source

__all__ = ["Entry", "Glob", "list_source"]
