"""How each fault that a session can have is brought about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from sandbox.state import Config
from services.db.actor import Actor, Role, person
from services.diagnostics import facts, session_checks
from services.diagnostics.check_report import Report
from services.fleet import commands, session, webhook_secrets
from services.messaging import outbox, reconciliation
from services.messaging.state import Message, State
from services.wppconnect.errors import WppError, WppOutcomeUnknown
from tests.support.databases import Database
from tests.support.processes import SERVER_TOKEN, Processes
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import wrote_to
from tests.support.waiting import wait_for

# Fast, but for acks: those come after the reply has been committed.
CONFIG = Config(
    secret=SERVER_TOKEN, clock_scale=0.02, first_qr_lifetime=30.0, auto_close=3000.0, ack_delays=(5.0, 5.0, 5.0),
    stuck_timeout=3000.0, hang=25.0,
)  # fmt: skip


@dataclass(frozen=True)
class FaultySandbox:
    """A sandbox with its receiver and worker, shared by the module; each test brings a person of its own."""

    database: Database
    control: SandboxControl
    processes: Processes


@dataclass(frozen=True)
class FaultySession:
    """One person's session, what goes wrong with it, and what the diagnosis says of it."""

    actor: Actor
    sandbox: FaultySandbox

    @property
    def name(self) -> str:
        return f"user_{self.actor.user_id}"

    def fault(self, name: str, **options: Any) -> None:
        self.sandbox.control.fault(name, self.name, **options)

    def row(self, column: str) -> Any:
        return self.sandbox.database.one(
            f"select {column} from whatsapp_sessions where user_id = %s", self.actor.user_id
        )

    def events(self, kind: str, count: int = 1) -> None:
        """Wait until the worker has handled that many."""
        query = "select count(*) from events where session = %s and kind = %s and verdict <> 'received'"
        wait_for(lambda: self.sandbox.database.one(query, self.name, kind) >= count, what=f"{count} × {kind}")

    def start(self, phone: str | None = None) -> None:
        commands.connect(self.actor, phone=phone)

    def pair(self) -> None:
        self.start()
        wait_for(lambda: (found := self.sandbox.control.session(self.name)) and found["status"] == "QRCODE")
        self.events("qrcode")
        self.sandbox.control.scan(self.name, "5511987654321")
        wait_for(lambda: self.row("status") == "conectado" and self.row("phone_number"))
        self.events("status-find", 3)
        self.settle()

    def settle(self) -> None:
        """Wait until the server says CONNECTED, a moment after it posted inChat, and the worker has seen it."""
        wait_for(lambda: (found := self.sandbox.control.session(self.name)) and found["status"] == "CONNECTED")
        wait_for(lambda: self.row("settling_since is null"), what="settled")

    def send(self, phone: str = "(11) 91234-5678", state: str = "accepted") -> Message:
        if state == "accepted":
            self.fault("ack_after_reply", times=1)
        queued = outbox.queue(self.actor, phone, "um segredo entre nós", uuid4().hex)
        wait_for(lambda: outbox.get_message(self.actor, queued.id).state not in (State.QUEUED, State.SENDING))
        wait_for(lambda: outbox.get_message(self.actor, queued.id).state == state, what=state)
        return outbox.get_message(self.actor, queued.id)

    def receive(self, text: str = "oi", **message: Any) -> None:
        self.sandbox.control.inbound(self.name, "5511933334444", text, **message)

    def age(self, minutes: int = 5) -> None:
        """All of it happened that much earlier."""
        for table, column, key in (
            ("whatsapp_sessions", "pairing_started_at", "user_id"),
            ("whatsapp_sessions", "connected_at", "user_id"),
            ("messages", "accepted_at", "user_id"),
            ("messages", "sending_at", "user_id"),
            ("events", "received_at", "session"),
        ):
            self.sandbox.database.execute(
                f"update {table} set {column} = {column} - make_interval(mins => %s) where {key}::text = %s",
                minutes,
                self.name if key == "session" else str(self.actor.user_id),
            )

    def examine(self, by: Actor | None = None) -> Report:
        looker = by or self.actor
        return session_checks.examine(looker, self.actor.user_id, facts.ask_server(looker, self.actor.user_id))


def new_session(sandbox: FaultySandbox) -> FaultySession:
    """A user of their own, without a session yet."""
    user_id = uuid4()
    sandbox.database.execute(
        "insert into auth.users (id, email, encrypted_password) values (%s, %s, '')",
        user_id,
        f"{user_id.hex[:12]}@example.com",
    )
    return FaultySession(person(user_id, Role.USER), sandbox)


def zombie(faulty: FaultySession) -> None:
    faulty.pair()
    wrote_to(faulty.sandbox.database, faulty.actor.user_id)
    faulty.fault("zombie")


