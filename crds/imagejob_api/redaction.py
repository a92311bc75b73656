"""Keeps secrets that stand in URLs out of everything that people and programs read: messages, logs, conditions and rows.

A URL may hold a user and a password (``https://me:secret@host/``), a signature (``?X-Amz-Signature=…``, ``&sig=…``) or a token. This is the
one place that knows what they look like. A message drops more than it must, since it only has to be recognised; a row keeps what is not
known to be secret, since it names the image.
"""

import re
from itertools import pairwise
from typing import Final
from urllib.parse import unquote_plus

from imagejob_api.constants import SOURCE_SCHEMES

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(://)(.*)", re.DOTALL)
_IN_TEXT: Final = re.compile(
    # A scheme is short, so that each letter of a long text is looked at but a few times; what stands before a URL may touch it.
    rf"(?:[A-Za-z][A-Za-z0-9+.-]{{0,31}}://|\b(?:{'|'.join(SOURCE_SCHEMES)}):/?(?=[^/\s]))\S+",
    re.IGNORECASE,
)
_PUNCTUATION: Final = ".,:;!'\"`)]}>"
# It begins where a name can begin, and nowhere within one: else each letter of a long text would be tried as a beginning.
_PARAMETER: Final = re.compile(r"(?<![\w.%-])(?P<name>[\w.%-]+)=(?P<value>[^\s&;'\",)\]}]+)")
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
_HIDDEN: Final = "…"

_SIGNERS: Final = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-ms-")
_NAMES: Final = {"awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "key-pair-id", "policy"}
_WORDS: Final = {
    *("sig", "sign", "signature", "hmac", "hdnea", "hdnts", "token", "jwt", "bearer", "auth", "authorization", "authkey"),
    *("secret", "password", "passwd", "passphrase", "pwd", "pass", "credential", "credentials", "apikey", "accesskey", "sas"),
}
_PAIRS: Final = {("api", "key"), ("access", "key"), ("account", "key"), ("shared", "key"), ("private", "key"), ("subscription", "key")}


def shown_url(url: str) -> str:
    """A URL for a message: without user and password, and over http without query and fragment; of other schemes without known secrets."""
    match = _URL.fullmatch(url)
    if match is None:
        return _without_values(url)
    scheme, colon, rest = match[1], match[2], match[3]
    web = scheme.lower() in ("http", "https")
    main, mark, _ = _split(rest) if web else (rest, "", "")
    authority, slash, path = main.partition("/")
    _, at, host = authority.rpartition("@")
    if not at and _PORT.fullmatch(authority) is None:
        return f"{scheme}{colon}{_HIDDEN}"  # a password with a slash or a question mark in it, and so no URL that can be taken apart
    return f"{scheme}{colon}{host}{slash}{_without_values(path)}" + (f"{mark}{_HIDDEN}" if mark else "")


def kept_url(url: str) -> str:
    """A URL for a row, and the id of an input that has no other: without user and password, and without parameters known to be secret."""
    if "@" not in url and "?" not in url and "#" not in url:
        return url
    match = _URL.fullmatch(url)
    if match is None:
        return url
    scheme, colon, rest = match[1], match[2], match[3]
    main, mark, query = _split(rest)
    authority, slash, path = main.partition("/")
    authority = authority.rpartition("@")[2]
    parameters = re.findall(r"([&;#]?)([^&;#]*)", query)
    kept = "".join(before + text for before, text in parameters if not _is_secret(text.partition("=")[0])).lstrip("&;")
    return f"{scheme}{colon}{authority}{slash}{path}" + (f"{mark}{kept}" if kept or (mark and not query) else "")


def redacted(text: str) -> str:
    """A text with every URL in it as `shown_url` has it, and without the values of other parameters that are known to be secret."""
    return _without_values(_IN_TEXT.sub(_shown_in_text, text)) if "=" in text or "@" in text or ":/" in text else text


def _shown_in_text(match: re.Match[str]) -> str:
    url = match[0].rstrip(_PUNCTUATION)
    end = match[0][len(url) :]
    scheme, colon, rest = url.partition(":")
    slashes = len(rest) - len(rest.lstrip("/"))
    if slashes >= 2:  # noqa: PLR2004  as in a whole URL
        return shown_url(url) + end
    # The slashes are missing, as in a message that says so.
    return f"{scheme}{colon}{rest[:slashes]}{shown_url(f'{scheme}://{rest[slashes:]}').partition('://')[2]}{end}"


def _split(rest: str) -> tuple[str, str, str]:
    """What stands before the first ``?`` or ``#``, that mark, and what stands after it."""
    match = re.search(r"[?#]", rest)
    return (rest, "", "") if match is None else (rest[: match.start()], match[0], rest[match.end() :])


def _without_values(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        return f"{match['name']}={_HIDDEN}" if _is_secret(match["name"]) else match[0]

    return _PARAMETER.sub(replaced, text)


def _is_secret(name: str) -> bool:
    plain = unquote_plus(name).strip()
    # apiKey and API_KEY are the same two words.
    words = [word for word in re.split(r"[-_.\s]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", plain).lower()) if word]
    plain = plain.lower()
    return plain.startswith(_SIGNERS) or plain in _NAMES or not _WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words))
