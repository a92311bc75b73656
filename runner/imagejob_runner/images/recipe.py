"""What tells one way of preparing a model's input from another; loads neither Pillow nor numpy."""

import hashlib
import json
from typing import Final

from imagejob_api.pipeline import Preprocess

RECIPE: Final = 1
"""Raised when the same settings would give other pixels than before."""


def fingerprint(preprocess: Preprocess, recipe: int = RECIPE) -> str:
    """SHA-256 over everything in `preprocess`: equal fingerprints mean equal input for equal pictures."""
    canonical = json.dumps({"recipe": recipe, **preprocess.model_dump(mode="json")}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
