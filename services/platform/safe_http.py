"""Posts to addresses that people give us: the one room beside `wppconnect` that speaks HTTP.

Nobody may use us to reach what only we can reach. The name is resolved here, each address that it has is looked at, and
the connection goes to the very address that was looked at, so that a name server which answers differently the second
time gains nothing. No redirects are followed, no proxy or password of this machine's is used, and the whole exchange
has one deadline, because a time-out for each piece would let a trickle go on for ever.
"""

import functools
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpcore

from services.errors import N_, InvalidInput

SECONDS = 10.0
ADDRESS_LIMIT = 2048
# Of an answer only its status counts; this much is read so that an honest server is not cut off while it speaks.
ANSWER_BYTES = 16 * 1024

# An IPv4 address may travel inside one of these (RFC 6052).
NAT64 = ipaddress.ip_network("64:ff9b::/96")

for _name in ("connection", "http11", "proxy"):
    # At DEBUG each would tell addresses and headers.
    logging.getLogger(f"httpcore.{_name}").addFilter(lambda _record: False)


class WrongAddress(InvalidInput):
    code = "endereco_invalido"
    message = N_("Esse endereço não serve: precisa começar com https:// ou http:// e não pode ter usuário nem senha.")
    hint = N_("Copie o endereço completo do sistema que vai receber os avisos.")


class PrivateAddress(InvalidInput):
    code = "endereco_interno"
    message = N_("Esse endereço é de uma rede interna, e o console só chama endereços públicos.")
    hint = N_("Use um endereço público, ou peça à administração para permitir redes internas.")


class Failure(StrEnum):
    """Why there is no answer."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"  # no such name, nobody listens there, or it hung up
    FORBIDDEN = "forbidden"  # an address that only we can reach
    INSECURE = "insecure"  # its certificate does not prove who it is
    UNREADABLE = "unreadable"  # what came is not HTTP


@dataclass(frozen=True)
class Answer:
    """What came of a post: the status of the answer, or why there was none."""

    status: int | None = None
    failure: Failure | None = None

    @property
    def well(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def checked(address: str, *, private: bool) -> str:
    """`address` without blanks around it, if it can be posted to.

    Only what it says is looked at; where its name leads to is looked at each time that it is called.

    Raises: WrongAddress, PrivateAddress.
    """
    wanted = address.strip()
    try:
        parts = urlsplit(wanted)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise WrongAddress("unreadable") from None
    plain = wanted.isascii() and wanted.isprintable() and " " not in wanted and "\\" not in wanted
    if not sound or not plain or "@" in parts.netloc or len(wanted) > ADDRESS_LIMIT:
        raise WrongAddress("no http(s) address, with a user, or too long")
    host = parts.hostname or ""
    literal = _literal(host)
    if not private and (host == "localhost" or host.endswith(".localhost") or (literal and not _is_public(literal))):
        raise PrivateAddress("an address of this machine or its network")
    return wanted


def post(
    address: str, body: bytes, headers: Mapping[str, str], *, private: bool = False, seconds: float = SECONDS
) -> Answer:
    """Post `body` and read the status, all of it within `seconds`. Never raises for what the other side does.

    `private` also allows addresses of this machine and its networks.
    """
    deadline = time.monotonic() + seconds
    sent = [("User-Agent", "Plushify"), ("Accept", "*/*"), ("Connection", "close"), *headers.items()]
    limits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
    backend = _Backend(deadline, private=private)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend, max_keepalive_connections=0) as pool,
            pool.stream("POST", address, headers=sent, content=body, extensions={"timeout": limits}) as response,
        ):
            _drain(response)
            return Answer(status=response.status)
    except _Forbidden:
        return Answer(failure=Failure.FORBIDDEN)
    except httpcore.TimeoutException:
        return Answer(failure=Failure.TIMEOUT)
    except httpcore.NetworkError as error:
        insecure = isinstance(error.__context__, ssl.SSLError)
        return Answer(failure=Failure.INSECURE if insecure else Failure.UNREACHABLE)
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
        return Answer(failure=Failure.UNREADABLE)


def _drain(response: httpcore.Response) -> None:
    """The status is there: neither a body that breaks off nor one without end takes anything from it."""
    size = 0
    try:
        for chunk in response.iter_stream():
            size += len(chunk)
            if size >= ANSWER_BYTES:
                return
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        return


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Forbidden(httpcore.ConnectError):
    """Every address of the name is one that may not be called."""


class _Backend(httpcore.SyncBackend):
    """Connects to looked-at addresses only, and gives everything one deadline."""

    def __init__(self, deadline: float, *, private: bool) -> None:
        self._deadline = deadline
        self._private = private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = _Forbidden()
        for address in self._admitted(host, port):
            try:
                stream = super().connect_tcp(address, port, _left(self._deadline), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return _Stream(stream, self._deadline)
        raise failure

    def _admitted(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(type(error).__name__) from None
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return [one for one in addresses if self._private or _is_public(ipaddress.ip_address(one.partition("%")[0]))]


class _Stream(httpcore.NetworkStream):
    """A stream of which nothing outlasts the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, passed: type[httpcore.TimeoutException] = httpcore.ConnectTimeout) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise passed
    return seconds


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether anybody on the internet could call it too; also asked of the IPv4 address that an IPv6 one carries."""
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return _is_public(carried)
    return address.is_global and not address.is_multicast and not address.is_reserved
