"""What became of a job, and the file that says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagejob_api.imagejob import FailurePolicy
from imagejob_runner.constants import SUMMARY_FILE
from imagejob_runner.exceptions import StorageError
from imagejob_runner.sealed import FILE, sealed_file, strict_json
from imagejob_runner.storage import OutputStore

# A rate times a count is not exact in binary: 0.29 * 100 is 28.999999999999996.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a job, as its parts say."""

    name: str
    """The job."""
    fingerprint: str
    """The plan's."""
    total: int
    """Inputs."""
    succeeded: int
    """Inputs with an ok row."""
    failed: int
    """Inputs with a failed row."""
    skipped: int
    """Inputs with a skipped row."""
    error_codes: Mapping[str, int]
    """Failed rows by code."""
    within_policy: bool
    """Whether no more failed than the failure policy allows."""
    facts: Mapping[str, Any]
    """What the caller added, such as times and limits."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Id and message of one failed row for each code; not in the file, since ``errors.jsonl`` has them all."""

    @property
    def missing(self) -> int:
        """Inputs without a row."""
        return self.total - self.succeeded - self.failed - self.skipped

    @property
    def success(self) -> bool:
        """Whether every input has a row and no more failed than allowed."""
        return self.within_policy and not self.missing

    def encoded(self) -> bytes:
        """The bytes of ``summary.json``."""
        record = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "phase": "Succeeded" if self.success else "Failed",
            "images": {"total": self.total, "succeeded": self.succeeded, "failed": self.failed, "skipped": self.skipped},
            "errorCodes": dict(self.error_codes),
            "facts": dict(self.facts),
        }
        return sealed_file(record)

    def says_the_same(self, other: "Summary") -> bool:
        """Whether both count the same; what the callers added does not matter."""

        def counts(summary: Summary) -> tuple[object, ...]:
            numbers = (summary.total, summary.succeeded, summary.failed, summary.skipped, dict(summary.error_codes))
            return (summary.fingerprint, summary.within_policy, *numbers)

        return counts(self) == counts(other)


def within_policy(policy: FailurePolicy, *, failed: int, total: int) -> bool:
    """Whether so many failed images are still a success."""
    if policy.max_failures is not None and failed > policy.max_failures:
        return False
    return failed <= policy.max_failure_rate * total + _ROUNDING


async def read_summary(output: OutputStore) -> Summary | None:
    """The summary in an output; None when it has none.

    Raises:
        StorageError: It cannot be read, or is damaged.
    """
    data = await output.read(SUMMARY_FILE)
    if data is None:
        return None
    try:
        record = strict_json(data)
        FILE.check(data)
        return _parsed(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{SUMMARY_FILE} is damaged ({error}); delete it and run again") from None


def _parsed(record: dict[str, Any]) -> Summary:
    images, codes = record["images"], record["errorCodes"]
    numbers = [images["total"], images["succeeded"], images["failed"], images["skipped"], *codes.values()]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a count is no whole number")
    if record["phase"] not in ("Succeeded", "Failed"):
        raise ValueError(f"the phase is {record['phase']!r}")
    return Summary(
        name=record["name"],
        fingerprint=record["fingerprint"],
        total=images["total"],
        succeeded=images["succeeded"],
        failed=images["failed"],
        skipped=images["skipped"],
        error_codes=dict(codes),
        within_policy=record["phase"] == "Succeeded",
        facts=dict(record["facts"]),
    )
