"""Who does not know the sender: whoever never wrote, whatever else came from them."""

from datetime import timedelta

import pytest

from services.db.actor import Actor
from services.outreach import campaigns, strangers
from services.outreach.template_content import Template
from tests.support.campaigns import PACING, make_recipients
from tests.support.databases import Database

pytestmark = pytest.mark.usefixtures("lenient_rules")


@pytest.mark.parametrize(
    ("kind", "cold"),
    [
        ("chat", False), ("image", False), ("ptt", False), ("poll_creation", False), ("a_kind_of_next_year", False),
        ("ciphertext", True), ("revoked", True), ("call", True), ("album", True), ("protocol", True),
        ("e2e_notification", True), ("notification_template", True), ("pinned_message", True),
    ],
)  # fmt: skip
def test_only_who_wrote_is_an_acquaintance(
    campaigner: Actor, offer: Template, database: Database, kind: str, cold: bool
) -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, kind)"
        " select id, user_id, 'in', 'received', '5511980000001', %s from whatsapp_sessions",
        kind,
    )
    campaigns.create(campaigner, "Novidades", offer, make_recipients(1), PACING)
    assert database.one("select cold from campaign_recipients") is cold


def test_it_finds_who_wrote_by_an_index_of_those_only(campaigner: Actor, database: Database) -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, kind)"
        " select id, user_id, 'in', 'received', (5511980000000 + n % 3000)::text,"
        " case when n % 2 = 0 then 'chat' else 'call' end from whatsapp_sessions, generate_series(1, 20000) n;"
        " analyze messages"
    )
    query = (
        f"select from messages m where m.user_id = '{campaigner.user_id}' and m.direction = 'in'"
        " and app.is_written(m.kind) and m.created_at > now() - make_interval(days => 90)"
        " and m.phone in ('5511980000001', '551180000001')"
    )
    assert "messages_written" in str(database.execute(f"explain {query}"))


def test_whoever_writes_by_hand_is_told_who_is_a_stranger(campaigner: Actor, database: Database) -> None:
    phones = ["5511980000001", "5511980000002", "120363000000000000@g.us"]
    assert strangers.find_refused(campaigner, phones) is None
    database.execute(
        "insert into campaign_lanes (user_id, time_zone, restricted_at, probe_at)"
        " values (%s, 'UTC', now(), now() + interval '6 hours')",
        campaigner.user_id,
    )
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone)"
        " select id, user_id, 'in', 'received', '551180000002' from whatsapp_sessions"
    )
    found = strangers.find_refused(campaigner, phones)
    assert found is not None
    assert (found.phones, found.probe_at) == (frozenset(phones[:1]), found.restricted_at + timedelta(hours=6))
    assert strangers.find_refused(campaigner, phones[1:]) is None
