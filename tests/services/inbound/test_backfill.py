"""After an outage: every message that came in meanwhile is there once, and of what is not there it is said why."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import NotFound
from services.inbound import backfill, backfill_round, ingest, outages
from services.inbound.backfill import BackfillUnderWay, build_reader
from services.inbound.outages import OutageReason, SessionOutage
from services.messaging import outbox
from services.wppconnect.events import InboundMessage
from services.wppconnect.shared import get_client
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected, pair_by_asking
from tests.support.waiting import wait_for

ANA, BIA, GROUP = "5511987654321", "5511976543210", "120363012345@g.us"


@pytest.fixture
def paired(user: Actor, server: SandboxServer, control: SandboxControl, database: Database) -> Actor:
    """A user whose session is up at the sandbox; its webhooks go nowhere, so that whatever comes in is missed."""
    pair_by_asking(user, control, database)
    database.execute("update whatsapp_sessions set status = 'conectado'; delete from outages")
    return user


def name(actor: Actor) -> str:
    return f"user_{actor.user_id}"


def note(database: Database, reason: str = "receiver", hours: float = 1) -> None:
    database.execute(
        "select app.record_outage(%s, now() - make_interval(mins => %s), now(), null, null)", reason, int(hours * 60)
    )
    database.execute("update outages set next_at = now() where state = 'waiting'")


def read(database: Database) -> None:
    """Rounds of the worker until nothing is due."""
    reader = build_reader()
    due = "select count(*) from outages where state = 'reading' or (state = 'waiting' and next_at <= clock_timestamp())"
    wait_for(lambda: reader.step() or database.one(due) == 0)
    wait_for(lambda: database.one(due) == 0)
    reader.drain()


def bodies(database: Database) -> list[str]:
    return [body for (body,) in database.execute("select body from messages order by occurred_at, seq")]


def newest(actor: Actor) -> SessionOutage:
    return outages.list_own(actor)[0]


def test_it_brings_back_what_came_in_meanwhile_each_once(
    paired: Actor, control: SandboxControl, database: Database
) -> None:
    control.inbound(name(paired), ANA, "um")
    control.inbound(name(paired), ANA, "dois")
    control.inbound(name(paired), BIA, "três", group=GROUP)
    note(database)
    read(database)
    assert sorted(bodies(database)) == ["dois", "três", "um"]
    gap = newest(paired)
    assert (gap.state, gap.recovered, gap.chats, gap.failed) == ("done", 3, 2, 0)
    assert database.one("select unread from contacts where phone = %s", ANA) == 2
    note(database)
    read(database)
    assert len(bodies(database)) == 3
    assert newest(paired).recovered == 0


def test_it_adds_only_what_is_missing_and_only_of_the_gap(
    paired: Actor, control: SandboxControl, database: Database
) -> None:
    old = int((datetime.now(UTC) - timedelta(hours=5)).timestamp())
    control.inbound(name(paired), ANA, "antes da lacuna", t=old)
    known = control.inbound(name(paired), ANA, "chegou pelo webhook")
    control.inbound(name(paired), ANA, "perdida")
    message = InboundMessage(known["id"], f"{ANA}@c.us", None, f"{ANA}@c.us", "chat", "chegou pelo webhook",
                             timestamp=int(time.time()))  # fmt: skip
    session_id = database.one("select id from whatsapp_sessions")
    with transaction(SYSTEM) as tx:
        assert ingest.ingest_message(tx, session_id, message, datetime.now(UTC))
    note(database)
    read(database)
    assert sorted(bodies(database)) == ["chegou pelo webhook", "perdida"]
    assert newest(paired).recovered == 1


def test_it_reads_page_after_page_back_to_the_gaps_beginning(
    paired: Actor, server: SandboxServer, control: SandboxControl, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_round, "PAGE_SIZE", 3)
    now = int(time.time())
    for number in range(10):
        control.inbound(name(paired), ANA, str(number), t=now - 600 + number)
    server.world.sessions[name(paired)].unread.clear()  # seen on the phone
    note(database)
    read(database)
    assert bodies(database) == [str(number) for number in range(10)]
    monkeypatch.setattr(backfill_round, "MAX_PAGES", 2)
    database.execute("delete from messages")
    note(database)
    read(database)
    assert bodies(database) == [str(number) for number in range(4, 10)]
    gap = newest(paired)
    assert (gap.state, gap.failed) == ("done", 1)
    (lost,) = outages.list_lost_chats(paired, gap.id)
    assert (lost.address, lost.failure) == (f"{ANA}@c.us", "too_deep")


def test_it_takes_up_acknowledgements_that_were_missed_and_never_one_back(
    paired: Actor, control: SandboxControl, database: Database
) -> None:
    url = database.one("select server_url from whatsapp_sessions")
    sent = get_client().send_text(url, name(paired), ANA, "enviada")
    outbox.queue(paired, ANA, "enviada", "k")
    database.execute("update messages set state = 'accepted', wpp_id = %s", sent.id)
    control.ack(name(paired), sent.id, 2)
    wait_for(lambda: get_client().read_chat(url, name(paired), f"{ANA}@c.us", 5).entries[0].ack >= 2)  # type: ignore[union-attr,operator]
    note(database)
    read(database)
    found = get_client().read_chat(url, name(paired), f"{ANA}@c.us", 5).entries[0]
    assert database.one("select ack from messages") == found.ack  # type: ignore[union-attr]
    assert database.one("select state from messages") in ("delivered", "read")
    database.execute("update messages set ack = 4, state = 'read'")
    note(database)
    read(database)
    assert database.one("select ack from messages") == 4
    assert len(bodies(database)) == 1


def test_it_comes_back_later_while_the_server_is_away_and_gives_up_in_the_end(
    paired: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.inbound(name(paired), ANA, "um")
    server.stop()
    note(database)
    read(database)
    gap = newest(paired)
    assert (gap.state, gap.failure) == ("waiting", "wppconnect_inacessivel")
    assert gap.next_at > datetime.now(UTC) + timedelta(seconds=10)
    server.start()
    wait_for(lambda: (session := control.session(name(paired))) and session["status"] == "CONNECTED")
    database.execute("update outages set next_at = now()")
    read(database)
    assert (newest(paired).state, bodies(database)) == ("done", ["um"])
    server.stop()
    note(database)
    database.execute("update outages set attempts = %s where state = 'waiting'", len(backfill_round.RETRY_AFTER))
    read(database)
    assert newest(paired).state == "failed"


def test_it_says_which_chat_could_not_be_read_and_reads_the_others(
    paired: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.inbound(name(paired), ANA, "um")
    note(database)
    database.execute("update outages set listed_at = now(), chats = 2")
    database.execute(
        "insert into outage_chats (outage_id, address, user_id) select id, a, user_id from outages,"
        " unnest(%s::text[]) as x (a)",
        [f"{ANA}@c.us", "5511900000000@c.us"],
    )
    read(database)
    gap = newest(paired)
    assert (gap.state, gap.recovered, gap.failed, bodies(database)) == ("done", 1, 1, ["um"])
    lost = outages.list_lost_chats(paired, gap.id)
    assert [(one.address, one.failure) for one in lost] == [("5511900000000@c.us", "wppconnect_sem_conversa")]


def test_it_takes_no_notice_of_whatsapp_for_a_message(
    paired: Actor, control: SandboxControl, database: Database
) -> None:
    for kind in ("e2e_notification", "gp2", "notification_template", "call_log"):
        control.inbound(name(paired), ANA, type=kind)
    control.inbound(name(paired), BIA, "um", group=GROUP)
    note(database)
    read(database)
    assert bodies(database) == ["um"]
    assert newest(paired).recovered == 1
    assert database.execute("select address, unread from contacts where last_message_at is not null") == [(GROUP, 1)]


def test_it_reads_on_through_pages_of_nothing_but_notices(
    paired: Actor, server: SandboxServer, control: SandboxControl, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_round, "PAGE_SIZE", 3)
    now = int(time.time())
    control.inbound(name(paired), ANA, "antes", group=GROUP, t=now - 600)
    for number in range(7):
        control.inbound(name(paired), ANA, group=GROUP, type="gp2", t=now - 500 + number)
    server.world.sessions[name(paired)].unread.clear()
    note(database)
    read(database)
    assert bodies(database) == ["antes"]


def test_it_finds_a_chat_that_the_phone_has_under_a_lid(
    paired: Actor, control: SandboxControl, database: Database
) -> None:
    session_id = database.one("select id from whatsapp_sessions")
    url = database.one("select server_url from whatsapp_sessions")
    sent = get_client().send_text(url, name(paired), ANA, "enviada")
    control.inbound(name(paired), ANA, "recebida")
    with transaction(SYSTEM) as tx:
        mine = InboundMessage(sent.id, "5511987654000@c.us", f"{ANA}@c.us", f"{ANA}@c.us", "chat", "enviada",
                              timestamp=int(time.time()), from_me=True)  # fmt: skip
        assert ingest.ingest_message(tx, session_id, mine, datetime.now(UTC))
    control.fault("wrong_address")
    contact_id = database.one("select id from contacts")
    backfill.request_chat(paired, contact_id)
    read(database)
    assert (newest(paired).state, bodies(database)) == ("done", ["enviada", "recebida"])
    ((found, lid),) = database.execute("select id, lid from contacts")
    assert (found, lid[-4:]) == (contact_id, "@lid")


def test_it_marks_what_was_deleted_meanwhile(paired: Actor, control: SandboxControl, database: Database) -> None:
    written = control.inbound(name(paired), ANA, "apagada")
    note(database)
    read(database)
    control.inbound(name(paired), ANA, type="revoked", id=written["id"])
    note(database)
    read(database)
    assert bodies(database) == ["apagada"]
    assert database.execute("select wpp_id, kind from message_annotations") == [(written["id"], "revoke")]


def test_it_is_taken_up_where_a_dead_worker_left_it(paired: Actor, control: SandboxControl, database: Database) -> None:
    for number in range(3):
        control.inbound(name(paired), f"551198765432{number}", str(number))
    note(database)
    (dead,) = backfill_round.claim_outages(5)
    backfill_round._list_chats(dead)
    backfill_round._read_chat(dead, backfill_round._chats_to_read(dead)[0])
    assert backfill_round.claim_outages(5) == [], "it is leased"
    database.execute("update outages set next_at = now()")
    (follower,) = backfill_round.claim_outages(5)
    with pytest.raises(backfill_round.ClaimLost):
        backfill_round._read_chat(dead, f"{ANA}@c.us")
    backfill_round.read_outage(follower)
    gap = newest(paired)
    assert (gap.state, gap.recovered, gap.attempts) == ("done", 3, 2)
    assert len(bodies(database)) == 3


def test_it_waits_for_the_session_and_for_the_inbox(paired: Actor, control: SandboxControl, database: Database) -> None:
    control.inbound(name(paired), ANA, "um")
    note(database)
    database.execute(
        "insert into events (session, kind, request_id, body) values (%s, 'onmessage', gen_random_uuid(), '{}')",
        name(paired),
    )
    assert backfill_round.claim_outages(5) == [], "what is only late is not missing"
    database.execute("update events set verdict = 'handled'")
    database.execute("alter table whatsapp_sessions disable trigger record_outage")
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    assert backfill_round.claim_outages(5) == []
    database.execute("update whatsapp_sessions set status = 'conectado'")
    assert len(backfill_round.claim_outages(5)) == 1


def test_it_asks_a_server_for_few_sessions_at_once(new_actor: Callable[..., Actor], database: Database) -> None:
    for _ in range(backfill_round.MAX_PER_SERVER + 2):
        connected(database, new_actor())
    connected(database, new_actor(), "http://127.0.0.1:10")
    note(database)
    assert len(backfill_round.claim_outages(20)) == backfill_round.MAX_PER_SERVER + 1
    assert backfill_round.claim_outages(20) == []


def test_it_reads_one_chat_again_for_whoever_asks(
    paired: Actor, control: SandboxControl, database: Database, new_actor: Callable[..., Actor]
) -> None:
    control.inbound(name(paired), ANA, "um", t=int(time.time()) - 86_400 * 3)
    control.inbound(name(paired), BIA, "outra conversa")
    session_id = database.one("select id from whatsapp_sessions")
    contact_id: UUID = database.one(
        "insert into contacts (session_id, user_id, address, phone) values (%s, %s, %s, %s) returning id",
        session_id, paired.user_id, f"{ANA}@c.us", ANA,
    )  # fmt: skip
    with pytest.raises(NotFound):
        backfill.request_chat(new_actor(), contact_id)
    with pytest.raises(NotFound):
        backfill.request_chat(paired, uuid4())
    backfill.request_chat(paired, contact_id)
    read(database)
    gap = newest(paired)
    assert (gap.reason, gap.state, gap.recovered, bodies(database)) == (OutageReason.ASKED, "done", 1, ["um"])
    for _ in range(backfill.MAX_REQUESTED):
        backfill.request_chat(paired, contact_id)
    with pytest.raises(BackfillUnderWay):
        backfill.request_chat(paired, contact_id)
