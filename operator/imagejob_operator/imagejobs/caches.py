"""What there is of the kinds that ImageJobs are made of, by events, by lists and by the answers to own writes.

A reconcile sees its own writes, since their answers go in here before the next one begins; and it does not begin before everything has
been listed once, so that nothing is made that is there already.

Of an object that a user wrote only a summary of a fixed size is kept, and the whole only while it is short or in use (`bodies`): how much
memory the operator takes follows from the number of objects, and not from what they hold.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

from imagejob_api.pod import LABEL_JOB, LABEL_MANAGED_BY, LABEL_MEMBER, MANAGED_BY
from imagejob_operator.imagejobs.bodies import Bodies
from imagejob_operator.imagejobs.job_summary import JobSummary
from imagejob_operator.imagejobs.job_view import without_what_no_view_shows
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.kubernetes import KubernetesApi, NotFoundError
from imagejob_operator.kubernetes.kinds import IMAGE_JOB, IMAGE_PIPELINE, JOB, POD, Kind
from imagejob_operator.lists import Lister, Objects, pages_in
from imagejob_operator.manifest import Json
from imagejob_operator.versions import Versions

logger = logging.getLogger(__name__)

Name = tuple[str, str]
"""Namespace and name."""

JOBS_SELECTOR: Final = f"{LABEL_JOB},{LABEL_MANAGED_BY}={MANAGED_BY}"
PODS_SELECTOR: Final = f"{LABEL_MEMBER}=true"
PROGRESS_SECONDS: Final = 1.0
"""A pod that only tells how far it is need not be looked at at once: many do, again and again."""


Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Kept]):
    """What is kept of an object."""

    version: str
    job: Name
    kept: Kept


class ObjectCache(Generic[Kept]):
    """The objects of one kind.

    Args:
        api: The API server.
        kind: The kind.
        namespaces: Where to look; everywhere unless any is named.
        label_selector: Which of them.
        keep: What to keep of an object; None: nothing.
        changed: Called with the name of an object that is there anew, has changed or is gone, what was kept of it before, and what is now.
    """

    def __init__(
        self,
        api: KubernetesApi,
        kind: Kind,
        namespaces: Sequence[str],
        label_selector: str,
        *,
        keep: Callable[[Json], Kept | None],
        changed: Callable[[Name, Name, Kept | None, Kept | None], None],
    ) -> None:
        self._api = api
        self._kind = kind
        self._keep = keep
        self._changed = changed
        self._entries: dict[Name, _Entry[Kept]] = {}
        self._of_job: dict[Name, set[Name]] = defaultdict(set)
        list_all = partial(pages_in, api, kind, namespaces, label_selector=label_selector)
        self.listing: Objects[Name] = Objects(Versions[Name](), name_of, self._seen, self._gone, list_all)

    def report(self, event_type: str | None, thing: Json) -> None:
        """Take in what a watch, or the answer to a request, says; "DELETED" means gone."""
        self.listing.report(event_type, thing)

    def get(self, namespace: str, name: str) -> Kept | None:
        """An object."""
        entry = self._entries.get((namespace, name))
        return entry.kept if entry is not None else None

    def of_job(self, namespace: str, job: str) -> list[Kept]:
        """The objects that are labelled with an ImageJob's name."""
        return [self._entries[name].kept for name in sorted(self._of_job.get((namespace, job), ()))]

    def names(self) -> list[Name]:
        """Namespace and name of each."""
        return list(self._entries)

    def _seen(self, name: Name, thing: Mapping[str, Any]) -> None:
        known = self._entries.get(name)
        version = thing["metadata"]["resourceVersion"]
        if known is not None and known.version == version:
            return  # the watch tells of an own write
        try:
            kept = self._keep(dict(thing))
        except Exception:  # whatever is wrong with one object must not keep the others from being listed
            logger.exception("%s %s cannot be understood, and is left aside", self._kind.kind, "/".join(name))
            kept = None
        if kept is None:
            self._gone(name)
            return
        if known is not None and known.job != job_of(thing):  # its label has been changed
            self._gone(name)
            known = None
        entry = self._entries[name] = _Entry(version, job_of(thing), kept)
        self._of_job[entry.job].add(name)
        self._changed(name, entry.job, known.kept if known is not None else None, kept)

    def _gone(self, name: Name) -> None:
        known = self._entries.pop(name, None)
        if known is None:
            return
        self._of_job[known.job].discard(name)
        if not self._of_job[known.job]:
            del self._of_job[known.job]
        self._changed(name, known.job, known.kept, None)


