"""How fast the send lanes go, pacing off, against the sandbox; and whether a long queue slows the next pick.

The workers are real processes, on the machine that also runs the database and the sandbox.
"""

import contextlib
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import psycopg

from bench.installation import BenchInstallation, figure, open_installation
from sandbox.server import SandboxServer
from sandbox.state import Config, Session
from services import settings
from services.db.actor import Actor, Role, person
from services.messaging import delivery, outbox, state
from services.messaging.claims import Outcome
from services.messaging.pace import Pace

LANES = 40
EACH = 100
ROUNDS = 3
PHONE = "5511988887777"
PICKUPS = 200
PICKS = 200
WAITING = (1_000, 1_000_000)
WAIT_SECONDS = 120.0


def run() -> None:
    """Speed and order with one worker and with two, in turns; the pick-up of single messages; the long queue."""
    with open_installation() as installation, sandbox() as pipe:
        installation.environment |= {"SEND_PACE_SECONDS": "0"}
        people = [_person(installation) for _ in range(LANES)]
        pipe.send([f"user_{one.user_id}" for one in people])
        assert pipe.recv() == "paired"
        _speeds(installation, pipe)
        _pickups(installation, pipe, people[0])
    _growth()


def _speeds(installation: BenchInstallation, pipe: Connection) -> None:
    """Messages a second, and how many left in another order than they were queued in."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    errors = 0
    for _ in range(ROUNDS):
        for workers in rates:
            rate, wrong = _round(installation, pipe, workers)
            rates[workers].append(rate)
            errors += wrong
    one, two = (statistics.median(rates[workers]) for workers in rates)
    figure("dispatch_per_s", one, "messages/s")
    figure("dispatch_two_workers_per_s", two, "messages/s")
    figure("dispatch_two_vs_one", statistics.median(b / a for a, b in zip(*rates.values(), strict=True)), "ratio")
    figure("dispatch_order_errors", errors, "messages")


def _round(installation: BenchInstallation, pipe: Connection, workers: int) -> tuple[float, int]:
    installation.execute("delete from messages")
    installation.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, run_at)"
        " select s.id, s.user_id, 'out', 'queued', %s, g.n::text, now()"
        f" from generate_series(1, {EACH}) g (n) cross join whatsapp_sessions s order by g.n",
        PHONE,
    )
    pipe.send("forget")
    pipe.recv()
    with contextlib.ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(installation.running("worker"))
        _wait_until_started(installation, workers)
        # Only now due: what is measured is the sending, not the start of a process.
        installation.execute("update lanes set available_at = '-infinity', due_at = now()")
        installation.execute("select pg_notify('lanes', '')")
        _wait(installation, "select not exists (select from messages where state in ('queued', 'sending'))")
    pipe.send("sent")
    sent = pipe.recv()
    assert len(sent) == LANES * EACH == len({(one["session"], one["body"]) for one in sent}), len(sent)
    moments = sorted(one["at"] for one in sent)
    return (len(moments) - 1) / (moments[-1] - moments[0]), _out_of_order(sent)


def _out_of_order(sent: list[dict[str, str]]) -> int:
    seen: dict[str, int] = {}
    wrong = 0
    for one in sent:
        number = int(one["body"])
        wrong += number != seen.get(one["session"], 0) + 1
        seen[one["session"]] = number
    return wrong


def _pickups(installation: BenchInstallation, pipe: Connection, actor: Actor) -> None:
    """Milliseconds from the commit of a message to its arrival at the server, with nothing else to do."""
    installation.execute("delete from messages")
    pipe.send("forget")
    pipe.recv()
    queued: dict[str, float] = {}
    with installation.running("worker"):
        _wait_until_started(installation, 1)
        for number in range(PICKUPS):
            outbox.queue(actor, PHONE, str(number), f"pickup {number}")
            queued[str(number)] = time.time()
            # The next one only once the lane is free again: it is the pick that counts, not the lane's turn.
            _wait(installation, "select not exists (select from messages where state in ('queued', 'sending'))")
        pipe.send("sent")
        sent = pipe.recv()
    times = sorted((one["at"] - queued[one["body"]]) * 1000 for one in sent)
    assert len(times) == PICKUPS
    figure("pickup_ms_p50", times[len(times) // 2], "ms")
    figure("pickup_ms_p99", times[int(len(times) * 0.99) - 1], "ms")


def _growth() -> None:
    """Milliseconds of a pick with few and with many waiting, on the same lanes."""
    medians = []
    for waiting in WAITING:
        with open_installation() as installation:
            for _ in range(LANES):
                _person(installation)
            installation.execute(
                "insert into messages (session_id, user_id, direction, state, phone, body, run_at)"
                " select s.id, s.user_id, 'out', 'queued', %s, 'x', now()"
                f" from generate_series(1, {waiting // LANES}) n cross join whatsapp_sessions s",
                PHONE,
            )
            installation.execute("update lanes set due_at = now()")
            installation.execute("vacuum analyze")
            medians.append(statistics.median(_pick() for _ in range(PICKS)))
    figure("queue_pick_ms", medians[-1], "ms")
    figure("queue_growth", medians[-1] / medians[0], "ratio")


def _pick() -> float:
    started = time.perf_counter()
    claimed, _ = delivery.claim_lanes(1)
    took = (time.perf_counter() - started) * 1000
    for one in claimed:
        delivery.finish(one, Outcome(state.State.FAILED, "refused"), Pace(0))
    return took


# --- the installation -------------------------------------------------------------------------------------------------


def _person(installation: BenchInstallation) -> Actor:
    """Somebody whose session is up, with the lane that a pairing makes and a recipient that was asked about before."""
    user_id, _ = installation.session(server_url=installation.sandbox)
    installation.execute("insert into lanes (session_id) select id from whatsapp_sessions where user_id = %s", user_id)
    installation.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, address, checked_at, fresh_until)"
        " select id, user_id, %s, true, %s, now(), now() + interval '1 day' from whatsapp_sessions where user_id = %s",
        PHONE,
        f"{PHONE}@c.us",
        user_id,
    )
    return person(user_id, Role.USER)


def _wait_until_started(installation: BenchInstallation, workers: int) -> None:
    _wait(installation, "select count(*) >= %s from heartbeats where process = 'worker'", workers)
    installation.execute("delete from heartbeats")


def _wait(installation: BenchInstallation, condition: str, *params: object) -> None:
    """By one connection: to open one for each look would take a good part of the machine that is measured."""
    deadline = time.monotonic() + WAIT_SECONDS
    pause = threading.Event()
    with psycopg.connect(installation.url, autocommit=True) as connection:
        while connection.execute(condition, params or None).fetchone() != (True,):
            assert time.monotonic() < deadline, condition
            pause.wait(0.01)


@contextlib.contextmanager
def sandbox() -> Iterator[Connection]:
    """A server with these sessions up, in a process of its own, whose acks find no webhook."""
    ((url, secret),) = settings.get().wppconnect.servers().items()
    process = multiprocessing.get_context("spawn")
    ours, theirs = process.Pipe()
    server = process.Process(target=_serve, args=(theirs, int(url.rpartition(":")[2]), secret), daemon=True)
    server.start()
    assert ours.poll(30), "the sandbox did not start"
    assert ours.recv() == "ready"
    try:
        yield ours
    finally:
        ours.send("end")
        server.join(10)


def _serve(pipe: Connection, port: int, secret: str) -> None:
    """Answers a list of names (to pair), `forget` and `sent` until `end`.

    The lanes are measured, not the stand-in, which has these cores only here: it spares itself what costs it most.
    """
    server = SandboxServer(Config(secret=secret, ack_delays=(), remember_tokens=True), port)
    server.start()
    pipe.send("ready")
    while (asked := pipe.recv()) != "end":
        if asked == "forget":
            server.world.sendings.clear()
            pipe.send("forgotten")
        elif asked == "sent":
            pipe.send([one.as_json() for one in server.world.sendings])
        else:
            server.world.sessions = {name: Session.up(name, PHONE) for name in asked}
            pipe.send("paired")
    server.stop()


if __name__ == "__main__":
    run()
