"""What has waited for too long: its owner is asked, and decides."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy.exc import ProgrammingError

from sandbox.server import SandboxServer
from services.db.actor import Actor
from services.db.engine import transaction
from services.fleet.session import Status
from services.messaging import delivery
from services.messaging import outbox as messaging_outbox
from services.messaging import overdue as messaging_overdue
from services.messaging.attempt import deliver
from services.messaging.overdue import OverdueChoice
from services.messaging.state import State, WaitReason
from tests.support.databases import Database
from tests.support.deliveries import (
    NO_PACE,
    bring_back,
    claim,
    deliver_all,
    list_sent_texts,
    list_states,
    list_wait_reasons,
    pass_hours,
    queue_texts,
    set_status,
    try_again,
)
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected


def ask(database: Database) -> int:
    """What the worker does each minute."""
    asked = messaging_overdue.ask_owners()
    assert messaging_overdue.ask_owners() == 0, "once"
    return asked


def test_what_waited_too_long_never_leaves_by_itself(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    bring_back(server, control, database)
    assert list_sent_texts(control, overdue) == ["nova"]
    assert ask(database) == 2
    assert list_wait_reasons(overdue) == [WaitReason.OWNER, WaitReason.OWNER, None]
    for _ in range(3):
        pass_hours(database, 5)
        try_again(database)
    assert list_sent_texts(control, overdue) == ["nova"]
    assert [one.body for one in messaging_overdue.list_overdue(overdue)] == ["um", "dois"]
    assert [(one.campaign_id, one.count) for one in messaging_overdue.list_overdue_groups(overdue)] == [(None, 2)]


def test_it_leaves_when_its_owner_says_so_in_order_and_once(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    bring_back(server, control, database)
    ask(database)
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND) == 2
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND) == 0
    deliver_all()
    assert list_sent_texts(control, overdue) == ["nova", "um", "dois"]


def test_it_is_let_go_when_its_owner_says_so(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    assert ask(database) == 2
    first, _second = messaging_overdue.list_overdue(overdue)
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.DISCARD, message_id=first.id) == 1
    bring_back(server, control, database)
    assert list_sent_texts(control, overdue) == ["nova"]
    assert list_states(overdue)[:2] == [State.CANCELLED, State.QUEUED]
    assert messaging_outbox.cancel(overdue, messaging_overdue.list_overdue(overdue)[0].id).state is State.CANCELLED


def test_what_goes_on_may_wait_as_long_once_more(overdue: Actor, database: Database) -> None:
    messaging_overdue.ask_owners()
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND) == 2
    assert messaging_overdue.ask_owners() == 0, "the server is away for a day already, they are only since now"
    pass_hours(database, 23)
    assert messaging_overdue.ask_owners() == 1, "the one that became due before"
    pass_hours(database, 2)
    assert messaging_overdue.ask_owners() == 2


def test_an_outage_in_pieces_is_as_long_as_its_pieces(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue_texts(sender, *map(str, range(6)))
    for hour in range(5):
        set_status(database, Status.DISCONNECTED)
        pass_hours(database, 6)
        set_status(database, Status.CONNECTED)
        for one in claim():
            delivery.finish(one, deliver(one), NO_PACE)
        assert len(list_sent_texts(control, sender)) == min(hour + 1, 3), "after 24 hours nothing more leaves"
    assert ask(database) == 3


def test_a_session_that_is_down_for_a_day_has_its_owner_asked_meanwhile(sender: Actor, database: Database) -> None:
    queue_texts(sender, "um")
    queue_texts(sender, "amanhã", run_at=datetime.now(UTC) + timedelta(hours=30))
    set_status(database, Status.DISCONNECTED)
    pass_hours(database, 23)
    assert messaging_overdue.ask_owners() == 0
    pass_hours(database, 2)
    assert messaging_overdue.ask_owners() == 1
    assert list_wait_reasons(sender) == [WaitReason.OWNER, None], "what is not due yet does not wait yet"


def test_what_only_queued_behind_others_is_nobodys_question(user: Actor, database: Database) -> None:
    connected(database, user)
    queue_texts(user, "um", "dois")
    pass_hours(database, 100)
    assert messaging_overdue.ask_owners() == 0
    assert [one.body for one in claim()] == ["um"]


def test_one_decision_is_for_a_campaign(overdue: Actor, database: Database) -> None:
    messaging_overdue.ask_owners()
    campaign = uuid4()
    database.execute(
        "insert into campaigns (id, user_id, name, template_id, template_version, opens, closes, cap, cold_share, pace)"
        " values (%s, %s, 'Natal', gen_random_uuid(), 1, '08:00', '20:00', 1, 1, 1)",
        campaign,
        overdue.user_id,
    )
    database.execute("update messages set campaign_id = %s where body = 'dois'", campaign)
    found = [(one.campaign_id, one.campaign, one.count) for one in messaging_overdue.list_overdue_groups(overdue)]
    assert found == [(None, None, 1), (campaign, "Natal", 1)]
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.DISCARD, loose=True) == 1
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND, campaign_id=campaign) == 1
    assert list_states(overdue)[:2] == [State.CANCELLED, State.QUEUED]


def test_nobody_else_decides(overdue: Actor, new_actor: Callable[..., Actor], staff: Actor) -> None:
    messaging_overdue.ask_owners()
    for other in (new_actor(), staff):
        assert messaging_overdue.list_overdue(other) == []
        assert messaging_overdue.decide_overdue(other, OverdueChoice.SEND) == 0
    assert len(messaging_overdue.list_overdue(overdue)) == 2


def test_what_may_have_left_never_becomes_queued_again(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    control.fault("error_but_delivered", times=1)
    queue_texts(sender, "saiu")
    deliver_all()
    assert list_states(sender) == [State.UNCERTAIN]
    with pytest.raises(ProgrammingError, match="row-level security"), transaction(sender) as tx:
        tx.exec_driver_sql("update messages set state = 'queued', asked_at = null")
