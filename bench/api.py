"""How many messages a second programs can queue durably through the API."""

import time
from urllib.parse import urlsplit

import jwt

from bench.http_load import post
from bench.stage import figure, stage
from services import settings

CONNECTIONS = 32
SECONDS = 8


def run() -> None:
    """32 connections, a user each, message after message, answered once it is committed (`Prefer: respond-async`).

    One user's messages are queued one after the other, as their order asks: 32 users are what a server sees.
    """
    with stage() as on, on.running("webhook"):
        users = [on.session()[0] for _ in range(CONNECTIONS)]
        on.execute("insert into lanes (session_id) select id from whatsapp_sessions")
        head, tail = b'{"phone":"11987654321","message":"Pedido ', b'"}'
        requests = [_head(str(user), len(head) + 10 + len(tail)) + head for user in users]
        address = urlsplit(on.webhook)
        target = (str(address.hostname), address.port or 80)
        load = post(target, requests, tail, CONNECTIONS, SECONDS, expected=202)
        ((stored,),) = on.execute("select count(*) from messages")
        assert (load.refused, int(str(stored))) == (0, len(load.latencies)), (load.refused, stored, len(load.latencies))
    figure("api_send_per_s", load.per_second, "messages/s")
    figure("api_send_p99_ms", load.percentile(0.99), "ms")


def _head(user_id: str, length: int) -> bytes:
    claims = {"sub": user_id, "aud": "authenticated", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, settings.get().jwt_secret.get_secret_value(), algorithm="HS256")
    return (
        "POST /functions/v1/enviar-mensagem-whatsapp HTTP/1.1\r\nHost: 127.0.0.1\r\nPrefer: respond-async\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    run()
