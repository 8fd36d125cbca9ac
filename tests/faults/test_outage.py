"""The receiver is away while WhatsApp is not: afterwards every message is there, each of them once."""

import base64
import threading
import time
from collections import Counter
from functools import partial

import pytest

from services import gaps
from services.db.actor import Actor
from services.gaps import Reason, State
from tests.faults.test_kill import Stage, paired, stage  # noqa: F401
from tests.installation import wait_for

pytestmark = pytest.mark.faults

ANA, BIA, GROUP = "5511987654321", "5511976543210", "120363012345@g.us"


def said(stage: Stage, actor: Actor) -> Counter[str]:  # noqa: F811
    rows = stage.database.execute("select wpp_id from messages where direction = 'in' and user_id = %s", actor.user_id)
    return Counter(wpp_id for (wpp_id,) in rows)


def write(stage: Stage, actor: Actor, number: int) -> str:  # noqa: F811
    """Somebody writes: in turn a text, one to a group, and a picture. Returns WhatsApp's id of it."""
    session, control = f"user_{actor.user_id}", stage.processes.control
    if number % 3 == 1:
        found = control.inbound(session, BIA, f"grupo {number}", group=GROUP)
    elif number % 3 == 2:
        picture = base64.b64encode(f"PNG {number}".encode()).decode()
        found = control.inbound(session, ANA, f"foto {number}", base64=picture, mimetype="image/png")
    else:
        found = control.inbound(session, ANA, f"texto {number}")
    message_id: str = found["id"]
    return message_id


def _has(stage: Stage, actor: Actor, count: int) -> bool:  # noqa: F811
    return len(said(stage, actor)) == count


def all_there(stage: Stage, actor: Actor, written: list[str]) -> None:  # noqa: F811
    wait_for(lambda: set(said(stage, actor)) >= set(written), 30, "every message")
    wait_for(lambda: all(one.state is State.DONE for one in gaps.mine(actor)), 30, "every gap read")
    assert said(stage, actor) == Counter(written)


def test_it_misses_nothing_while_the_receiver_is_stopped(stage: Stage) -> None:  # noqa: F811
    people = paired(stage, 2)
    written: dict[Actor, list[str]] = {actor: [write(stage, actor, number) for number in range(3)] for actor in people}
    for actor in people:
        wait_for(partial(_has, stage, actor, 3), what="what came by webhook")
    stage.processes.stop("webhook")
    for actor in people:
        written[actor] += [write(stage, actor, number) for number in range(3, 12)]
    stage.processes.start("webhook")
    # kill -9 in the middle of it: the next worker goes on at the lease's end.
    stage.processes.restart("worker")
    stage.database.execute("update gaps set next_at = clock_timestamp() where state = 'reading'")
    for actor in people:
        written[actor] += [write(stage, actor, number) for number in range(12, 15)]
        all_there(stage, actor, written[actor])
        (gap,) = [one for one in gaps.mine(actor) if one.reason is Reason.RECEIVER]
        assert (gap.recovered, gap.failed) == (9, 0)
        lazily = "select count(*) from messages where user_id = %s and kind = 'image'"
        assert stage.database.one(lazily, actor.user_id) == 5


def test_it_misses_nothing_of_a_stream_while_everything_is_killed(stage: Stage) -> None:  # noqa: F811
    (actor,) = paired(stage, 1)
    written: list[str] = []
    ended = threading.Event()

    def stream() -> None:
        while not ended.is_set():
            written.append(write(stage, actor, len(written)))
            time.sleep(0.05)

    thread = threading.Thread(target=stream)
    thread.start()
    for processes in (("webhook",), ("worker",), ("webhook", "worker")):
        stage.processes.restart(*processes)
    ended.set()
    thread.join()
    stage.database.execute("update gaps set next_at = clock_timestamp() where state = 'reading'")
    all_there(stage, actor, written)
    assert sum(one.recovered for one in gaps.mine(actor)) > 0, "nothing was missed: no kill hit the stream"
