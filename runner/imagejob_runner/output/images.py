"""Names of derived images: from any id, however hostile, to a file name that stays where it belongs."""

import hashlib
import re
from typing import Final

from imagejob_runner.constants import IMAGES_FOLDER

_READABLE: Final = 60
_DIGEST_BYTES: Final = 16
_SUFFIXES: Final = {"jpeg": "jpg", "png": "png", "webp": "webp"}


def derived_image_name(identity: str, form: str) -> str:
    """The name, below the output, of the image derived from an input.

    ``images/<end of the id, for people>-<32 hexadecimal digits>.<ending>``. The digits are the head of the SHA-256 of the id and make the
    name unique also where a file system ignores letter case or normalises Unicode; the rest is lower-case ASCII without slashes, and the
    whole has at most 111 characters.

    Args:
        identity: The input's id.
        form: ``jpeg``, ``png`` or ``webp``.
    """
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * _DIGEST_BYTES]
    readable = re.sub(r"[^a-z0-9]+", "-", identity.lower())[-_READABLE:].strip("-")
    return f"{IMAGES_FOLDER}/{readable or 'image'}-{digest}.{_SUFFIXES[form]}"
