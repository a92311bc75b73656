"""What there is of the kinds that ImageJobs are made of, by events, by lists and by the answers to own writes.

A reconcile reads nothing else. It sees its own writes, since their answers go in here before the next one begins; and it does not begin
before everything has been listed once, so that nothing is made that is there already.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from imagejob_api.pod import LABEL_JOB, LABEL_MANAGED_BY, LABEL_MEMBER, MANAGED_BY
from imagejob_operator.kubernetes import Json, KubernetesApi
from imagejob_operator.kubernetes.kinds import IMAGE_JOB, IMAGE_PIPELINE, JOB, POD, Kind
from imagejob_operator.lists import Lister, Objects
from imagejob_operator.versions import Versions

Name = tuple[str, str]
"""Namespace and name."""

JOBS_SELECTOR: Final = f"{LABEL_JOB},{LABEL_MANAGED_BY}={MANAGED_BY}"
PODS_SELECTOR: Final = f"{LABEL_MEMBER}=true"


class ObjectCache:
    """The objects of one kind.

    Args:
        api: The API server.
        kind: The kind.
        namespaces: Where to look; everywhere unless any is named.
        label_selector: Which of them.
        changed: Called with each object that is there anew, has changed or is gone.
    """

    def __init__(
        self, api: KubernetesApi, kind: Kind, namespaces: Sequence[str], label_selector: str, changed: Callable[[Json], None]
    ) -> None:
        self._api = api
        self._kind = kind
        self._namespaces = namespaces
        self._label_selector = label_selector
        self._changed = changed
        self._objects: dict[Name, Json] = {}
        self._of_job: dict[Name, set[Name]] = defaultdict(set)
        self.listing: Objects[Name] = Objects(Versions[Name](), name_of, self._seen, self._gone, self._list)

    def report(self, event_type: str | None, thing: Json) -> None:
        """Take in what a watch, or the answer to a request, says; "DELETED" means gone."""
        self.listing.report(event_type, thing)

    def get(self, namespace: str, name: str) -> Json | None:
        """An object."""
        return self._objects.get((namespace, name))

    def of_job(self, namespace: str, job: str) -> list[Json]:
        """The objects that are labelled with an ImageJob's name."""
        return [self._objects[name] for name in sorted(self._of_job.get((namespace, job), ()))]

    def __iter__(self) -> Iterator[Json]:
        return iter(list(self._objects.values()))

    def _seen(self, name: Name, thing: Mapping[str, Any]) -> None:
        known = self._objects.get(name)
        if known is not None and known["metadata"]["resourceVersion"] == thing["metadata"]["resourceVersion"]:
            return  # the watch tells of an own write
        kept = {**thing, "metadata": {key: value for key, value in thing["metadata"].items() if key != "managedFields"}}
        self._objects[name] = kept
        self._of_job[job_of(kept)].add(name)
        self._changed(kept)

    def _gone(self, name: Name) -> None:
        known = self._objects.pop(name, None)
        if known is None:
            return
        job = job_of(known)
        self._of_job[job].discard(name)
        if not self._of_job[job]:
            del self._of_job[job]
        self._changed(known)

    async def _list(self) -> list[Json]:
        found: list[Json] = []
        for namespace in self._namespaces or (None,):
            found += await self._api.list(self._kind, namespace, label_selector=self._label_selector)
        return found


class Caches:
    """The caches of all kinds that ImageJobs are made of.

    Args:
        api: The API server.
        namespaces: Where to look; everywhere unless any is named.
        look_at: Called with the namespace and the name of an ImageJob about which something has changed.
    """

    def __init__(self, api: KubernetesApi, namespaces: Sequence[str], look_at: Callable[[str, str], None]) -> None:
        self._look_at = look_at
        self.image_jobs = ObjectCache(api, IMAGE_JOB, namespaces, "", self._image_job_changed)
        self.pipelines = ObjectCache(api, IMAGE_PIPELINE, namespaces, "", self._pipeline_changed)
        self.jobs = ObjectCache(api, JOB, namespaces, JOBS_SELECTOR, self._child_changed)
        self.pods = ObjectCache(api, POD, namespaces, PODS_SELECTOR, self._child_changed)
        kinds = [cache.listing for cache in (self.image_jobs, self.pipelines, self.jobs, self.pods)]
        self._lister = Lister(kinds, self._listed, time.monotonic)
        self._filled = False

    async def fill(self) -> None:
        """List everything, if that has not been done, or was long ago.

        Raises:
            ApiError: The API server cannot answer.
        """
        await self._lister.refresh()

    @property
    def refill_seconds(self) -> float:
        """Time until the next list."""
        return self._lister.due_seconds

    def _listed(self) -> None:
        self._filled = True
        for job in self.image_jobs:
            self._look_at(*name_of(job))

    def _image_job_changed(self, job: Json) -> None:
        self._look_at(*name_of(job))

    def _child_changed(self, child: Json) -> None:
        namespace, job = job_of(child)
        if job and self.image_jobs.get(namespace, job) is not None:
            self._look_at(namespace, job)

    def _pipeline_changed(self, pipeline: Json) -> None:
        namespace, name = name_of(pipeline)
        for job in self.image_jobs:
            if job["metadata"]["namespace"] == namespace and named_pipeline(job) == name:
                self._look_at(*name_of(job))


def name_of(thing: Mapping[str, Any]) -> Name:
    """Namespace and name of an object."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def job_of(thing: Json) -> Name:
    """Namespace and name of the ImageJob that an object is labelled with; without a name if it is not."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(LABEL_JOB, "")


def named_pipeline(job: Json) -> str:
    """Name of the ImagePipeline that an ImageJob names; empty if it names none, or is malformed."""
    spec = job.get("spec")
    reference = spec.get("pipelineRef") if isinstance(spec, dict) else None
    name = reference.get("name") if isinstance(reference, dict) else None
    return name if isinstance(name, str) else ""
