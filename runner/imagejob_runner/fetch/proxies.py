"""Proxies of the environment (``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``), which are used only when the environment says so twice.

Behind a proxy nobody here sees which address a name leads to, so the guard of `addresses` sees nothing either: what a list of URLs can
reach is then for the proxy to say. That a variable is set for other programs is no decision about that.
"""

import logging
import socket
import urllib.request
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from yarl import URL

from imagejob_runner.exceptions import InvalidJobError

USE_PROXY: Final = "IMAGEJOB_USE_PROXY"
"""``true`` lets http and https sources, models and lists go through the proxies of the environment."""
_YES, _NO = ("true", "1"), ("", "false", "0")

logger = logging.getLogger(__name__)


class Proxies:
    """Chooses the proxy of a request.

    Args:
        environment: What is set.

    Raises:
        InvalidJobError: `USE_PROXY` is set to something else than true or false.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        text = environment.get(USE_PROXY, "").strip().lower()
        if text not in (*_YES, *_NO):
            raise InvalidJobError(f"the environment variable {USE_PROXY} is {text!r}, and must be true or false")
        self._allowed = text in _YES

    def proxy_for(self, url: URL) -> str | None:
        """The proxy that a request goes through; None if it goes there directly."""
        return self._found(url) if self._allowed else None

    def unused(self, url: URL) -> str:
        """What to say of a proxy that is set for a request and not used; empty if there is none."""
        if self._allowed or self._found(url) is None:
            return ""
        return f"{url.scheme.upper()}_PROXY is set and not used; set {USE_PROXY}=true, too, if the proxy may decide what is reached"

    def tell_unused(self, url: URL) -> None:
        """Says once in the log that a proxy is not used."""
        if text := self.unused(url):
            _tell(text)

    @staticmethod
    def _found(url: URL) -> str | None:
        found = urllib.request.getproxies_environment()
        proxy = found.get(url.scheme)
        if not proxy or urllib.request.proxy_bypass(f"{url.host}:{url.port}", found):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def literal_address(host: str) -> str | None:
    """The address that a host's name is, in any of the forms that a proxy may take for one (``127.1``, ``0x7f000001``); None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, host.partition("%")[0]))
        except OSError:
            continue
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


@lru_cache
def _tell(text: str) -> None:
    logger.info("%s", text)
