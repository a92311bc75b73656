"""Turns a job into a plan: which inputs there are, in which chunks and shards, and what the output belongs to."""

from imagejob_runner.planning.chunks import Chunk, shard_chunks
from imagejob_runner.planning.plan import Plan, read_plan
from imagejob_runner.planning.planner import confirm_plan, plan_job

__all__ = ["Chunk", "Plan", "confirm_plan", "plan_job", "read_plan", "shard_chunks"]
