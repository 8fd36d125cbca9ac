"""Where a message goes: to the address that WhatsApp itself has for its recipient."""

from uuid import UUID

import pytest

from sandbox.server import SandboxServer
from services.db.actor import Actor
from services.messaging import outbox
from services.messaging.state import State, WaitReason
from tests.support.databases import Database
from tests.support.deliveries import claim, deliver_all, get_only_message
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl

MEXICAN, OLDER_MEXICAN = "525512345678", "5215512345678"
LID = "112233445566778@lid"


@pytest.fixture
def line(sender: Actor, server: SandboxServer, database: Database) -> UUID:
    found: UUID = database.one("select id from whatsapp_sessions where user_id = %s", sender.user_id)
    return found


def hear_from(database: Database, line: UUID, address: str, phone: str | None, lid: str | None = None) -> None:
    """Somebody wrote from this address a day ago."""
    database.execute(
        "with written as (insert into contacts (session_id, user_id, address, phone, lid)"
        "  select id, user_id, %s, %s, %s from whatsapp_sessions where id = %s returning *)"
        " insert into messages (session_id, user_id, contact_id, direction, state, phone, body, occurred_at)"
        " select session_id, user_id, id, 'in', 'received', coalesce(phone, lid), 'oi', now() - interval '1 day'"
        "   from written",
        address, phone, lid, line,
    )  # fmt: skip


def get_outgoing(database: Database) -> list[tuple[str, str | None, str, str | None]]:
    return database.execute("select phone, address, state, failure from messages where direction = 'out' order by seq")


def list_asked(database: Database) -> list[str]:
    return [phone for (phone,) in database.execute("select phone from number_checks order by phone")]


@pytest.mark.parametrize("written", ["+52 1 55 1234 5678", "+52 55 1234 5678", "5215512345678@c.us"])
def test_whoever_wrote_is_answered_at_the_address_they_wrote_from(
    sender: Actor, line: UUID, database: Database, control: SandboxControl, written: str
) -> None:
    hear_from(database, line, f"{OLDER_MEXICAN}@c.us", MEXICAN)
    outbox.queue(sender, written, "Olá!", "key")
    deliver_all()
    assert [told["to"] for told in control.sent()] == [f"{OLDER_MEXICAN}@c.us"]
    assert list_asked(database) == []


def test_whoever_wrote_long_ago_is_asked_about(sender: Actor, line: UUID, database: Database) -> None:
    hear_from(database, line, f"{OLDER_MEXICAN}@c.us", MEXICAN)
    database.execute("update messages set occurred_at = now() - interval '1 year'")
    outbox.queue(sender, f"+{MEXICAN}", "Olá!", "key")
    deliver_all()
    assert list_asked(database) == [MEXICAN]


@pytest.mark.parametrize(
    ("written", "known_as"), [("+52 55 1234 5678", OLDER_MEXICAN), ("+54 11 2345-6789", "5491123456789")]
)
def test_a_line_is_asked_about_in_both_spellings(
    sender: Actor, line: UUID, database: Database, control: SandboxControl, written: str, known_as: str
) -> None:
    message = outbox.queue(sender, written, "Olá!", "key")
    control.number(message.phone, exists=False)
    deliver_all()
    assert [told["to"] for told in control.sent()] == [f"{known_as}@c.us"]
    outbox.queue(sender, written, "De novo", "other key")  # the first spelling's no is remembered, and does not end it
    deliver_all()
    assert [told["to"] for told in control.sent()] == [f"{known_as}@c.us"] * 2
    assert list_asked(database) == sorted([message.phone, known_as])


def test_what_neither_spelling_has_fails(
    sender: Actor, line: UUID, database: Database, control: SandboxControl
) -> None:
    for spelling in (MEXICAN, OLDER_MEXICAN):
        control.number(spelling, exists=False)
    for key in ("first", "second"):
        outbox.queue(sender, f"+{OLDER_MEXICAN}", "Olá!", key)
        deliver_all()
    assert [row[2:] for row in get_outgoing(database)] == [("failed", "not_on_whatsapp")] * 2
    assert control.sent() == []


def test_both_spellings_are_of_the_hours_budget(
    sender: Actor, line: UUID, control: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER_CHECKS_PER_HOUR", "1")
    forget_process_state()
    control.number(MEXICAN, exists=False)
    outbox.queue(sender, f"+{MEXICAN}", "Olá!", "key")
    deliver_all()
    message = get_only_message(sender)
    assert message.state is State.QUEUED
    assert message.waiting is not None
    assert message.waiting.reason is WaitReason.NUMBERS


@pytest.mark.parametrize(("exists", "state"), [(True, State.SENT), (False, State.FAILED)])
def test_whatsapp_decides_about_a_number_that_todays_plan_does_not_have(
    sender: Actor, line: UUID, control: SandboxControl, exists: bool, state: State
) -> None:
    control.number("22507123456", exists=exists)
    outbox.queue(sender, "+225 07 12 34 56", "Olá!", "key")
    deliver_all()
    assert get_only_message(sender).phone == "22507123456"
    assert [told["to"] for told in control.sent()] == ["22507123456@c.us"] * exists
    if not exists:
        assert get_only_message(sender).state is state


def test_a_lid_is_written_to_without_a_question(
    sender: Actor, line: UUID, database: Database, control: SandboxControl
) -> None:
    control.fault("lid_without_phone")
    lid = control.inbound(f"user_{sender.user_id}", "5511987650025", "oi")["from"]
    outbox.queue(sender, lid.replace("@lid", ":3@lid"), "Olá!", "key")
    deliver_all()
    assert [told["to"] for told in control.sent()] == [lid]
    assert list_asked(database) == []


def test_a_number_that_passed_to_a_stranger_is_not_written_to(sender: Actor, line: UUID, database: Database) -> None:
    """Queued for a person whose number became another one before it left: it goes to them, not to the number."""
    hear_from(database, line, LID, "5511912345678", LID)
    outbox.queue(sender, "5511912345678", "Só para você", "key")
    database.execute("update contacts set phone = null")
    (claimed,) = claim()
    assert (claimed.phone, claimed.address, claimed.sending) == ("5511912345678", LID, True)


@pytest.mark.parametrize(
    "handed_in",
    ["5511987650024", "5511987650024@c.us", "551187650024@c.us", "5511987650024:12@s.whatsapp.net", "(11) 98765-0024"],
)
def test_every_form_of_an_address_is_the_same_row(
    sender: Actor, line: UUID, database: Database, handed_in: str
) -> None:
    outbox.queue(sender, "+55 11 98765-0024", "Olá!", "key")
    outbox.queue(sender, handed_in, "Olá!", "key")
    assert database.execute("select phone from messages") == [("5511987650024",)]
