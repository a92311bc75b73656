"""One job by its name, or the name that may have been meant."""

from imagejob_api.wording import hint
from imagejob_cli.cluster.api import Api, Json
from imagejob_cli.cluster.exceptions import ForbiddenError, NotFoundError
from imagejob_cli.cluster.resources import IMAGE_JOB
from imagejob_cli.wording import printable


async def find_job(api: Api, namespace: str, name: str) -> Json:
    """The object.

    Raises:
        NotFoundError: There is none; names the nearest that there is.
    """
    try:
        return await api.get(IMAGE_JOB, namespace, name)
    except NotFoundError:
        raise await no_such_job(api, namespace, name) from None


async def no_such_job(api: Api, namespace: str | None, name: str) -> NotFoundError:
    """The error that says so, with the name that may have been meant."""
    where = f"namespace {printable(namespace)}" if namespace else "the cluster"
    missing = f"there is no ImageJob {printable(name)} in {where}"
    try:
        listing = await api.list(IMAGE_JOB, namespace, {})
    except ForbiddenError:
        return NotFoundError(missing)
    known = sorted({str(found["metadata"]["name"]) for found in listing.items})
    return NotFoundError(f"{missing}; {printable(hint(name, known))}")
