"""How soon a session that has lost WhatsApp while its page lives is named, and what a quiet fleet is asked for it.

A quiet fleet of 100: the clock of the tables is moved on to each moment at which the worker would wake, so that a day
takes seconds; what an unanswered question takes is waited for and added. The whole server loses WhatsApp a moment after
a question, which is the worst moment. Beside it a session with a message to send, whose worker runs in real time.
"""

import logging
import time
from datetime import timedelta
from multiprocessing.connection import Connection
from uuid import UUID, uuid4

import structlog

from bench.installation import BenchInstallation, figure, open_installation
from bench.server_process import serving
from sandbox.server import SandboxServer
from services import settings
from services.db.actor import Actor, Role, person
from services.fleet import probes, proof_schedule
from services.messaging import outbox

SESSIONS = 100
OUTAGES = 5
DAY = timedelta(days=1)
TRAFFIC_SECONDS = 290.0
LIMIT_SECONDS = 3600.0
RECIPIENT = "5511977776666"


def run() -> None:
    """A quiet day, the outages, and the session with traffic."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with open_installation() as installation:
        names = [f"user_{uuid4()}" for _ in range(SESSIONS)]
        ((url, secret),) = settings.get().wppconnect.servers().items()
        phones = {name: f"5511{900000001 + place}" for place, name in enumerate(names)}
        with serving(url, secret, phones, _listen) as server:
            _insert_rows(installation, url, names)
            _quiet(installation, DAY)
            ((asks,),) = installation.execute(
                "select max(n) from (select count(*) as n from proof_questions"
                " where asked_at > clock_timestamp() - interval '1 day' group by session_id) q"
            )
            ((alarms,),) = installation.execute("select count(*) from incidents")
            assert alarms == 0, alarms
            silent = max(_outage(installation, server) for _ in range(OUTAGES))
            busy = _with_traffic(installation, server, names[0])
    figure("zombie_found_s", max(silent, busy), "s")
    figure("zombie_found_quiet_server_s", silent, "s")
    figure("zombie_found_with_traffic_s", busy, "s")
    figure("asks_per_session_and_day", float(str(asks)), "asks")


def _insert_rows(installation: BenchInstallation, url: str, names: list[str]) -> None:
    installation.execute("insert into auth.users (id) select right(n, 36)::uuid from unnest(%s::text[]) n", names)
    installation.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, desired_connected, phone_number,"
        " last_proof_at,"
        " connected_at, probed_at) select right(n, 36)::uuid, n, 'conectado', %s, true, '5511' || (900000000 + place),"
        " clock_timestamp() - interval '1 hour', clock_timestamp() - interval '2 days', clock_timestamp()"
        " from unnest(%s::text[]) with ordinality as s (n, place)",
        url,
        names,
    )
    installation.execute("insert into lanes (session_id) select id from whatsapp_sessions")


def _quiet(installation: BenchInstallation, for_: timedelta) -> None:
    """So much time passes and nothing happens but questions."""
    passed = 0.0
    while passed < for_.total_seconds():
        passed += _to_the_next_turn(installation)
        probes.ask_whatsapp()


def _to_the_next_turn(installation: BenchInstallation) -> float:
    """Move the clock on to where the worker wakes for the next quiet question; returns by how many seconds."""
    due = proof_schedule.next_due_in()
    seconds = settings.get().health.sweep_seconds if due is None or due <= 0 else due
    after = timedelta(seconds=seconds)
    installation.execute(
        "update proof_questions set asked_at = asked_at - %s, answered_at = answered_at - %s", after, after
    )
    installation.execute(
        "update whatsapp_sessions set last_proof_at = last_proof_at - %s, questioned_at = questioned_at - %s,"
        " connected_at = connected_at - %s",
        after,
        after,
        after,
    )
    return seconds


def _outage(installation: BenchInstallation, server: Connection) -> float:
    """The seconds from the loss of WhatsApp, right after a question, to the first zombie that is named."""
    _to_the_next_turn(installation)
    probes.ask_whatsapp()
    _away(server, away=True)
    found = 0.0
    while not installation.execute("select 1 from incidents where ended_at is null"):
        assert found < LIMIT_SECONDS, "nobody noticed"
        found += _to_the_next_turn(installation)
        begun = time.perf_counter()
        probes.ask_whatsapp()
        found += time.perf_counter() - begun
    _away(server, away=False)
    installation.execute("update incidents set ended_at = clock_timestamp(), state = 'over' where ended_at is null")
    return found


def _with_traffic(installation: BenchInstallation, server: Connection, name: str) -> float:
    """The seconds, by the wall, until a worker names a zombie that has a message to send."""
    owner: Actor = person(UUID(name.removeprefix("user_")), Role.USER)
    installation.execute(
        "update whatsapp_sessions set last_proof_at = clock_timestamp(), probed_at = clock_timestamp()"
    )
    installation.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, address, checked_at, fresh_until)"
        " select id, user_id, %s, true, %s, now(), now() + interval '1 day' from whatsapp_sessions",
        RECIPIENT,
        f"{RECIPIENT}@c.us",
    )
    _away(server, away=True)
    with installation.running("worker"):
        begun = time.perf_counter()
        outbox.queue(owner, RECIPIENT, "oi", uuid4().hex)
        while not installation.execute("select 1 from incidents where kind = 'zombie' and ended_at is null"):
            assert time.perf_counter() - begun < TRAFFIC_SECONDS, "nobody noticed"
            time.sleep(0.2)
        return time.perf_counter() - begun


def _away(server: Connection, *, away: bool) -> None:
    server.send(away)
    assert server.recv() == "done"


def _listen(server: SandboxServer, pipe: Connection) -> None:
    """Lose WhatsApp and find it again as told."""
    while (told := pipe.recv()) != "end":
        for session in server.world.sessions.values():
            session.away = told
            # The clock of the tables was moved on, that of the browsers was not.
            session.answered.clear()
        pipe.send("done")


if __name__ == "__main__":
    run()
