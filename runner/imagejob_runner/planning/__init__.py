"""Turns a job into a plan: which inputs there are, in which chunks and shards, and what the output belongs to."""

from imagejob_runner.planning.chunks import Chunk, manifest_name, shard_chunks
from imagejob_runner.planning.digest import ManifestDigest, SourceDigest
from imagejob_runner.planning.models import PlannedModel, planned_models
from imagejob_runner.planning.plan import Plan, fingerprint_of, read_plan
from imagejob_runner.planning.planner import confirm_plan, plan_job

__all__ = [
    "Chunk",
    "ManifestDigest",
    "Plan",
    "PlannedModel",
    "SourceDigest",
    "confirm_plan",
    "fingerprint_of",
    "manifest_name",
    "plan_job",
    "planned_models",
    "read_plan",
    "shard_chunks",
]
