"""The URLs that imagejob reads and writes, taken apart once and in one place.

Every scheme has its own rule for what a character means: a file URL is percent-encoded, the key of an object store is taken literally (as
the stores' own tools do), and an HTTP URL is left to the HTTP client. Mixing them up is how names with spaces or ``%`` get lost.
"""

import difflib
import importlib.util
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast, get_args
from urllib.parse import quote_from_bytes, unquote_to_bytes, urljoin, urlsplit

from imagejob_api.constants import OUTPUT_SCHEMES, SOURCE_SCHEMES
from imagejob_api.redaction import shown_url
from imagejob_runner.exceptions import InvalidJobError

ObjectScheme: TypeAlias = Literal["s3", "gs", "az"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SLASHES_MISSING: Final = re.compile(rf"({'|'.join(SOURCE_SCHEMES)}):/?([^/].*)", re.DOTALL)
_FILE: Final = "file:///"
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_PACKAGE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# As RFC 3986's path characters; everything else in a file name is percent-encoded.
_FILE_SAFE: Final = "/-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A file of this machine."""

    path: Path
    """Where it is; absolute unless a relative path was given. Bytes that are not UTF-8 are kept as `os.fsdecode` does."""


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """An object, or all objects below a prefix, in an object store."""

    scheme: ObjectScheme
    """Which store."""
    bucket: str
    """Bucket; for Azure the container."""
    key: str
    """Name of the object, as it is; may be empty."""


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """Something on a web server."""

    url: str
    """The URL as given."""


Location: TypeAlias = FileUrl | ObjectUrl | HttpUrl
"""Where a URL leads."""


def parse_url(text: str) -> Location:
    """Takes a source URL apart.

    ``pkg://package/path`` becomes the file inside the installed package; the package is looked up but not imported.

    Args:
        text: A URL with one of `imagejob_api.constants.SOURCE_SCHEMES`, or a plain path.

    Raises:
        InvalidJobError: It is none of them; the message says how to write it.
    """
    if not text:
        raise InvalidJobError("the URL is empty; write a path or a URL such as file:///data/a.jpg or s3://bucket/a.jpg")
    if "\0" in text:
        raise InvalidJobError(f"the URL {shown_url(text)!r} contains a NUL character, which no name can have")
    match = _SCHEME.fullmatch(text)
    if match is None:
        if (slip := _SLASHES_MISSING.fullmatch(text)) is not None and not Path(text).exists():
            slashes = ":///" if slip[1] == "file" else "://"
            raise InvalidJobError(f"the URL {shown_url(text)!r} lacks slashes; write {slip[1]}{slashes}{slip[2]}")
        return FileUrl(Path(text))
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return FileUrl(_file_path(text, rest))
    if scheme == "pkg":
        return FileUrl(_package_path(text, rest))
    if scheme in ("http", "https"):
        return _http(text)
    if scheme in get_args(ObjectScheme):
        return _object(cast("ObjectScheme", scheme), text, rest)
    raise InvalidJobError(_unknown_scheme(text, scheme, SOURCE_SCHEMES))


def plain_path(text: str) -> str | None:
    """The path of a file URL in which nothing is encoded; None for all other URLs, which `parse_url` takes apart. Costs next to nothing."""
    return text[len(_FILE) - 1 :] if text.startswith(_FILE) and "%" not in text and "\0" not in text else None


def parse_output_url(text: str) -> FileUrl | ObjectUrl:
    """Takes an output URL apart.

    Raises:
        InvalidJobError: It is no URL that can be written to.
    """
    location = parse_url(text)
    if isinstance(location, HttpUrl) or text.lower().startswith("pkg://"):
        scheme = text.split(":", 1)[0].lower()
        raise InvalidJobError(
            f"output.url {shown_url(text)!r}: nothing can be written to {scheme}; use one of {', '.join(OUTPUT_SCHEMES)}, or a plain path"
        )
    return location


def file_url(path: Path) -> str:
    """The file URL of a path, percent-encoded and so plain ASCII, from which `parse_url` gets the very same path back."""
    return "file://" + file_url_path(str(path.absolute()))


def file_url_path(path: str) -> str:
    """A path, or a part of it, as it stands in a file URL."""
    return quote_from_bytes(os.fsencode(path), safe=_FILE_SAFE)


def object_url(location: ObjectUrl) -> str:
    """The URL of an object."""
    return f"{location.scheme}://{location.bucket}/{location.key}"


def resolve(base: str, reference: str) -> str:
    """What a line of a manifest means: a path without a scheme or a leading slash stands beside the manifest.

    Args:
        base: URL of the manifest.
        reference: What the manifest says: a URL or a path.
    """
    if not reference or _SCHEME.fullmatch(reference) is not None:
        return reference
    location = _parsed_base(base)
    if isinstance(location, HttpUrl):
        return urljoin(location.url, reference)
    if reference.startswith("/"):
        return reference
    if isinstance(location, FileUrl):
        return str(location.path.parent / reference)
    folder = location.key.rpartition("/")[0]
    return object_url(ObjectUrl(location.scheme, location.bucket, f"{folder}/{reference}" if folder else reference))


@lru_cache(maxsize=8)
def _parsed_base(base: str) -> Location:
    return parse_url(base)


def _file_path(text: str, rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if not slash or host not in ("", "localhost"):
        host = host.rpartition("@")[2]
        hint = f"file:///{host}{slash}{path}" if slash else "file:///folder/name"
        raise InvalidJobError(
            f"the URL {shown_url(text)!r} names the host {host!r}, but a file URL means this machine; write it as in {hint}"
        )
    raw = unquote_to_bytes("/" + path)
    if b"\0" in raw:
        raise InvalidJobError(f"the URL {shown_url(text)!r} contains %00, which no file name can have")
    return Path(os.fsdecode(raw))


def _package_path(text: str, rest: str) -> Path:
    package, _, name = rest.partition("/")
    if _PACKAGE.fullmatch(package) is None or not name:
        raise InvalidJobError(f"the URL {shown_url(text)!r} must be pkg://<import package>/<path>, as in pkg://skimage/data/coffee.png")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidJobError(f"the URL {shown_url(text)!r} must stay inside its package: no empty, . or .. parts in the path")
    # Parents of a dotted name would be imported by find_spec, so only the top package is looked up and the rest taken as folders.
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    roots = [] if spec is None else list(spec.submodule_search_locations or [])
    if not roots:
        raise InvalidJobError(
            f"the URL {shown_url(text)!r}: no package {top!r} is installed here; pip install the distribution that provides it"
        )
    candidates = [Path(root, *inner, name) for root in roots]
    return next((path for path in candidates if path.exists()), candidates[0])


def _http(text: str) -> HttpUrl:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidJobError(
            f"the URL {shown_url(text)!r} is not valid: its host or port cannot be read; "
            "percent-encode characters such as / ? # @ : [ in a user name or password"
        ) from None
    if not host:
        raise InvalidJobError(f"the URL {shown_url(text)!r} has no host; write https://host/path")
    return HttpUrl(text)


def _object(scheme: ObjectScheme, text: str, rest: str) -> ObjectUrl:
    bucket, _, key = rest.partition("/")
    if _BUCKET.fullmatch(bucket) is None:
        word = "container" if scheme == "az" else "bucket"
        raise InvalidJobError(f"the URL {shown_url(text)!r} has no valid {word} name; write {scheme}://{word}/path")
    return ObjectUrl(scheme, bucket, key)


def _unknown_scheme(text: str, scheme: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(scheme, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}://? " if nearest else ""
    return f"the URL {shown_url(text)!r} has the unknown scheme {scheme!r}; {hint}known are {', '.join(known)}, and plain paths"
