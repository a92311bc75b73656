"""Every error the runner raises on purpose.

RunnerError                     the run cannot go on; carries an exit code
├── InvalidJobError             the job, as written, cannot run
│   ├── InvalidSourceError      the source holds nothing, or what cannot be understood
│   │   └── DuplicateIdError    two inputs have one id
│   ├── OutputRefusedError      the output is not this job's to write
│   │   ├── FingerprintError    it belongs to another job
│   │   └── OutputExistsError   it holds something, and must not
│   └── ModelError              a model cannot be loaded, or must not be
├── StorageError                a source list or an output cannot be read or written
│   ├── StorageRefusedError     the storage answers, and refuses: no such bucket, wrong credentials, no rights
│   └── StorageAwayError        the storage does not answer, or not in order, at this moment
└── DeviceError                 the GPU has failed under this process
ImageError                      one image fails; becomes its row
SkipImage                       one image is left out on purpose (public, for call functions)
"""

from imagejob_api.redaction import redacted
from imagejob_runner.constants import ExitCode


class RunnerError(Exception):
    """The run cannot go on. The message says what, where and what to do, and loses the secrets of URLs in it.

    Args:
        message: The message.
    """

    exit_code: ExitCode = ExitCode.JOB_FAILED

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class InvalidJobError(RunnerError):
    """The job cannot run as it is written."""

    exit_code = ExitCode.INVALID


class InvalidSourceError(InvalidJobError):
    """The source holds nothing, or something that cannot be understood."""


class DuplicateIdError(InvalidSourceError):
    """Two inputs have the same id."""


class OutputRefusedError(InvalidJobError):
    """The output is not this job's to write."""


class FingerprintError(OutputRefusedError):
    """The output was made by a job that differs."""


class OutputExistsError(OutputRefusedError):
    """The output holds something, and must not: `output.ifExists` is fail, or it is nothing to add rows to."""


class ModelError(InvalidJobError):
    """A model cannot be loaded, or must not be."""


class StorageError(RunnerError):
    """A source list or an output cannot be read or written."""

    exit_code = ExitCode.STORAGE


class StorageRefusedError(StorageError):
    """The storage answers and refuses, as it will the next time: there is no such bucket, or the credentials are wrong or may not write."""


class StorageAwayError(StorageError):
    """The storage does not answer, or says that it cannot at this moment; it may be back soon."""


class DeviceError(RunnerError):
    """The GPU has failed under this process, is not there, or has no memory left for the model; another process may find it well."""


class ImageError(Exception):
    """One image fails.

    Args:
        code: One of `ErrorCode`.
        message: What is wrong, for people; loses the secrets of URLs in it.
        retryable: Whether another attempt may help.
        retry_after: Seconds that the other side asked to wait before the next attempt.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        self.code = code
        self.message = redacted(message)
        super().__init__(self.message)
        self.retryable = retryable
        self.retry_after = retry_after


class SkipImage(Exception):  # noqa: N818  it is a decision, not an error
    """Raised by a call function to leave an image out; its row says `skipped` with this message."""
