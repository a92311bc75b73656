"""Which network addresses a user's URL may lead to: the guard against requests on somebody's behalf into a private network.

The check is made on the very address that a socket is created for, so a name that resolves differently the second time gains nothing.
"""

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 6052 and RFC 8215: a gateway turns the last four bytes into the IPv4 address that is really reached.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# RFC 5214: an IPv4 address behind one of these, in any network, is reached through a tunnel.
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
# Not public, although the tables of some Python releases say otherwise: RFC 8215, RFC 3879, RFC 4291, RFC 6890, RFC 7526.
_NEVER_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b:1::/48", "fec0::/10", "::/96", "192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "0.0.0.0/8")
)
_METADATA: Final = tuple(ipaddress.ip_network(text) for text in ("168.63.129.16/32",))
"""Where clouds tell a machine about itself, its credentials too, on an address that is public by its number: Azure's WireServer. The others
use link-local (169.254.169.254), shared (100.100.100.200), special (192.0.0.192) or unique local addresses (fd00:ec2::254)."""

_refused: ContextVar[list[str] | None] = ContextVar("refused addresses", default=None)


class ForbiddenAddressError(OSError):
    """An address that a job may not connect to. An OSError, so that the HTTP client goes on to the host's next address."""


class AddressGuard:
    """Decides about addresses, and makes the sockets of those that pass.

    Args:
        allowed_networks: Networks in CIDR form that may be reached although they are not public.
    """

    def __init__(self, allowed_networks: Sequence[str]) -> None:
        self._allowed: list[_Network] = [ipaddress.ip_network(text) for text in allowed_networks]

    def permits(self, address: str) -> bool:
        """Whether an address, as text, may be connected to."""
        forms = list(_forms(ipaddress.ip_address(address.partition("%")[0])))
        if any(form in network for form in forms for network in self._allowed):
            return True
        return all(_is_public(form) for form in forms)

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Makes the socket for one of a host's addresses; aiohttp's `socket_factory`.

        Args:
            info: The address in the form of `socket.getaddrinfo`.

        Raises:
            ForbiddenAddressError: The address is not allowed.
        """
        family, kind, protocol, _, address = info
        if not self.permits(address[0]):
            if (refused := _refused.get()) is not None:
                refused.append(address[0])
            raise ForbiddenAddressError(f"the address {address[0]} is not public")
        return socket.socket(family=family, type=kind, proto=protocol)


@contextmanager
def refused_addresses() -> Iterator[list[str]]:
    """Collects the addresses that guards refuse within the block and the tasks started in it.

    aiohttp tries several addresses and joins what went wrong into one text; the list keeps what the text loses.
    """
    found: list[str] = []
    token = _refused.set(found)
    try:
        yield found
    finally:
        _refused.reset(token)


def _forms(address: _Address) -> Iterator[_Address]:
    """The address, and the IPv4 address that it stands for when it is a wrapped one."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield address.teredo[1]
        if address in _NAT64 or int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
        return True  # no address of its own: what it wraps decides
    if any(address in network for network in (*_NEVER_PUBLIC, *_METADATA)):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified
