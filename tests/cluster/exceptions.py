"""What can go wrong with the clusters of the tests.

- ClusterError
    - UnavailableError: this machine lacks something; the message names it, and what to do about it
    - StartError: everything was there, and yet a component did not become ready
    - CommandError: a command against a cluster failed
"""


class ClusterError(Exception):
    """Base of what this tool raises."""


class UnavailableError(ClusterError):
    """This machine cannot run what was asked for: says what is missing, why it is needed and how to get it."""


class StartError(ClusterError):
    """A component ended or did not become ready in time; carries the end of its log."""


class CommandError(ClusterError):
    """A command against a cluster failed; carries what it printed."""
