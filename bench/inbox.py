"""How many stored messages a second one worker takes in, rules, conversations and rollups' notes included."""

import json
import time
from uuid import UUID, uuid4

from bench.installation import BenchInstallation, figure, open_installation
from services.inbound import event_processing

EVENTS = 3_000
CHATS = 50


def run() -> None:
    """Messages of one session in many chats, handled in this process."""
    with open_installation() as installation:
        user_id, _ = installation.session()
        _store(installation, user_id, 100)
        while event_processing.process():  # connections, prepared statements
            pass
        _store(installation, user_id, EVENTS)
        started = time.perf_counter()
        while event_processing.process():
            pass
        figure("inbox_per_s", EVENTS / (time.perf_counter() - started), "events/s")
        assert installation.execute("select count(*) from messages") == [(EVENTS + 100,)]


def _store(installation: BenchInstallation, user_id: UUID, count: int) -> None:
    name = f"user_{user_id}"
    bodies = [json.dumps(_message(name, f"55119{number % CHATS:08}@c.us")) for number in range(count)]
    installation.execute(
        "insert into events (session, current_secret, kind, verdict, request_id, body)"
        " select %s, true, 'onmessage', 'received', gen_random_uuid(), b from unnest(%s::text[]) b",
        name,
        bodies,
    )


def _message(session: str, chat: str) -> dict[str, object]:
    return {"event": "onmessage", "session": session, "id": f"false_{chat}_{uuid4().hex}", "body": "oi", "type": "chat",
            "t": int(time.time()), "from": chat, "to": "5511988887777@c.us", "fromMe": False}  # fmt: skip


if __name__ == "__main__":
    run()
