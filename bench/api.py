"""How many messages a second programs can queue durably through the API, and what its rate limits cost."""

import statistics
import time
from uuid import UUID

import jwt

from bench.http_load import Result, post
from bench.installation import BenchInstallation, figure, open_installation
from services import settings

CONNECTIONS = 32
SECONDS = 8.0
LIMIT_ROUNDS = 9
LIMIT_SECONDS = 1.5
# The default's amount, so that the shared counter is asked as often for each request, in windows that nobody fills.
LIMITS = ("600/10 seconds", "off")


def run() -> None:
    """32 connections, a user each: one user's messages are queued one after the other, as their order asks."""
    with open_installation() as installation:
        installation.environment["RATE_LIMIT_API"] = installation.environment["RATE_LIMIT_SEND"] = "off"
        users = [installation.session()[0] for _ in range(CONNECTIONS)]
        installation.execute("insert into lanes (session_id) select id from whatsapp_sessions")
        _sends(installation, users)
        _limits(installation, users)


def _sends(installation: BenchInstallation, users: list[UUID]) -> None:
    """Each message is answered once it is committed (`Prefer: respond-async`)."""
    head, tail = b'{"phone":"11987654321","message":"Pedido ', b'"}'
    start = f"POST /functions/v1/enviar-mensagem-whatsapp HTTP/1.1\r\nContent-Length: {len(head) + 10 + len(tail)}"
    with installation.running("webhook"):
        load = _load(installation, [_request(start, user) + b"\r\n\r\n" + head for user in users], tail, SECONDS, 202)
    ((stored,),) = installation.execute("select count(*) from messages")
    assert stored == len(load.latencies), (stored, len(load.latencies))
    figure("api_send_per_s", load.per_second, "messages/s")
    figure("api_send_p99_ms", load.percentile(0.99), "ms")


def _limits(installation: BenchInstallation, users: list[UUID]) -> None:
    """The same questions to a process that counts and to one that does not, in turns."""
    heads = [_request("GET /functions/v1/sessao-de-whatsapp HTTP/1.1", user) + b"\r\nX-Number: " for user in users]
    rates: dict[str, list[float]] = {limit: [] for limit in LIMITS}
    for _ in range(LIMIT_ROUNDS):
        for limit in LIMITS:
            installation.environment["RATE_LIMIT_API"] = limit
            with installation.running("webhook"):
                _load(installation, heads, b"\r\n\r\n", 0.3)
                rates[limit].append(_load(installation, heads, b"\r\n\r\n", LIMIT_SECONDS).per_second)
    ratios = [counted / free for counted, free in zip(*rates.values(), strict=True)]
    figure("rate_limit_overhead", statistics.median(ratios), "ratio")


def _load(
    installation: BenchInstallation, before: list[bytes], after: bytes, seconds: float, expected: int = 200
) -> Result:
    load = post(installation.webhook_address, before, after, CONNECTIONS, seconds, expected)
    assert load.refused == 0, load.refused
    return load


def _request(start: str, user_id: UUID) -> bytes:
    claims = {"sub": str(user_id), "aud": "authenticated", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, settings.get().jwt.secret.get_secret_value(), algorithm="HS256")
    return f"{start}\r\nHost: 127.0.0.1\r\nPrefer: respond-async\r\nAuthorization: Bearer {token}".encode()


if __name__ == "__main__":
    run()
