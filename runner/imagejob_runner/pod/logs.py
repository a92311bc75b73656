"""What `kubectl logs` shows: one line at the start, one every few seconds while the numbers change, one at the end."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from imagejob_api.redaction import redacted
from imagejob_runner.pod.standing import Standing

ENV_FORMAT: Final = "IMAGEJOB_LOG_FORMAT"
"""`json` writes each line as a JSON object; anything else, and nothing, as text."""
LINE_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


def set_up_logs(environment: Mapping[str, str]) -> None:
    """Sends log records of level INFO and above to standard error, without the secrets of URLs in them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if environment.get(ENV_FORMAT) == "json" else _Text())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class ProgressLog:
    """Writes how far a pod is, at most every `LINE_SECONDS`, and at once what it waits for in vain."""

    def __init__(self) -> None:
        self._written = ""
        self._due = 0.0
        self._reason = ""
        self._failed = 0

    def update(self, standing: Standing, moment: float) -> None:
        """Looks whether there is something to write.

        Args:
            standing: How the pod stands.
            moment: Seconds of a clock that never goes back.
        """
        if standing.reason != self._reason:
            self._reason = standing.reason
            if standing.reason:
                logger.warning("Waiting: %s", standing.reason)
        if moment < self._due:
            return
        line = summary_line(standing)
        if line == self._written:
            return
        self._due, self._written = moment + LINE_SECONDS, line
        logger.info("%s, %.3g a second", line, standing.rate)
        failed = sum(standing.errors.values())
        if failed > self._failed:
            self._failed = failed
            codes = ", ".join(f"{code} {count}" for code, count in sorted(standing.errors.items(), key=lambda item: -item[1]))
            logger.warning("%d images have failed here: %s", failed, codes)


def summary_line(standing: Standing) -> str:
    """`812 of 1000 images, 3 failed, 1 slot held, 1 awaited`."""
    images = standing.images
    parts = [f"{images.done} of {standing.total} images"]
    parts += [f"{count} {what}" for count, what in ((images.failed, "failed"), (images.skipped, "skipped")) if count]
    parts += [f"{count} of {limit} held" for limit, count in standing.holding.items()]
    parts += [f"{count} of {limit} awaited" for limit, count in standing.waiting.items()]
    return ", ".join(parts)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)