class WholeObjectCache(ObjectCache[Kept]):
    """The objects of one kind, of each of which a summary is kept, and the whole can be had."""

    _bodies: Bodies[Name]

    def __init__(
        self,
        api: KubernetesApi,
        kind: Kind,
        namespaces: Sequence[str],
        *,
        keep: Callable[[Json], Kept | None],
        changed: Callable[[Name, Name, Kept | None, Kept | None], None],
    ) -> None:
        super().__init__(api, kind, namespaces, "", keep=keep, changed=changed)
        self._bodies = Bodies()

    async def whole(self, namespace: str, name: str) -> Json | None:
        """An object as it is known, read again if it is too long to be kept; None if there is none.

        Raises:
            ApiError: It cannot be read now.
        """
        entry = self._entries.get((namespace, name))
        if entry is None:
            return None
        body = self._bodies.get((namespace, name), entry.version)
        if body is not None:
            known: Json = json.loads(body)
            return known
        try:
            found = await self._api.get(self._kind, name, namespace)
        except NotFoundError:
            self.listing.forget((namespace, name), int(entry.version))
            return None
        self._bodies.put((namespace, name), found["metadata"]["resourceVersion"], _encoded(found), needed=True)
        self.report("MODIFIED", found)
        return found

    def _seen(self, name: Name, thing: Mapping[str, Any]) -> None:
        version = thing["metadata"]["resourceVersion"]
        if self._bodies.get(name, version) is None:
            self._bodies.put(name, version, _encoded(thing))
        super()._seen(name, thing)

    def _gone(self, name: Name) -> None:
        self._bodies.forget(name)
        super()._gone(name)


class Caches:
    """The caches of all kinds that ImageJobs are made of.

    Args:
        api: The API server.
        namespaces: Where to look; everywhere unless any is named.
        look_at: Called with the namespace and the name of an ImageJob about which something has changed, and the seconds that it may wait.
    """

    def __init__(self, api: KubernetesApi, namespaces: Sequence[str], look_at: Callable[[str, str, float], None]) -> None:
        self._look_at = look_at
        self.image_jobs = WholeObjectCache(api, IMAGE_JOB, namespaces, keep=JobSummary.of, changed=self._image_job_changed)
        self.pipelines = WholeObjectCache(api, IMAGE_PIPELINE, namespaces, keep=_nothing, changed=self._pipeline_changed)
        self.jobs = ObjectCache(api, JOB, namespaces, JOBS_SELECTOR, keep=without_what_no_view_shows, changed=self._job_changed)
        self.pods = ObjectCache(api, POD, namespaces, PODS_SELECTOR, keep=PodView.of, changed=self._pod_changed)
        kinds = (self.image_jobs.listing, self.pipelines.listing, self.jobs.listing, self.pods.listing)
        self._lister = Lister(kinds, self._look_at_all, time.monotonic)

    async def first(self) -> None:
        """List everything, unless that has been done.

        Raises:
            ApiError: The API server cannot answer.
        """
        await self._lister.first()

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

    def _look_at_all(self) -> None:
        for name in self.image_jobs.names():
            self._look_at(*name, 0.0)

    def _image_job_changed(self, name: Name, _job: Name, _before: JobSummary | None, _after: JobSummary | None) -> None:
        self._look_at(*name, 0.0)

    def _job_changed(self, _name: Name, job: Name, _before: Json | None, _after: Json | None) -> None:
        if self.image_jobs.get(*job) is not None:
            self._look_at(*job, 0.0)

    def _pod_changed(self, _name: Name, job: Name, before: PodView | None, after: PodView | None) -> None:
        if self.image_jobs.get(*job) is None:
            return
        told = before is not None and after is not None and replace(before, progress=after.progress) == after
        self._look_at(*job, PROGRESS_SECONDS if told else 0.0)

    def _pipeline_changed(self, pipeline: Name, _job: Name, _before: object, _after: object) -> None:
        for name in self.image_jobs.names():
            job = self.image_jobs.get(*name)
            if job is not None and (name[0], job.pipeline) == pipeline:
                self._look_at(*name, 0.0)


def _nothing(_pipeline: Json) -> tuple[()]:
    """That it is there is all there is to know of an ImagePipeline that nobody runs."""
    return ()


def _encoded(thing: Mapping[str, Any]) -> bytes:
    """An object without who wrote which of its fields, which nobody reads."""
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    text = json.dumps({**thing, "metadata": metadata}, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


def name_of(thing: Mapping[str, Any]) -> Name:
    """Namespace and name of an object."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def job_of(thing: Mapping[str, Any]) -> Name:
    """Namespace and name of the ImageJob that an object is labelled with; without a name if it is not."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(LABEL_JOB, "")
