import kopf

from imagejob_operator import handlers
from imagejob_operator.imagejobs.caches import JOBS_SELECTOR, PODS_SELECTOR
from imagejob_operator.kubernetes.kinds import IMAGE_JOB, JOB, NODE, POD, Kind


def test_the_server_sends_no_job_or_pod_that_is_not_ours() -> None:
    def asked_for(kind: Kind) -> list[str]:
        return list(handlers.settings().watching.label_selectors.collect(kopf.Resource(kind.group, kind.version, kind.plural)))

    assert [asked_for(kind) for kind in (JOB, POD, NODE, IMAGE_JOB)] == [[JOBS_SELECTOR], [PODS_SELECTOR], [], []]


def test_every_kind_has_one_handler_that_only_hands_on() -> None:
    kinds = (IMAGE_JOB, JOB, POD, NODE)
    registry = handlers.registry({kind: lambda *_: None for kind in kinds})
    watching = registry._watching.get_all_handlers()
    assert [handler.id for handler in watching] == [kind.plural for kind in kinds]
    assert not registry._changing.get_all_handlers(), "these write annotations"
    assert not registry._spawning.get_all_handlers(), "these set finalizers"


def test_kopf_keeps_no_copies_of_objects_and_few_at_a_time() -> None:
    chosen = handlers.settings()
    body = kopf.Body({"metadata": {"name": "flowers", "annotations": {"notes": "x"}}, "spec": {"source": {"urls": ["x" * 1000]}}})
    storage = chosen.persistence.diffbase_storage
    assert (storage.build(body=body), storage.fetch(body=body)) == ({}, None)
    assert chosen.watching.chunk_size <= 50, "of 1.4 MB each, as the API server takes them"
    assert chosen.queueing.idle_timeout <= 1, "kopf keeps the last event of an object until then"
