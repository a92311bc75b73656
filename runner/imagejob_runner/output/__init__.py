"""The rows of a job: their form, how they are committed, counted and proved whole."""

from imagejob_runner.output.codec import check_json, decode_rows, encode_rows
from imagejob_runner.output.finalize import finalize, reopen
from imagejob_runner.output.found import UNREAD, FoundRows, remaining
from imagejob_runner.output.images import derived_image_name
from imagejob_runner.output.kinds import OutputKind, OutputKinds, output_kinds
from imagejob_runner.output.parts import chunk_name, committed_chunks, read_rows
from imagejob_runner.output.report import HoldCounts, Problem, VerifyReport
from imagejob_runner.output.summary import Summary, within_policy
from imagejob_runner.output.verify import verify

__all__ = [
    "UNREAD",
    "FoundRows",
    "HoldCounts",
    "OutputKind",
    "OutputKinds",
    "Problem",
    "Summary",
    "VerifyReport",
    "check_json",
    "chunk_name",
    "committed_chunks",
    "decode_rows",
    "derived_image_name",
    "encode_rows",
    "finalize",
    "output_kinds",
    "read_rows",
    "remaining",
    "reopen",
    "verify",
    "within_policy",
]
