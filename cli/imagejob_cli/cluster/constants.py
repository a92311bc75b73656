"""Names and numbers that more than one of the cluster's commands relies on."""

from typing import Final

PROGRAM: Final = "imagejob"
PLUGIN: Final = "kubectl imagejob"
"""The program's name for whoever started it through kubectl."""
PLUGIN_FILE: Final = "kubectl-imagejob"
"""The file that kubectl starts for it."""

DEFAULT_OPERATOR_NAMESPACE: Final = "imagejob-system"
FIELD_MANAGER: Final = "kubectl-imagejob"
"""Whom the API server names as the writer of what is submitted."""

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
"""A request that is no stream must be answered within this time."""
WATCH_SECONDS: Final = 300
"""After this the API server ends a watch, and it is begun anew where it ended."""
SILENCE_SECONDS: Final = 150.0
"""A watch that says nothing for this long is taken for broken: the API server sends a bookmark about once a minute."""
RETRY_FIRST_SECONDS: Final = 0.25
RETRY_LAST_SECONDS: Final = 5.0
"""Backoff against a cluster that does not answer."""
GIVE_UP_SECONDS: Final = 300.0
"""Who follows a job gives up when the cluster has not answered for this long. The job does not."""
