"""What Events say about a Job without pods or a pod that does not start, and what nobody says: that a claim is missing."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.actions import Inquiry
from imagejob_operator.imagejobs.inquiries import Answer, inquire
from imagejob_operator.kubernetes import KubernetesApi

Json = dict[str, Any]
POD = Inquiry("Pod", "uid-1")
CLAIMS = Inquiry("Pod", "uid-1", claims=("gpu",))
NOT_THERE: tuple[int, Json | str] = (404, {"reason": "NotFound", "message": 'resourceclaims.resource.k8s.io "gpu" not found'})
NOT_SERVED: tuple[int, Json | str] = (404, "404 page not found")
REFUSED: tuple[int, Json | str] = (403, {"reason": "Forbidden", "message": "no"})
THERE: tuple[int, Json | str] = (200, {"metadata": {"name": "gpu"}})


def event(reason: str, message: str = "", *, at: int = 0, severity: str = "Warning") -> Json:
    return {"metadata": {}, "reason": reason, "message": message, "type": severity, "lastTimestamp": f"2026-05-04T10:00:{at:02}Z"}


def answer(inquiry: Inquiry, *events: Json, claims: Mapping[str, tuple[int, Json | str]] | None = None) -> Answer:
    """What is found where these events are, and claims of these versions of their kind answer like this."""

    async def transport(
        _method: str, path: str, query: Mapping[str, str], _body: Json | None, _content_type: str, _timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        if path.endswith("/events"):
            assert query["fieldSelector"] == "involvedObject.uid=uid-1"
            return 200, {}, json.dumps({"items": events, "metadata": {"resourceVersion": "1"}}).encode()
        _, _, group, version, *_, name = path.split("/")
        assert (group, name) == ("resource.k8s.io", "gpu")
        status, content = (claims or {}).get(version, NOT_SERVED)
        return status, {}, (content if isinstance(content, str) else json.dumps(content)).encode()

    return asyncio.run(inquire(KubernetesApi(transport), "team", inquiry))


@pytest.mark.parametrize("served", ["v1", "v1beta1"])
def test_a_claim_that_is_not_there_is_told_by_name(served: str) -> None:
    found = answer(CLAIMS, claims={served: NOT_THERE}).complaint

    assert found is not None
    assert found.reason is Reason.UNSCHEDULABLE
    assert found.message.startswith("There is no ResourceClaim gpu in namespace team, which gpu.claimName names. Make it")


@pytest.mark.parametrize("said", [THERE, REFUSED, NOT_SERVED], ids=["there", "refused", "not served"])
def test_a_claim_is_not_called_missing_unless_it_is_known(said: tuple[int, Json | str]) -> None:
    assert answer(CLAIMS, claims={"v1": said}) == Answer()


def test_the_newest_warning_that_tells_something_is_told() -> None:
    events = [
        event("FailedMount", "later", at=9),
        event("FailedMount", "earlier", at=3),
        event("BackOff", "says nothing", at=20),
        event("FailedCreate", "is none", at=30, severity="Normal"),
    ]
    found = answer(POD, *events).complaint

    assert found is not None
    assert (found.reason, found.message) == (Reason.VOLUME_UNAVAILABLE, "later")


def test_whether_an_image_is_being_pulled() -> None:
    pulling, pulled = event("Pulling", at=5, severity="Normal"), event("Pulled", at=9, severity="Normal")

    assert answer(POD, pulling).pulling
    assert not answer(POD, pulled, pulling).pulling
    assert not answer(POD).pulling
