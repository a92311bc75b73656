"""Names of classes: built in, given in the pipeline, or read from a file."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from imagejob_api.redaction import shown_url
from imagejob_runner.exceptions import ModelError

IMAGENET: Final = "imagenet-1k"
"""Name of the built-in list: the 1,000 classes of ILSVRC 2012 in their usual order.

The names are those of torchvision's ``models/_meta.py`` (BSD-3-Clause; see imagenet-1k.LICENSE beside the list).
"""


def load_labels(labels: str | Sequence[str] | None, path: Path | None = None) -> tuple[str, ...] | None:
    """Class names in the order of the model's outputs.

    Args:
        labels: `Infer.labels`: a built-in name, a URL, a list, or None.
        path: The local copy of the file when `labels` is a URL.

    Returns:
        The names, or None when there are none.

    Raises:
        ModelError: The file cannot be read or is empty.
    """
    if labels is None:
        return None
    if not isinstance(labels, str):
        return tuple(labels)
    if labels == IMAGENET:
        text = resources.files(__package__).joinpath(f"{IMAGENET}.txt").read_text(encoding="utf-8")
        return tuple(text.splitlines())
    if path is None:
        raise ModelError(
            f"infer.labels: {shown_url(labels)} was not fetched; give {IMAGENET}, a list, or the URL of a text file with one name a line"
        )
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"infer.labels: {shown_url(labels)} cannot be read as UTF-8 text with one name a line: {error}") from error
    while names and not names[-1]:
        names = names[:-1]
    if not names:
        raise ModelError(f"infer.labels: {shown_url(labels)} holds no names; write one a line")
    return names
