"""When a run should not go on because too many of its images fail: the same rule on one machine and on a cluster."""

from typing import Final

from imagejob_api.imagejob import FailurePolicy

RATE_FROM_IMAGES: Final = 100
"""The failure rate is looked at from this many images on: before, one bad image would end a good job."""


def too_many_failures(policy: FailurePolicy, failed: int, done: int) -> str | None:
    """Why a run should not go on, while `done` images have ended and `failed` of them have failed."""
    if policy.max_failures is not None and failed > policy.max_failures:
        return f"{failed} images failed; failurePolicy.maxFailures allows {policy.max_failures}."
    if done >= RATE_FROM_IMAGES and failed > policy.max_failure_rate * done:
        return f"{failed} of {done} images failed; failurePolicy.maxFailureRate allows a part of {policy.max_failure_rate:g}."
    return None
