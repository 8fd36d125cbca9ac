"""What is away for a while: the receiver, whose messages are all there afterwards, and the database or the server, of
which the logs tell without shouting."""

import base64
import json
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

import worker
from services.db.actor import Actor
from services.inbound import outages
from services.inbound.outages import OutageReason, OutageState
from services.platform import heartbeats
from services.platform.worker_loop import WorkerLoop
from tests.support.event_sender import posting_events
from tests.support.killable_installation import KillableInstallation, pair_people, queue_despite_outages
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

ANA, BIA, GROUP = "5511987654321", "5511976543210", "120363012345@g.us"


def said(installation: KillableInstallation, actor: Actor) -> Counter[str]:
    rows = installation.database.execute(
        "select wpp_id from messages where direction = 'in' and user_id = %s", actor.user_id
    )
    return Counter(wpp_id for (wpp_id,) in rows)


def write(installation: KillableInstallation, actor: Actor, number: int) -> str:
    """Somebody writes: in turn a text, one to a group, and a picture. Returns WhatsApp's id of it."""
    session, control = f"user_{actor.user_id}", installation.processes.control
    if number % 3 == 1:
        found = control.inbound(session, BIA, f"grupo {number}", group=GROUP)
    elif number % 3 == 2:
        picture = base64.b64encode(f"PNG {number}".encode()).decode()
        found = control.inbound(session, ANA, f"foto {number}", base64=picture, mimetype="image/png")
    else:
        found = control.inbound(session, ANA, f"texto {number}")
    message_id: str = found["id"]
    return message_id


def _has(installation: KillableInstallation, actor: Actor, count: int) -> bool:
    return len(said(installation, actor)) == count


def all_there(installation: KillableInstallation, actor: Actor, written: list[str]) -> None:
    wait_for(lambda: set(said(installation, actor)) >= set(written), 30, "every message")
    wait_for(lambda: all(one.state is OutageState.DONE for one in outages.list_own(actor)), 30, "every gap read")
    assert said(installation, actor) == Counter(written)


def test_it_misses_nothing_while_the_receiver_is_stopped(installation: KillableInstallation) -> None:
    people = pair_people(installation, 2)
    written: dict[Actor, list[str]] = {
        actor: [write(installation, actor, number) for number in range(3)] for actor in people
    }
    for actor in people:
        wait_for(partial(_has, installation, actor, 3), what="what came by webhook")
    installation.processes.stop("webhook")
    for actor in people:
        written[actor] += [write(installation, actor, number) for number in range(3, 12)]
    installation.processes.start("webhook")
    # kill -9 in the middle of it: the next worker goes on at the lease's end.
    installation.processes.restart("worker")
    installation.database.execute("update outages set next_at = clock_timestamp() where state = 'reading'")
    for actor in people:
        written[actor] += [write(installation, actor, number) for number in range(12, 15)]
        all_there(installation, actor, written[actor])
        (gap,) = [one for one in outages.list_own(actor) if one.reason is OutageReason.RECEIVER]
        assert (gap.recovered, gap.failed) == (9, 0)
        lazily = "select count(*) from messages where user_id = %s and kind = 'image'"
        assert installation.database.one(lazily, actor.user_id) == 5


@pytest.mark.slow
def test_it_misses_nothing_of_a_stream_while_everything_is_killed(installation: KillableInstallation) -> None:
    (actor,) = pair_people(installation, 1)
    written: list[str] = []
    ended = threading.Event()

    def stream() -> None:
        while not ended.is_set():
            written.append(write(installation, actor, len(written)))
            time.sleep(0.05)

    thread = threading.Thread(target=stream)
    thread.start()
    for processes in (("webhook",), ("worker",), ("webhook", "worker")):
        installation.processes.restart(*processes)
    ended.set()
    thread.join()
    installation.database.execute("update outages set next_at = clock_timestamp() where state = 'reading'")
    all_there(installation, actor, written)
    assert sum(one.recovered for one in outages.list_own(actor)) > 0, "nothing was missed: no kill hit the stream"


# --- what the logs say of it ------------------------------------------------------------------------------------------

