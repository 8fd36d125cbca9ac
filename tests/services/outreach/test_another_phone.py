"""Another phone is paired with a real server between: nothing of the first one's leaves before its owner decides."""

from datetime import UTC, datetime, time, timedelta

import pytest

from sandbox.server import SandboxServer
from services.db.actor import Actor
from services.fleet import commands, own_number
from services.fleet.session import Status
from services.messaging import outbox
from services.messaging.content import Content
from services.outreach import (
    campaign_release,
    campaigns,
    number_change,
    schedule_runner,
    schedules,
    template_content,
    templates,
)
from services.outreach.campaign_rules import Pacing
from services.outreach.number_change import Decision, Waiting
from services.outreach.recurrence import ScheduleDraft, ScheduleRecipient
from services.platform import local_time
from tests.support.campaigns import make_recipients
from tests.support.databases import Database
from tests.support.deliveries import deliver_all
from tests.support.local_times import SAO_PAULO
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import apply_report, check_until, name_of, own_session

ANA, OTHER = "5511933334444", "5511987650009"
NOW = datetime.now(UTC)
TOMORROW = NOW + timedelta(days=1)
AROUND_THE_CLOCK = Pacing(time(0), time(0), cap=500, cold_share=1, pace=8)


@pytest.fixture
def busy(sender: Actor, database: Database, monkeypatch: pytest.MonkeyPatch) -> Actor:
    """Somebody with a message for tomorrow, a schedule and a campaign, whose phone goes."""
    for name, value in {
        "CAMPAIGN_OPENS": "00:00", "CAMPAIGN_CLOSES": "00:00", "CAMPAIGN_WARMUP_DAYS": "0", "CAMPAIGN_COLD_SHARE": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    forget_process_state()
    check_until(sender, lambda session: session.phone_number, database)
    outbox.queue(sender, ANA, "amanhã", "tomorrow", run_at=TOMORROW)
    first = (local_time.to_local(NOW, SAO_PAULO) + timedelta(hours=2)).replace(second=0, microsecond=0, tzinfo=None)
    to = (ScheduleRecipient(ANA),)
    schedules.create(sender, ScheduleDraft("Bom dia", SAO_PAULO, first, "FREQ=DAILY", to, Content(body="agendada")))
    offer = templates.save(sender, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    made = campaigns.create(sender, "Novidades", offer, make_recipients(2), AROUND_THE_CLOCK)
    campaigns.confirm(sender, made.id, SAO_PAULO)
    commands.disconnect(sender)
    return sender


def work(database: Database, now: datetime) -> None:
    """Whatever the worker does with what is due until `now`."""
    database.execute("update messages set run_at = clock_timestamp() where run_at <= %s", now)
    database.execute("update lanes set due_at = clock_timestamp(), available_at = '-infinity' where due_at is not null")
    database.execute("update campaign_lanes set next_check_at = %s where next_check_at is not null", now)
    campaign_release.step(now)
    schedule_runner.step(now)
    deliver_all()


def pair_other(actor: Actor, control: SandboxControl, database: Database) -> None:
    """Another phone reads the code; the announcement comes before the server can say whose number it is."""
    commands.connect(actor)
    check_until(actor, lambda session: session.qr, database)
    control.scan(name_of(actor), OTHER)
    apply_report(actor, "inChat")


def test_nothing_of_the_first_phone_leaves_by_the_other(
    busy: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_other(busy, control, database)
    assert own_session(busy).status is Status.CONNECTED
    work(database, NOW + timedelta(hours=2))
    assert control.sent() == [], "its server has not said yet whose number it is"
    check_until(busy, lambda session: session.phone_number == OTHER, database)
    for hours in (2, 25):
        work(database, NOW + timedelta(hours=hours))
    assert control.sent() == []
    change = own_number.get_change(busy)
    assert change is not None
    assert number_change.list_waiting(busy, change) == Waiting(1, ("Novidades",), ("Bom dia",))
    number_change.decide(busy, Decision.DROP)
    for hours in (2, 26, 50):
        work(database, NOW + timedelta(hours=hours))
    assert control.sent() == []
    outbox.queue(busy, ANA, "pelo novo", "new")
    deliver_all()
    assert [one["body"] for one in control.sent()] == ["pelo novo"]


def test_it_goes_on_by_the_other_phone_when_its_owner_says_so(
    busy: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_other(busy, control, database)
    check_until(busy, lambda session: session.phone_number == OTHER, database)
    number_change.decide(busy, Decision.CONTINUE, OTHER)
    work(database, NOW + timedelta(hours=2))
    work(database, TOMORROW)
    assert sorted(one["body"] for one in control.sent()) == ["Oi, Pessoa 1!", "Oi, Pessoa 2!", "agendada", "amanhã"]