def page_gone(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("zombie", page_gone=True)


def silent(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("silent")
    faulty.send()
    wait_for(lambda: faulty.sandbox.control.sent(faulty.name)[0]["ack"] == 3)
    faulty.age()


def stuck(faulty: FaultySession) -> None:
    faulty.fault("stuck_initializing")
    faulty.start()
    faulty.age(1)


def qr_loop(faulty: FaultySession) -> None:
    faulty.fault("qr_loop", interval=2.0)
    faulty.start()
    faulty.events("qrcode", 5)


def stale_qr(faulty: FaultySession) -> None:
    faulty.fault("stale_qr")
    faulty.start()
    faulty.events("qrcode", 2)
    faulty.sandbox.database.execute(
        "update events set received_at = received_at + interval '1 minute' where id = ("
        " select max(id) from events where session = %s and kind = 'qrcode')",
        faulty.name,
    )


def code_changes(faulty: FaultySession) -> None:
    faulty.fault("code_changes")
    faulty.start("(11) 98765-4321")
    faulty.events("phoneCode", 2)


def close_half_works(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("close_half_works")
    with pytest.raises(WppOutcomeUnknown):
        commands.disconnect(faulty.actor)


def restart_all(faulty: FaultySession) -> None:
    neighbour = new_session(faulty.sandbox)
    # Those of earlier tests are on the same server and restart too. One by one: the worker locks several sessions in
    # the order of their events, and whoever holds one while waiting for another may be the one that a deadlock ends.
    for (other,) in faulty.sandbox.database.execute("select id from whatsapp_sessions"):
        faulty.sandbox.database.execute(
            "update whatsapp_sessions set connected_at = connected_at - interval '5 minutes' where id = %s", other
        )
    for each in (faulty, neighbour):
        each.pair()
        each.age()
    faulty.sandbox.control.fault("restart_all")
    for each in (faulty, neighbour):
        each.events("status-find", 5)
        each.settle()
    wait_for(lambda: session_checks.examine(faulty.actor).names, what="the others' return")


def banned(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("banned", limit=11, window=3000.0)
    for _ in range(12):
        outbox.queue(faulty.actor, "(11) 91234-5678", "promoção", uuid4().hex)
    # Twelve sends one after another, each answered only after its ack.
    wait_for(lambda: faulty.row("failure") == "phone_logged_out", 60.0)


def phone_removed(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.sandbox.control.phone_logout(faulty.name)
    wait_for(lambda: faulty.row("failure") == "phone_logged_out")


def phone_offline(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.sandbox.control.event(
        faulty.name, {"event": "status-find", "status": "phoneNotConnected", "session": faulty.name}
    )
    faulty.events("status-find", 4)


def no_session(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("no_session_in_event")
    faulty.receive()
    faulty.events("onmessage")


def webhook_lost(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("webhook_lost", event="onack")
    faulty.send()
    wait_for(lambda: faulty.sandbox.control.sent(faulty.name)[0]["ack"] == 3)
    faulty.age()
    faulty.receive()
    faulty.events("onmessage")


def no_webhook_at_all(faulty: FaultySession) -> None:
    faulty.fault("webhook_lost")
    faulty.start()

    def asked() -> bool:
        faulty.sandbox.database.execute("update whatsapp_sessions set check_at = now() where check_at is not null")
        return bool(faulty.row("qr_count"))

    wait_for(asked, what="a QR got by asking")
    faulty.age()


def wrong_secret(faulty: FaultySession) -> None:
    faulty.pair()
    url = f"{faulty.sandbox.processes.webhook_url}{webhook_secrets.WEBHOOK_PATH}/{faulty.name}"
    assert httpx.post(url, headers={"x-verify": "errado"}, json={}).status_code == 401
    refused = "select count(*) from security_events where subject = %s"
    wait_for(lambda: faulty.sandbox.database.one(refused, faulty.name))


def duplicate(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("webhook_duplicate", event="onmessage")
    faulty.receive()
    faulty.events("onmessage", 2)


def reused_id(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.receive("um")
    faulty.fault("reused_message_id", times=1)
    faulty.receive("dois")
    faulty.events("onmessage", 2)


def never_sent(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("accepted_but_never_sent")
    faulty.send()
    faulty.age()


def sends_into(fault: str, state: str = "uncertain") -> Callable[[FaultySession], None]:
    def arrange(faulty: FaultySession) -> None:
        faulty.pair()
        faulty.fault(fault)
        faulty.send(state=state)

    arrange.__name__ = fault
    return arrange


def ninth_digit(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("ninth_digit")
    faulty.fault("ack_after_reply", times=1)
    faulty.send("(11) 98877-6655", "read")


def despite_error(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("error_but_delivered", times=1)
    sent = faulty.send(state="uncertain")
    wait_for(lambda: faulty.sandbox.control.sent(faulty.name)[0]["ack"] == 3)
    faulty.sandbox.database.execute("update messages set reconcile_at = now() where id = %s", sent.id)
    wait_for(lambda: reconciliation.reconcile() or outbox.get_message(faulty.actor, sent.id).state is State.READ)
    wait_for(lambda: outbox.get_message(faulty.actor, sent.id).state is State.READ)


def huge(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("huge_media", megabytes=11, times=1)
    faulty.receive()
    faulty.events("onmessage")


def server_down(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.fault("server_down")
    faulty.sandbox.control.fault("server_down")


def server_hangs(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.sandbox.control.fault("server_hangs")


def not_on_whatsapp(faulty: FaultySession) -> None:
    faulty.pair()
    faulty.sandbox.control.number("5511912340000", exists=False)
    faulty.send("(11) 91234-0000", "failed")


def unreachable_at_the_start(faulty: FaultySession) -> None:
    faulty.sandbox.control.fault("server_down")
    with pytest.raises(WppError):
        faulty.start()
    faulty.sandbox.control.fault("server_down", on=False)


def never_connected(faulty: FaultySession) -> None:
    assert session.get(faulty.actor) is None
