"""What is logged, and how."""

import json
import logging
import sys
from datetime import UTC, datetime

from imagejob_operator.settings import Settings

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LOUD = ("kopf", "kopf.activities", "kopf.objects", "asyncio", "aiohttp.access")


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said)


def configure(settings: Settings) -> None:
    """Log to standard error as the settings say; kopf's line for every event is left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
