"""A small HTTP/1.1 load generator: each connection sends its next request as soon as the last is answered.

It shares the machine with what it measures, so it does as little as it can: one process, one epoll loop, requests made
by joining bytes.
"""

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Result:
    """`latencies` in seconds, one for each answer with status 200; `refused` counts every other answer."""

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
    address: tuple[str, int], head: bytes, body: Callable[[int], bytes], connections: int, seconds: float
) -> Result:
    """POST `body(n)` for n = 0, 1, … over `connections` for `seconds`. `head` lacks only Content-Length and the end."""
    result = Result()
    selector = selectors.DefaultSelector()
    sent_at: dict[int, float] = {}
    number = 0

    def send(sock: socket.socket) -> None:
        nonlocal number
        content = body(number)
        number += 1
        sent_at[sock.fileno()] = time.perf_counter()
        sock.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(content), content))

    for _ in range(connections):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        send(sock)
    started = time.perf_counter()
    open_connections = connections
    while open_connections:
        for key, _events in selector.select(timeout=30):
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            sock = ready
            answer = sock.recv(4096)
            now = time.perf_counter()
            if answer.startswith(b"HTTP/1.1 200"):
                result.latencies.append(now - sent_at[sock.fileno()])
            else:
                result.refused += 1
            if now - started < seconds and answer:
                send(sock)
            else:
                selector.unregister(sock)
                sock.close()
                open_connections -= 1
    result.seconds = time.perf_counter() - started
    return result