PROCESSES = ("webhook", "worker", "console")
# Each of them fails on its own in the worker; what a NOTIFY wakes is in its table of channels.
WORKERS = {*worker.CHANNELS.values(), "health", "rollups", "metrics", "heartbeat", "listener", "jobs"}
LOOPS = {"webhook": {"heartbeat", "metrics", "listener", "store_events"}, "worker": WORKERS}
LOOPS["console"] = {"metrics", "listener"}
# As many rounds as a loop makes in some seconds: each was a traceback once.
ROUNDS = 5
# Whoever asks a server that is away again does not do so at once.
A_MOMENT = timedelta(seconds=1)
Line = dict[str, Any]


class Logs:
    """What the processes have written since this was made."""

    def __init__(self, installation: KillableInstallation) -> None:
        self._processes = installation.processes
        self._from = {name: len(self.text(name)) for name in PROCESSES}

    def text(self, process: str) -> str:
        return self._processes.log(process)

    def new(self, process: str) -> list[Line]:
        return [json.loads(line) for line in self.text(process)[self._from[process] :].splitlines()]

    def loops(self, process: str, event: str) -> Counter[object]:
        """The loops that told of `event`, and how often."""
        return Counter(line["loop"] for line in self.new(process) if line["event"] == event)

    def loud(self, process: str) -> list[Line]:
        return [line for line in self.new(process) if line["level"] != "info"]


def _all_told(logs: Logs, event: str) -> bool:
    return all(set(logs.loops(process, event)) >= LOOPS[process] for process in PROCESSES)


@pytest.mark.slow
def test_it_tells_of_a_database_that_is_away_in_one_line_a_loop(installation: KillableInstallation) -> None:
    installation.processes.start("console")
    (actor,) = pair_people(installation, 1)
    with posting_events(installation) as sender:
        sender.wait_for_more_than(10)
        logs = Logs(installation)
        installation.postgres.stop()
        ours = WorkerLoop(
            "test", partial(heartbeats.beat, "test")
        ).start()  # goes round as often as those of the processes
        try:
            wait_for(lambda: _all_told(logs, "database_away"), 40, "every loop to tell that the database is away")
            begun = ours.errors
            wait_for(lambda: ours.errors >= begun + ROUNDS, 40, "some more rounds")
        finally:
            installation.postgres.start()
        wait_for(lambda: _all_told(logs, "database_back"), 60, "every loop to tell that the database is back")
        ours.stop()
    queue_despite_outages(actor, "depois da queda")
    wait_for(lambda: len(installation.processes.control.sent()) == 1, what="a message to leave afterwards")
    for process in PROCESSES:
        assert "Traceback" not in logs.text(process)
        # A server that answers late on a busy machine is told of as well.
        told = {"database_away", "database_back", "probe_refused"}
        assert {line["event"] for line in logs.loud(process)} <= told
        away, back = logs.loops(process, "database_away"), logs.loops(process, "database_back")
        assert set(away.values()) == {1}, "a loop told of it more than once within the minute"
        assert away == back
    tries = {line["loop"]: line["tries"] for line in logs.new("worker") if line["event"] == "database_back"}
    assert tries["inbox"] > ROUNDS
    wait_for(lambda: _counted(installation, "inbox") == tries["inbox"], what="each of them in the metrics")


def _counted(installation: KillableInstallation, loop: str) -> int:
    """The failed rounds of the worker's loop, as it has noted them."""
    samples = installation.database.one(
        "select samples -> 'plushify_loop_errors' from process_metrics where process = 'worker'"
    )
    return sum(int(value) for name, labels, value in samples if name.endswith("_total") and labels["loop"] == loop)


@pytest.mark.slow
def test_it_writes_a_line_a_call_and_no_more_while_the_server_is_away(installation: KillableInstallation) -> None:
    people = pair_people(installation, 2)
    logs = Logs(installation)
    installation.processes.kill("sandbox")
    for actor in people:
        queue_despite_outages(actor, "enquanto o servidor está fora")

    def refused() -> list[list[datetime]]:
        """When each call failed, apart by what was asked and for whom."""
        calls = defaultdict(list)
        for line in logs.loud("worker"):
            calls[line.get("route"), line.get("session")].append(datetime.fromisoformat(line["timestamp"]))
        return list(calls.values())

    wait_for(lambda: sum(len(times) > 2 for times in refused()) >= len(people), 60, "calls that nobody took")
    for process in ("webhook", "worker"):
        assert "Traceback" not in logs.text(process)
        assert {line["event"] for line in logs.loud(process)} <= {"wpp_call"}
    for times in refused():
        assert all(later - earlier > A_MOMENT for earlier, later in pairwise(times))
