"""A small HTTP/1.1 load generator: each connection sends its next request as soon as the last is answered.

It shares the machine with what it measures, so it does as little as it can: one process, one poll loop, requests made
by putting a number into bytes.
"""

import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """`latencies` in seconds, one for each answer with the expected status; `refused` counts every other answer."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that `share` (0 to 1) of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


def post(
    address: tuple[str, int],
    before: Sequence[bytes],
    after: bytes,
    connections: int,
    seconds: float,
    expected: int = 200,
) -> Result:
    """POST over `connections` for `seconds`. A request is `before`, a running number of ten digits, and `after`.

    Each connection takes one of `before`, in turns, and keeps it.
    """
    result = Result()
    wanted = f"HTTP/1.1 {expected}".encode()
    answered, clock = result.latencies.append, time.perf_counter
    poll, patience = _poll()
    sockets: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    heads: dict[int, bytes] = {}
    for number in range(connections):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock, select.POLLIN)
        sockets[sock.fileno()] = sock
        heads[sock.fileno()] = before[number % len(before)]
        sent_at[sock.fileno()] = clock()
        sock.sendall(b"%b%010d%b" % (heads[sock.fileno()], number, after))
    started, number = clock(), connections
    while sockets:
        for descriptor, _events in poll.poll(patience):
            sock = sockets[descriptor]
            answer = _whole(sock)
            now = clock()
            if answer.startswith(wanted):
                answered(now - sent_at[descriptor])
            else:
                result.refused += 1
            if now - started < seconds and answer:
                sent_at[descriptor] = now
                sock.send(b"%b%010d%b" % (heads[descriptor], number, after))
                number += 1
            else:
                poll.unregister(sock)
                del sockets[descriptor]
                sock.close()
    result.seconds = clock() - started
    return result


def _poll() -> tuple[Any, int]:
    """The cheapest poll object of this system, and 30 seconds in its own unit."""
    if sys.platform == "linux":
        return select.epoll(), 30
    else:  # noqa: RET505 - mypy knows a platform's own branch only so
        return select.poll(), 30_000


def _whole(sock: socket.socket) -> bytes:
    """One answer. The receiver's have no body and come in one piece."""
    answer = sock.recv(65536)
    while answer and not answer.endswith(b"content-length: 0\r\n\r\n"):
        head, end, body = answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        if end and len(body) >= int(length or 0):
            break
        more = sock.recv(65536)
        if not more:
            break
        answer += more
    return answer
