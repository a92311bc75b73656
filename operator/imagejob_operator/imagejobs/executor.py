"""Does what a plan asks for. Everything may have been done already, by this process or by one before it."""

from typing import Final

from imagejob_api.pod import JobFile
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.actions import (
    Action,
    CreateJob,
    DeleteImageJob,
    DeleteJob,
    DeletePod,
    EnsureAccess,
    EnsureFile,
    PatchJob,
)
from imagejob_operator.imagejobs.caches import Caches
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.kubernetes import ExistsError, KubernetesApi, NotFoundError, RefusedError
from imagejob_operator.kubernetes.api import Propagation
from imagejob_operator.kubernetes.kinds import CONFIG_MAP, IMAGE_JOB, JOB, POD, Kind
from imagejob_operator.manifest import Json
from imagejob_operator.objects.access import access_objects
from imagejob_operator.objects.job_file import StoredFile, config_map, read_job_file
from imagejob_operator.objects.naming import belongs_to, config_map_name, controller_of
from imagejob_operator.settings import Settings

_DISRUPTION: Final = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "NodeLost",
    "message": "imagejob: the node does not answer, and the pod has had its grace period",
}


class HinderedError(Exception):
    """The API server does not take what a job needs."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.hindrance = Hindrance(reason, message)


class LeftoverError(Exception):
    """An object of an earlier ImageJob of the same name is still there; it is being collected as garbage."""


class Executor:
    """Does the actions of one ImageJob after another.

    Args:
        api: The API server.
        caches: Where the answers go.
        settings: The operator's settings.
    """

    def __init__(self, api: KubernetesApi, caches: Caches, settings: Settings) -> None:
        self._api = api
        self._caches = caches
        self._settings = settings
        self._reports = {JOB: caches.jobs.report, POD: caches.pods.report, IMAGE_JOB: caches.image_jobs.report}

    async def read_file(self, owner: Json) -> StoredFile | None:
        """The job file in an ImageJob's ConfigMap; None if there is none of its own."""
        metadata = owner["metadata"]
        try:
            found = await self._api.get(CONFIG_MAP, config_map_name(metadata["name"]), metadata["namespace"])
        except NotFoundError:
            return None
        file = read_job_file(found) if belongs_to(found, metadata["uid"]) else None
        return StoredFile.of(file) if file is not None else None

    async def do(self, owner: Json, action: Action) -> None:
        """Does one action.

        Raises:
            HinderedError: The API server refuses it, or a name is taken.
            LeftoverError: A name is still taken by what is on its way out.
            ApiError: It cannot be done now.
        """
        try:
            await self._do(owner, action)
        except RefusedError as error:
            raise HinderedError(Reason.OBJECT_REFUSED, str(error)) from error

    async def _do(self, owner: Json, action: Action) -> None:
        namespace = owner["metadata"]["namespace"]
        match action:
            case EnsureAccess():
                await self._ensure_access(action.namespace)
            case EnsureFile():
                await self._ensure_file(owner, action.file)
            case CreateJob():
                await self._create_job(owner, action.body)
            case PatchJob():
                self._caches.jobs.report("MODIFIED", await self._api.patch(JOB, action.name, namespace, action.patch))
            case DeleteJob():
                # In the foreground: the Job is there until its pods are gone, and so its name tells when another may take it.
                await self._delete(JOB, action.name, namespace, action.uid, propagation="Foreground")
            case DeletePod():
                await self._give_up(action.name, namespace, action.uid)
            case DeleteImageJob():
                await self._delete(IMAGE_JOB, owner["metadata"]["name"], namespace, action.uid)

    async def _ensure_access(self, namespace: str) -> None:
        for kind, wanted in access_objects(namespace, self._settings):
            metadata = wanted["metadata"]
            try:
                await self._api.get(kind, metadata["name"], metadata["namespace"])
            except NotFoundError:
                try:
                    await self._api.create(kind, wanted)
                except ExistsError:
                    continue

    async def _ensure_file(self, owner: Json, file: JobFile) -> None:
        wanted = config_map(owner, file)
        metadata = wanted["metadata"]
        try:
            found = await self._api.get(CONFIG_MAP, metadata["name"], metadata["namespace"])
        except NotFoundError:
            await self._api.create(CONFIG_MAP, wanted)
            return
        _check_owner(owner, found, "ConfigMap")
        if found.get("data") != wanted["data"]:
            patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "data": wanted["data"]}
            await self._api.patch(CONFIG_MAP, metadata["name"], metadata["namespace"], patch)

    async def _create_job(self, owner: Json, body: Json) -> None:
        try:
            created = await self._api.create(JOB, body)
        except ExistsError:
            created = await self._api.get(JOB, body["metadata"]["name"], body["metadata"]["namespace"])
            _check_owner(owner, created, "Job")
        self._caches.jobs.report("ADDED", created)

    async def _give_up(self, name: str, namespace: str, uid: str) -> None:
        """Deletes a pod whose node does not answer.

        Its Job keeps it by a finalizer, and makes no other in its place, until the phase says that it has ended. The kubelet cannot say so;
        as for Kubernetes' own collector of such pods, it is a disruption, which counts for no failure.
        """
        try:
            pod = await self._api.get(POD, name, namespace)
        except NotFoundError:
            return
        if pod["metadata"]["uid"] != uid:
            return
        others = [each for each in pod["status"].get("conditions") or () if each["type"] != _DISRUPTION["type"]]
        status = {"phase": "Failed", "conditions": [*others, _DISRUPTION]}
        patch = {"metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]}, "status": status}
        self._caches.pods.report("MODIFIED", await self._api.patch(POD, name, namespace, patch, subresource="status"))
        await self._delete(POD, name, namespace, uid, grace_seconds=0)

    async def _delete(
        self, kind: Kind, name: str, namespace: str, uid: str, *, propagation: Propagation = "Background", grace_seconds: int | None = None
    ) -> None:
        left = await self._api.delete(kind, name, namespace, uid=uid, propagation=propagation, grace_seconds=grace_seconds)
        if left is not None:
            self._reports[kind]("MODIFIED", left)


def _check_owner(owner: Json, found: Json, kind: str) -> None:
    """That an object which has a name that a job needs is the job's own."""
    metadata = owner["metadata"]
    if belongs_to(found, metadata["uid"]) and "deletionTimestamp" not in found["metadata"]:
        return
    controller = controller_of(found)
    same_name = controller is not None and (controller.get("kind"), controller.get("name")) == (IMAGE_JOB.kind, metadata["name"])
    if same_name:
        raise LeftoverError(f"{kind} {found['metadata']['name']}")
    raise HinderedError(
        Reason.NAME_TAKEN,
        f"The {kind} {found['metadata']['name']} is not this job's, and the job needs the name. Delete or rename one of the two.",
    )
