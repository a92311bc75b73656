"""Names and numbers that more than one module of the lease relies on."""

import re
from typing import Final

ANNOTATION_SLOTS: Final = "imagejob.dev/slots"
ANNOTATION_ACTIVE: Final = "imagejob.dev/active"
ANNOTATION_EPOCH: Final = "imagejob.dev/epoch"
ANNOTATION_HOLDERS: Final = "imagejob.dev/holders"
ANNOTATION_QUEUE: Final = "imagejob.dev/queue"

DEFAULT_DURATION_SECONDS: Final = 30
RENEW_FRACTION: Final = 1 / 3
"""A holder renews when this part of the lease duration has passed since its last renewal."""
STOP_FRACTION: Final = 2 / 3
"""A holder stops using the resource when this part has passed without a successful renewal; the rest is the margin to `expire`."""
TAKE_UP_SECONDS: Final = 2.0
"""A new holder shows within this time that it knows of its grant: it renews, or has left by then. Until its first renewal it counts in
place of the lease duration, where that is longer. So a grant to somebody who is dead costs others no more than this."""

EXPIRY_STAGGER_SECONDS: Final = 0.05
"""Waiters further back in the queue look at a dead holder this much later each, so that one of them writes and not all."""
WATCH_LINGER_SECONDS: Final = 10.0
"""How long a watch stays open after the last use of its limit, so that short gaps do not reopen it and idle processes cost nothing."""
CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""How long `LeaseClient.close` tries to tell the store before it leaves the rest to the reaper."""

ANSWER_SECONDS: Final = 2.0
"""How long a store may take to answer before that counts as what keeps a claim waiting."""
RETRY_FIRST_SECONDS: Final = 0.02
RETRY_LAST_SECONDS: Final = 1.0
"""Backoff against a store that cannot be reached."""
CONFLICT_FIRST_SECONDS: Final = 0.001
CONFLICT_LAST_SECONDS: Final = 0.03
"""Backoff of requests after a lost compare-and-swap. What hands slots on is written again at once."""

MOST_GRANTS: Final = 2**31 - 1
"""Grants that `spec.leaseTransitions` can count. At half of it the store's keeper begins a new epoch."""

LIMIT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
"""What a limit may be called: it becomes part of a Lease's name and of a file's name."""

MOST_POD: Final = 320
"""Characters of `namespace/name`: Kubernetes allows 63 and 253."""
