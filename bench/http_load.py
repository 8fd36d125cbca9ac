"""A small HTTP/1.1 load generator: each connection sends its next request as soon as the last is answered.

It shares the machine with what it measures, so it does as little as it can: one process, one poll loop, requests made
by putting a number into bytes.
"""

import select
import socket
import time
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


def post(address: tuple[str, int], before: bytes, after: bytes, connections: int, seconds: float) -> Result:
    """POST over `connections` for `seconds`. A request is `before`, a running number of ten digits, and `after`."""
    result = Result()
    answered, clock = result.latencies.append, time.perf_counter
    poll = select.poll()
    sockets: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    for number in range(connections):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock, select.POLLIN)
        sockets[sock.fileno()] = sock
        sent_at[sock.fileno()] = clock()
        sock.sendall(b"%b%010d%b" % (before, number, after))
    started, number = clock(), connections
    while sockets:
        for descriptor, _events in poll.poll(30_000):
            sock = sockets[descriptor]
            answer = sock.recv(4096)
            now = clock()
            if answer.startswith(b"HTTP/1.1 200"):
                answered(now - sent_at[descriptor])
            else:
                result.refused += 1
            if now - started < seconds and answer:
                sent_at[descriptor] = now
                sock.send(b"%b%010d%b" % (before, number, after))
                number += 1
            else:
                poll.unregister(sock)
                del sockets[descriptor]
                sock.close()
    result.seconds = clock() - started
    return result
