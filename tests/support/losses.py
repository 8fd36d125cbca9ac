"""What must hold whatever was killed: nothing answered or queued is lost, and nothing leaves twice."""

from collections import Counter
from functools import partial

from services.messaging.state import State
from tests.support.event_sender import EventSender
from tests.support.killable_installation import KillableInstallation
from tests.support.waiting import wait_for

SETTLED = (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.FAILED, State.UNCERTAIN)
LEFT = (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ)


def assert_no_answered_event_is_lost(installation: KillableInstallation, sender: EventSender) -> None:
    stored = {
        key
        for (key,) in installation.database.execute("select body::json ->> 'id' from events where kind = 'onmessage'")
    }
    lost = set(sender.answered) - stored
    assert not lost, f"{len(lost)} of {len(sender.answered)} answered events are not stored"


def _unhandled(installation: KillableInstallation) -> int:
    waiting: int = installation.database.one("select count(*) from events where verdict = 'received'")
    return waiting


def _fewer(installation: KillableInstallation, than: int) -> bool:
    return _unhandled(installation) < than


def wait_until_handled(installation: KillableInstallation, seconds: float = 60) -> None:
    """However much waits: only a standstill for `seconds` is a fault."""
    left = _unhandled(installation)
    while left:
        wait_for(partial(_fewer, installation, left), seconds, "every stored event handled")
        left = _unhandled(installation)
    assert installation.database.one("select count(*) from events where verdict in ('failed', 'invalid')") == 0


def outbox(installation: KillableInstallation) -> dict[str, State]:
    """What was queued here, by its text. What stands beside it without a key is what WhatsApp has told of meanwhile."""
    rows = installation.database.execute("select body, state from messages where idempotency_key is not null")
    assert len(rows) == len({body for body, _state in rows})
    return {body: State(state) for body, state in rows}


def told_of(installation: KillableInstallation) -> set[str]:
    """The texts that left and that WhatsApp told of before it was known which queued message they were."""
    rows = installation.database.execute(
        "select body from messages where direction = 'out' and idempotency_key is null"
    )
    return {body for (body,) in rows}


def assert_none_stands_twice(installation: KillableInstallation) -> None:
    """What WhatsApp told of goes once it is known which queued message it is."""
    known = {body for body, state in outbox(installation).items() if state in LEFT}
    assert not told_of(installation) & known, "a message stands twice though it is known which it is"


def wait_until_settled(installation: KillableInstallation, seconds: float = 30) -> None:
    def unsettled() -> list[str]:
        return [body for body, state in outbox(installation).items() if state not in SETTLED]

    wait_for(lambda: not unsettled(), seconds, "every message in an end state")


def assert_nothing_was_sent_twice_or_lost(installation: KillableInstallation, queued: list[str]) -> None:
    left = Counter(one["body"] for one in installation.processes.control.sent())
    assert {body: count for body, count in left.items() if count > 1} == {}
    states = outbox(installation)
    assert sorted(states) == sorted(queued)
    said_to_have_left = {body for body, state in states.items() if state in LEFT}
    assert_none_stands_twice(installation)
    assert said_to_have_left <= set(left), "a message is called sent that never left"
    said_to_have_failed = {body for body, state in states.items() if state is State.FAILED}
    assert not said_to_have_failed & set(left), "a message is called failed that did leave"
    # What left and is not called so must at least be called uncertain.
    assert {states[body] for body in set(left) - said_to_have_left} <= {State.UNCERTAIN}
