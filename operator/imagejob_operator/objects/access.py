"""What the pods of a namespace may do: report their progress, and take slots on their own node. Made once for each namespace."""

from imagejob_api.pod import LABEL_MANAGED_BY, MANAGED_BY
from imagejob_operator.kubernetes.kinds import ROLE_BINDING, SERVICE_ACCOUNT, Kind
from imagejob_operator.manifest import Json
from imagejob_operator.settings import Settings


def access_objects(namespace: str, settings: Settings) -> list[tuple[Kind, Json]]:
    """The service account of a namespace's pods, and what binds them to the two roles of the installation.

    Leases may be used by every pod of the namespace, since other workloads take part in limits, too; an admission policy narrows that to
    the pod's own node. Only runners may patch pods.
    """
    account = settings.runner_service_account
    return [
        (SERVICE_ACCOUNT, {**_object(SERVICE_ACCOUNT, account, namespace), "automountServiceAccountToken": False}),
        (
            ROLE_BINDING,
            {
                **_object(ROLE_BINDING, account, namespace),
                "roleRef": _role("ClusterRole", settings.runner_role),
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            },
        ),
        (ROLE_BINDING, lease_binding(namespace, settings)),
    ]


def lease_binding(namespace: str, settings: Settings) -> Json:
    """What lets all pods of a namespace use Leases. It is where the Leases are, so it does not go with the namespace."""
    return {
        **_object(ROLE_BINDING, f"{settings.runner_service_account}.{namespace}", settings.namespace),
        "roleRef": _role("Role", settings.lease_role),
        "subjects": [{"kind": "Group", "name": f"system:serviceaccounts:{namespace}", "apiGroup": "rbac.authorization.k8s.io"}],
    }


def _object(kind: Kind, name: str, namespace: str) -> Json:
    metadata = {"name": name, "namespace": namespace, "labels": {LABEL_MANAGED_BY: MANAGED_BY}}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _role(kind: str, name: str) -> Json:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
