"""What the objects of an ImageJob are called, and how they say whose they are."""

from collections.abc import Mapping

from imagejob_api.constants import GROUP
from imagejob_api.pod import LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY, Part
from imagejob_operator.kubernetes.kinds import IMAGE_JOB
from imagejob_operator.manifest import Json


def job_name(image_job: str, part: Part) -> str:
    """Name of the Job for a part of an ImageJob."""
    return image_job if part is Part.WORK else f"{image_job}-{part.label}"


def config_map_name(image_job: str) -> str:
    """Name of the ConfigMap with the job file."""
    return image_job


def own_labels(image_job: str) -> dict[str, str]:
    """Labels of everything made for an ImageJob."""
    return {LABEL_JOB: image_job, LABEL_MANAGED_BY: MANAGED_BY}


def inherited_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an ImageJob that its Jobs get: all but those that mean something to imagejob itself."""
    return {key: value for key, value in labels.items() if key.partition("/")[0] != GROUP}


def child_metadata(owner: Json, name: str, labels: Mapping[str, str]) -> Json:
    """Metadata of an object that belongs to an ImageJob, and goes with it.

    Its deletion does not block the ImageJob's: `kubectl delete` returns at once.
    """
    metadata = owner["metadata"]
    return {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": {**labels, **own_labels(metadata["name"])},
        "ownerReferences": [
            {
                "apiVersion": IMAGE_JOB.api_version,
                "kind": IMAGE_JOB.kind,
                "name": metadata["name"],
                "uid": metadata["uid"],
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }


def controller_of(child: Json) -> Json | None:
    """The owner reference of an object's controller."""
    references = child["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def belongs_to(child: Json, uid: str) -> bool:
    """Whether an object is controlled by the object with `uid`."""
    reference = controller_of(child)
    return reference is not None and reference.get("uid") == uid
