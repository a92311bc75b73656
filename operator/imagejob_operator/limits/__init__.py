"""NodeLimits: a Lease for each of them and each node, resized live, and freed of pods that are gone.

facts, goal ─┐
records ─────┼─▶ plan ─▶ leases ─▶ API server
pods ────────┘            ▲
events ─▶ controller ─────┘ (by the work queue)
"""

from imagejob_operator.limits.controller import LimitController
from imagejob_operator.limits.view import LimitFacts, LimitsView

__all__ = ["LimitController", "LimitFacts", "LimitsView"]
