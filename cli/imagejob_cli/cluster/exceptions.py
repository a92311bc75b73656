"""Every error that the cluster's commands raise on purpose; each is shown as `Error: …` and ends the program with the exit code it carries.

ClusterError                 the cluster cannot do, or did not do, what it was asked to
├── AccessError              the kubeconfig cannot be used as it is
├── UnreachableError         nobody answers, or the answer is that the server cannot answer now
├── UnauthorizedError        the credentials are not accepted
├── ForbiddenError           a right is missing
├── NotInstalledError        the cluster does not know the kind
├── NotFoundError            there is no such object
├── ConflictError            the object has changed in between, or is in the way
├── ExpiredError             a watch cannot go on from where it was
└── RefusedError             anything else that the API server refuses
"""

from typing import ClassVar

import click

from imagejob_runner.constants import ExitCode


class ClusterError(click.ClickException):
    """The cluster cannot do, or did not do, what it was asked to. The message says what, where and what to do."""

    exit_code: ClassVar[int] = ExitCode.STORAGE


class AccessError(ClusterError):
    """The kubeconfig cannot be used as it is."""

    exit_code = ExitCode.INVALID


class UnreachableError(ClusterError):
    """Nobody answers, or the answer is that the server cannot answer now. Another attempt may help."""


class UnauthorizedError(ClusterError):
    """The credentials are not accepted."""


class ForbiddenError(ClusterError):
    """A right is missing."""


class NotInstalledError(ClusterError):
    """The cluster does not know the kind."""


class NotFoundError(ClusterError):
    """There is no such object."""

    exit_code = ExitCode.INVALID


class ConflictError(ClusterError):
    """The object has changed in between, or is in the way."""


class ExpiredError(ClusterError):
    """A watch cannot go on from where it was; list again."""


class RefusedError(ClusterError):
    """The API server refuses what was sent."""

    exit_code = ExitCode.INVALID
