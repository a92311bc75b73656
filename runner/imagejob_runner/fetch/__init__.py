"""Gets the bytes behind a URL: images into memory, models and manifests into files."""

from imagejob_runner.fetch.fetcher import Fetcher
from imagejob_runner.fetch.files import copy_to, model_file, sha256_of

__all__ = ["Fetcher", "copy_to", "model_file", "sha256_of"]
