"""Objects as the API server gives and takes them."""

from typing import Any

Json = dict[str, Any]
"""An object, or a part of one, as JSON."""
