"""The NodeLimit that an installation brings along.

Helm cannot make it: it wants every kind of a release to be there before it makes any, and this kind comes with the same release. So the
operator makes it when it starts. From then on it is the cluster's: what an administrator changes stays, until the installation itself asks
for something else than it did before.
"""

import json
from typing import Final

from imagejob_api.nodelimit import NodeLimit
from imagejob_api.pod import LABEL_MANAGED_BY, MANAGED_BY
from imagejob_operator.kubernetes import ExistsError, KubernetesApi, NotFoundError
from imagejob_operator.kubernetes.kinds import NODE_LIMIT
from imagejob_operator.work_queue import Key

DEFAULT_LIMIT: Final[Key] = ("DefaultLimit",)
"""The key to reconcile by `ensure_default_limit`, once after the start."""

ANNOTATION_INSTALLED: Final = "imagejob.dev/installed-spec"
"""On a NodeLimit that an installation brought along: the spec that it last asked for. Without it the NodeLimit is somebody else's."""


async def ensure_default_limit(api: KubernetesApi, limit: NodeLimit) -> None:
    """Make the NodeLimit if there is none of its name; change the one that is there if the installation asks for something new.

    Raises:
        ApiError: It could not be done; the same is to be tried again.
    """
    name = limit.metadata.name
    spec = limit.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    asked = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    try:
        found = await api.get(NODE_LIMIT, name)
    except NotFoundError:
        metadata = {"name": name, "labels": {LABEL_MANAGED_BY: MANAGED_BY}, "annotations": {ANNOTATION_INSTALLED: asked}}
        new = {"apiVersion": NODE_LIMIT.api_version, "kind": NODE_LIMIT.kind, "metadata": metadata, "spec": spec}
        try:
            await api.create(NODE_LIMIT, new)
        except ExistsError:
            return  # made by somebody else at this moment, so it is theirs
        return
    if (found["metadata"].get("annotations") or {}).get(ANNOTATION_INSTALLED) in (None, asked):
        return
    removed = dict.fromkeys(found.get("spec") or {})
    metadata = {"resourceVersion": found["metadata"]["resourceVersion"], "annotations": {ANNOTATION_INSTALLED: asked}}
    await api.patch(NODE_LIMIT, name, None, {"metadata": metadata, "spec": {**removed, **spec}})
