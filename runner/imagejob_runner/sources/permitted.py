"""What a list that came from elsewhere may name.

A pod reads with rights that whoever wrote a list in a bucket or on a web server has not: files in its volumes, its service account's token,
other buckets. So such a list names nothing but what is where it came from, unless the job says otherwise. The job's own words, and lists
among the files of the machine, may name anything.
"""

from collections.abc import Sequence

from yarl import URL

from imagejob_api.redaction import shown_url
from imagejob_runner.exceptions import InvalidJobError, InvalidSourceError
from imagejob_runner.urls import FileUrl, HttpUrl, Location, ObjectUrl, parse_url

_PACKAGES = "pkg://"
_FIELD = "source.manifest.allowedSources"


class Permitted:
    """Decides about what a manifest names.

    Args:
        manifest: URL of the manifest.
        allowed: Beginnings of URLs that it may name besides.

    Raises:
        InvalidSourceError: One of these is no URL.
    """

    def __init__(self, manifest: str, allowed: Sequence[str]) -> None:
        self._origin = parse_url(manifest)
        self._allowed = [(text, _parsed(text, f"{_FIELD}[{index}]")) for index, text in enumerate(allowed)]

    def check(self, url: str) -> None:
        """Looks at one URL of the manifest, resolved.

        Raises:
            InvalidJobError: It is no URL, or one that this manifest may not name.
        """
        location = parse_url(url)
        if self._is_own(location) or any(_is_below(url, location, *beginning) for beginning in self._allowed):
            return
        raise InvalidJobError(
            f"{shown_url(url)} is {_kind(location)}, and a list from {self._where()} may name only what is there; "
            f"if that is right, put the beginning of this URL into {_FIELD}"
        )

    def _is_own(self, location: Location) -> bool:
        match self._origin:
            case FileUrl():
                return True
            case HttpUrl():
                return isinstance(location, HttpUrl)
            case ObjectUrl(scheme=scheme, bucket=bucket):
                return isinstance(location, ObjectUrl) and (location.scheme, location.bucket) == (scheme, bucket)

    def _where(self) -> str:
        return f"{self._origin.scheme}://{self._origin.bucket}" if isinstance(self._origin, ObjectUrl) else "a web server"


def _parsed(text: str, field: str) -> Location | None:
    if text.lower().startswith(_PACKAGES):
        return None
    try:
        return parse_url(text)
    except InvalidJobError as error:
        raise InvalidSourceError(f"{field}: {error}") from None


def _kind(location: Location) -> str:
    match location:
        case FileUrl():
            return "a file of the machine that reads it"
        case HttpUrl():
            return "on a web server"
        case ObjectUrl(scheme=scheme, bucket=bucket):
            return f"in {scheme}://{bucket}"


def _is_below(url: str, location: Location, text: str, beginning: Location | None) -> bool:
    """Whether a location is what a beginning names, or below that. Names are compared part by part, and none leads upwards."""
    packaged = url.lower().startswith(_PACKAGES)
    if beginning is None or packaged:
        return beginning is None and packaged and _starts(url[len(_PACKAGES) :], text[len(_PACKAGES) :])
    match beginning, location:
        case FileUrl(path=above), FileUrl(path=path):
            return path.is_absolute() and ".." not in path.parts and path.is_relative_to(above)
        case ObjectUrl(scheme=scheme, bucket=bucket, key=above), ObjectUrl(key=key):
            return (location.scheme, location.bucket) == (scheme, bucket) and _starts(key, above)
        case HttpUrl(), HttpUrl():
            # As the client that will fetch it takes it apart.
            first, target = URL(beginning.url), URL(location.url)
            same = [(url.scheme, (url.host or "").lower(), url.port) for url in (first, target)]
            return same[0] == same[1] and _starts(target.path, first.path)
    return False


def _starts(path: str, above: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    above = above.rstrip("/")
    return ".." not in parts and (not above or path == above or path.startswith(f"{above}/"))
