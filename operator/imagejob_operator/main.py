"""The command ``imagejob-operator``."""

import asyncio
import os
import sys

from imagejob_operator import logs
from imagejob_operator.app import serve
from imagejob_operator.settings import parse_settings


def main() -> None:
    """Runs the operator; ends with 0 after SIGTERM, and with 1 after a failure that a new start may mend."""
    settings = parse_settings(sys.argv[1:], os.environ)
    logs.configure(settings)
    asyncio.run(serve(settings))
