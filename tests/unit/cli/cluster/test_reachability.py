from typing import Any

import pytest

from imagejob_cli.cluster.reachability import unreachable_hint, why_unreachable

ENDPOINT = {"template": {"env": [{"name": "AWS_ENDPOINT_URL", "value": "http://s3.storage.svc"}]}}
VOLUME = {"template": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "photos"}}]}}


@pytest.mark.parametrize(
    ("url", "spec", "environment", "words"),
    [
        ("s3://bucket/x", {}, {}, None),
        ("s3://bucket/x", {"template": {"env": [{"name": "AWS_REGION", "value": "eu"}]}}, {}, None),
        ("s3://bucket/x", ENDPOINT, {"AWS_ENDPOINT_URL": "http://localhost:7070"}, None),
        ("s3://bucket/x", ENDPOINT, {}, "kubectl port-forward"),
        ("file:///data", VOLUME, {}, "on the volume claim photos"),
        ("results/x", {}, {}, "inside the job's pods"),
    ],
)
def test_why_an_output_is_not_read_from_here(url: str, spec: dict[str, Any], environment: dict[str, str], words: str | None) -> None:
    why = why_unreachable(url, spec, environment)
    assert why is None if words is None else words in (why or "")


def test_what_is_added_to_an_error() -> None:
    assert "take theirs from elsewhere" in unreachable_hint("s3://b/x", {"template": {"env": [{"name": "A", "valueFrom": {}}]}})
    assert "take theirs" not in unreachable_hint("s3://b/x", {})
