"""The IP address from which a request came, behind the installation's proxies: for the console and its companion."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

Networks = tuple[IPv4Network | IPv6Network, ...]


def client_ip(scope: Mapping[str, Any], proxies: Networks) -> str:
    """Where the request of an ASGI scope came from: the peer, or where that is one of our `proxies`, whom it spoke to.

    The right-most address that is no proxy of ours: what stands further left is what the sender itself wrote.
    """
    peer: str = (scope.get("client") or ("?",))[0]
    if not proxies or not _is_in_networks(peer, proxies):
        return peer
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    for address in reversed([one.strip() for one in forwarded.split(",") if one.strip()]):
        if not _is_in_networks(address, proxies):
            return address[:45]
    return peer


def _is_in_networks(address: str, networks: Networks) -> bool:
    try:
        found: Any = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)
