"""Campaigns: everybody once, at the pace and within the hours and caps, held and ended at once, whoever dies."""

import csv
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import openpyxl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from services.contacts import opt_outs
from services.db.actor import Actor, Role
from services.errors import Conflict, EmptyList, InvalidInput, NotFound, OutsideLimits
from services.messaging.content import Kind
from services.outreach import (
    campaign_forecast,
    campaign_progress,
    campaign_release,
    campaign_state,
    campaigns,
    template_content,
    templates,
)
from services.outreach.campaign_rules import Pacing
from services.outreach.campaign_state import Campaign, CampaignState, RecipientState
from services.outreach.pacing import WaitReason
from services.outreach.recipients import Problem, Recipient
from services.outreach.template_content import Template
from services.platform import csv_export, documents, local_time, media_store
from tests.conftest import Database, connected, forget_process_state
from tests.support import days

ZONE = "America/Sao_Paulo"
PACING = Pacing(time(8), time(20), cap=500, cold_share=1, pace=8)
# A Wednesday, ten o'clock in São Paulo.
DAY = days.future_weekday(2)
TEN = local_time.to_utc(datetime.combine(DAY, time(10)), ZONE)


@pytest.fixture(autouse=True)
def lenient(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installation admits that leaves the tests their own rules."""
    monkeypatch.setenv("CAMPAIGN_WARMUP_DAYS", "0")
    monkeypatch.setenv("CAMPAIGN_COLD_SHARE", "1")
    forget_process_state()


@pytest.fixture
def sender(user: Actor, database: Database) -> Actor:
    connected(database, user)
    return user


@pytest.fixture
def offer(sender: Actor) -> Template:
    return templates.save(sender, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))


def people(count: int, first: int = 0) -> list[Recipient]:
    return [
        Recipient(n, "", str(5511980000000 + n), f"Pessoa {n}", {"nome": f"Pessoa {n}"})
        for n in range(first + 1, first + count + 1)
    ]


def begin(actor: Actor, template: Template, to: Sequence[Recipient], pacing: Pacing = PACING) -> Campaign:
    made = campaigns.create(actor, "Novidades", template, to, pacing)
    return campaigns.confirm(actor, made.id, ZONE)


class Clock:
    """A worker whose time is the test's own; whatever it releases leaves at once."""

    def __init__(self, database: Database, now: datetime = TEN) -> None:
        self.database = database
        self.now = now
        self.start()

    def start(self) -> None:
        """What a person has just done has the real clock's time: it is looked at now."""
        self.database.execute(
            "update campaign_lanes set next_check_at = %s, available_at = least(available_at, %s)", self.now, self.now
        )

    def look(self) -> None:
        campaign_release.step(self.now)
        self.database.execute("update messages set state = 'sent' where state = 'queued'")

    def run(self, until: datetime) -> None:
        """Jump from look to look."""
        while True:
            self.look()
            due = self.database.execute("select min(next_check_at) from campaign_lanes")[0][0]
            if due is None or due > until:
                return
            self.now = max(due, self.now)


def released(database: Database) -> list[tuple[int, datetime]]:
    rows = database.execute(
        "select seq, released_at from campaign_recipients where released_at is not null order by released_at, seq"
    )
    return [(seq, at) for seq, at in rows]


# --- the way through --------------------------------------------------------------------------------------------------


def test_it_writes_to_everybody_once_and_ends(sender: Actor, offer: Template, database: Database) -> None:
    made = begin(sender, offer, people(3))
    Clock(database).run(TEN + timedelta(minutes=5))
    rows = database.execute("select body, campaign_id, template_version, contact_name from messages order by seq")
    assert rows == [(f"Oi, Pessoa {n}!", made.id, 1, f"Pessoa {n}") for n in (1, 2, 3)]
    assert campaign_state.get_campaign(sender, made.id).state is CampaignState.ENDED
    far = campaign_progress.get_progress(sender, made.id)
    assert (far.total, far.decided, dict(far.places)) == (3, 3, {RecipientState.RELEASED: 3})


def test_it_does_nothing_until_it_is_confirmed(sender: Actor, offer: Template, database: Database) -> None:
    made = campaigns.create(sender, "Novidades", offer, people(3), PACING)
    assert made.state is CampaignState.DRAFT
    campaign_release.step(TEN)
    assert released(database) == []


def test_it_leaves_when_the_forecast_said(sender: Actor, offer: Template, database: Database) -> None:
    """The release and the forecast are one code: second for second, over caps, hours and two days."""
    pacing = Pacing(time(9), time(10, 30), cap=25, cold_share=0.5, pace=60)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, created_at)"
        " select s.id, s.user_id, 'in', 'received', (5511980000000 + n)::text, now()"
        " from whatsapp_sessions s, generate_series(20, 40) n"
    )
    made = begin(sender, offer, people(40), pacing)
    clock = Clock(database)
    expected = campaign_forecast.forecast_campaign(sender, made.id, ZONE, now=TEN)
    clock.run(TEN + timedelta(days=20))
    found = released(database)
    assert len(found) == 40
    assert (found[0][1], found[-1][1]) == (expected.starts_at, expected.ends_at)
    days = [local_time.to_local(at, ZONE).date() for _seq, at in found]
    assert {day: days.count(day) for day in days} == expected.days
    assert len(expected.days) > 1


def test_it_foretells_with_rules_that_are_only_tried(sender: Actor, offer: Template) -> None:
    made = campaigns.create(sender, "Novidades", offer, people(30), PACING)
    tried = campaign_forecast.forecast_campaign(sender, made.id, ZONE, replace(PACING, cap=20), TEN)
    assert (tried.total, tried.over_today) == (30, 10)
    assert campaign_forecast.forecast_campaign(sender, made.id, ZONE, now=TEN).over_today == 0


def test_it_keeps_the_cap_over_all_campaigns_of_a_session(sender: Actor, offer: Template, database: Database) -> None:
    pacing = replace(PACING, cap=5)
    begin(sender, offer, people(4), pacing)
    begin(sender, offer, people(4, first=4), pacing)
    clock = Clock(database)
    clock.run(TEN + timedelta(hours=10))
    assert len(released(database)) == 5
    found = campaign_forecast.get_pacing_status(sender)
    assert found is not None
    assert (found.why, found.next_check_at) == (WaitReason.CAP, local_time.day_start(DAY + timedelta(days=1), ZONE))
    clock.run(TEN + timedelta(days=1))
    assert len(released(database)) == 8


def test_a_young_number_begins_with_few(
    sender: Actor, offer: Template, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMPAIGN_WARMUP_DAYS", "10")
    monkeypatch.setenv("CAMPAIGN_WARMUP_FIRST", "3")
    forget_process_state()
    database.execute("update whatsapp_sessions set connected_at = %s", TEN - timedelta(hours=1))
    begin(sender, offer, people(10))
    Clock(database).run(TEN + timedelta(hours=9))
    assert len(released(database)) == 3


def test_another_number_is_young_again(
    sender: Actor, offer: Template, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMPAIGN_WARMUP_DAYS", "10")
    monkeypatch.setenv("CAMPAIGN_WARMUP_FIRST", "3")
    forget_process_state()
    database.execute("update whatsapp_sessions set connected_at = %s", TEN - timedelta(days=30))
    begin(sender, offer, people(10))
    clock = Clock(database)
    clock.run(TEN + timedelta(seconds=30))
    assert len(released(database)) >= 3
    before = len(released(database))
    database.execute("update whatsapp_sessions set phone_number = '5511888880000', connected_at = %s", TEN)
    clock.run(TEN + timedelta(hours=9))
    assert len(released(database)) == max(before, 3)
    assert database.one("select phone_number from campaign_lanes") == "5511888880000"


# --- who gets nothing -------------------------------------------------------------------------------------------------


def test_it_skips_who_asked_for_silence_at_the_last_moment(sender: Actor, offer: Template, database: Database) -> None:
    made = begin(sender, offer, people(3))
    opt_outs.add(sender, "+55 11 8000-0002")  # as WhatsApp may write it: without the ninth digit
    Clock(database).run(TEN + timedelta(minutes=5))
    assert [seq for seq, _at in released(database)] == [1, 3]
    skipped = campaign_progress.list_results(sender, made.id, show="left_out")
    assert [(one.seq, one.reason) for one in skipped] == [(2, "opted_out")]


def test_it_skips_who_is_blocked_and_what_cannot_be_written(sender: Actor, database: Database) -> None:
    template = templates.save(
        sender, template_content.TemplateDraft("L", "{{nome}}: {{hora}}", defaults={"hora": None})
    )
    to = [replace(one, values={**one.values, "hora": "14 h"}) for one in people(2)] + people(1, first=2)
    made = begin(sender, template, to)
    database.execute(
        "insert into contacts (session_id, user_id, address, phone, blocked_at)"
        " select id, user_id, 'x@c.us', '5511980000001', now() from whatsapp_sessions"
    )
    Clock(database).run(TEN + timedelta(minutes=5))
    assert [(one.seq, one.reason) for one in campaign_progress.list_results(sender, made.id)] == [
        (1, "blocked"),
        (2, None),
        (3, "content"),
    ]
    assert campaign_state.get_campaign(sender, made.id).state is CampaignState.ENDED


def test_it_enrols_only_who_can_be_sent_to_each_line_once(sender: Actor, offer: Template) -> None:
    to = [
        *people(2),
        replace(people(1)[0], phone="551180000001"),
        Recipient(9, "123", None, problem=Problem.INVALID),
        replace(people(1, first=7)[0], problem=Problem.UNCHECKED),
        replace(people(1, first=8)[0], problem=Problem.OPTED_OUT),
    ]
    made = campaigns.create(sender, "Novidades", offer, to, PACING)
    found = campaign_progress.list_results(sender, made.id)
    assert [one.phone for one in found] == ["5511980000001", "5511980000002", "5511980000008"]


# --- held, ended, stopped ---------------------------------------------------------------------------------------------


def test_it_is_held_and_goes_on(sender: Actor, offer: Template, database: Database) -> None:
    made = begin(sender, offer, people(5))
    clock = Clock(database)
    clock.look()
    campaigns.set_paused(sender, made.id, on=True)
    clock.start()
    clock.run(TEN + timedelta(hours=1))
    assert len(released(database)) == 1
    campaigns.set_paused(sender, made.id, on=False)
    clock.start()
    clock.run(TEN + timedelta(hours=1))
    assert len(released(database)) == 5


def test_it_takes_back_what_is_queued_when_it_is_cancelled(sender: Actor, offer: Template, database: Database) -> None:
    made = begin(sender, offer, people(5))
    Clock(database)
    campaign_release.step(TEN)
    campaign_release.step(TEN + timedelta(minutes=1))
    database.execute("update messages set state = 'sending' where phone = '5511980000001'")
    assert campaigns.cancel(sender, made.id).state is CampaignState.CANCELLED
    campaign_release.step(TEN + timedelta(minutes=2))
    assert database.execute("select phone, state from messages order by seq") == [
        ("5511980000001", "sending"),
        ("5511980000002", "cancelled"),
    ]
    far = campaign_progress.get_progress(sender, made.id)
    assert dict(far.places) == {RecipientState.RELEASED: 1, RecipientState.CANCELLED: 4}
    assert (far.total, far.decided) == (5, 1)


def test_a_double_click_makes_one(sender: Actor, offer: Template) -> None:
    made = [campaigns.create(sender, "Novidades", offer, people(2), PACING, UUID(int=7)) for _ in range(2)]
    assert made[0] == made[1]
    assert campaign_progress.get_progress(sender, made[0].id).total == 2


def test_it_takes_no_step_twice(sender: Actor, offer: Template) -> None:
    made = begin(sender, offer, people(2))
    with pytest.raises(Conflict):
        campaigns.confirm(sender, made.id, ZONE)
    with pytest.raises(Conflict):
        campaigns.set_paused(sender, made.id, on=False)
    campaigns.cancel(sender, made.id)
    with pytest.raises(Conflict):
        campaigns.cancel(sender, made.id)
    with pytest.raises(Conflict):
        campaigns.set_paused(sender, made.id, on=True)
    with pytest.raises(Conflict):
        campaigns.set_pacing(sender, made.id, PACING)


@pytest.mark.parametrize(
    ("change", "back", "why"),
    [
        (
            "update whatsapp_sessions set status = 'desconectado'",
            "update whatsapp_sessions set status = 'conectado'",
            WaitReason.DISCONNECTED,
        ),
        ("update lanes set stopped_at = now()", "update lanes set stopped_at = null", WaitReason.STOPPED),
    ],
)
def test_it_waits_while_nothing_can_leave(
    sender: Actor, offer: Template, database: Database, change: str, back: str, why: WaitReason
) -> None:
    begin(sender, offer, people(2))
    database.execute(change)
    clock = Clock(database)
    clock.run(TEN + timedelta(minutes=1))
    assert released(database) == []
    found = campaign_forecast.get_pacing_status(sender)
    assert found is not None
    assert found.why is why
    database.execute(back)
    clock.run(TEN + timedelta(minutes=2))
    assert len(released(database)) == 2


def test_it_releases_no_more_while_what_it_released_has_not_left(
    sender: Actor, offer: Template, database: Database
) -> None:
    begin(sender, offer, people(5))
    Clock(database)
    for minute in range(5):
        campaign_release.step(TEN + timedelta(minutes=minute))
    assert len(released(database)) == campaign_release.MAX_BACKLOG


# --- never twice ------------------------------------------------------------------------------------------------------


def test_it_writes_to_nobody_twice_with_many_workers(sender: Actor, offer: Template, database: Database) -> None:
    begin(sender, offer, people(20))
    clock = Clock(database)
    with ThreadPoolExecutor(6) as workers:
        for minute in range(25):
            now = TEN + timedelta(minutes=minute)
            list(workers.map(lambda _, now=now: campaign_release.step(now), range(6)))
            database.execute("update messages set state = 'sent'")
            database.execute(
                "update campaign_lanes set next_check_at = least(next_check_at, %s)", now + timedelta(minutes=1)
            )
    assert clock.now == TEN
    assert sorted(seq for seq, _at in released(database)) == list(range(1, 21))
    assert database.one("select count(*) from messages") == 20


def test_a_worker_that_died_holds_nobody_up(
    sender: Actor, offer: Template, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(sender, offer, people(1))
    Clock(database)
    with monkeypatch.context() as patch:
        patch.setattr(campaign_release, "_release_next", lambda *_: None)
        assert campaign_release.step(TEN) == 1
    assert campaign_release.step(TEN + timedelta(seconds=4)) == 0
    assert campaign_release.step(TEN + timedelta(seconds=5)) == 1
    assert len(released(database)) == 1


OF_ONE_DATABASE = examples(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("jump"), st.integers(-90, 60 * 14)),
        st.tuples(st.just("pause"), st.integers(0, 1)),
        st.tuples(st.just("resume"), st.integers(0, 1)),
        st.tuples(st.just("opt_out"), st.integers(1, 16)),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("run"), st.integers(1, 600)),
    ),
    min_size=1,
    max_size=14,
)


@OF_ONE_DATABASE
@given(acts=ACTS, cap=st.integers(1, 6), pace=st.sampled_from([8.0, 600.0]), share=st.sampled_from([0.5, 1.0]))
def test_whatever_happens_it_breaks_no_rule(
    new_actor: Callable[..., Actor],
    database: Database,
    acts: list[tuple[str, int]],
    cap: int,
    pace: float,
    share: float,
) -> None:
    """Pauses, clocks that jump, dying workers, opt-outs: never over the cap of a day, outside the hours, or twice."""
    database.execute("delete from campaign_lanes")
    sender = new_actor(Role.USER)
    connected(database, sender)
    template = templates.save(sender, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    pacing = Pacing(time(9), time(18), cap=cap, cold_share=share, pace=pace)
    both = [begin(sender, template, people(8), pacing), begin(sender, template, people(8, first=8), pacing)]
    silent: dict[str, datetime] = {}
    clock = Clock(database)
    for what, number in acts:
        if what == "jump":
            clock.now += timedelta(minutes=number)
        elif what in ("pause", "resume"):
            try:
                campaigns.set_paused(sender, both[number].id, on=what == "pause")
            except Conflict:
                continue
            clock.start()
        elif what == "opt_out":
            opt_outs.add(sender, f"+{5511980000000 + number}")
            silent.setdefault(str(5511980000000 + number), datetime.now(UTC))
        elif what == "die":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(campaign_release, "_release_next", lambda *_: None)
                campaign_release.step(clock.now)
        else:
            clock.run(clock.now + timedelta(minutes=number))
    rows = database.execute(
        "select r.released_at, r.phone, m.created_at from campaign_recipients r join messages m on m.id = r.message_id"
        " where r.user_id = %s",
        sender.user_id,
    )
    walls = [local_time.to_local(at, ZONE) for at, _phone, _made in rows]
    days = [wall.date() for wall in walls]
    assert all(time(9) <= wall.time() < time(18) for wall in walls)
    assert all(days.count(day) <= cap for day in days)
    assert all(phone not in silent or made <= silent[phone] for _at, phone, made in rows)
    sent = database.execute("select phone from messages where user_id = %s", sender.user_id)
    assert len(sent) == len(set(sent)) == len(rows)


# --- whose and how many -----------------------------------------------------------------------------------------------


def test_it_is_its_owners_only(sender: Actor, offer: Template, new_actor: Callable[..., Actor]) -> None:
    made, other = begin(sender, offer, people(1)), new_actor()
    for call in (
        lambda: campaign_state.get_campaign(other, made.id),
        lambda: campaigns.set_paused(other, made.id, on=True),
        lambda: campaigns.cancel(other, made.id),
        lambda: campaign_forecast.forecast_campaign(other, made.id, ZONE),
        lambda: campaign_progress.export_results(other, made.id, ZONE),
    ):
        with pytest.raises(NotFound):
            call()
    assert campaign_progress.list_results(other, made.id) == []
    assert campaigns.list_campaigns(other) == []


def test_it_copies_the_file_of_a_shared_template(sender: Actor, staff: Actor, database: Database) -> None:
    kept = media_store.save(staff, b"\xff\xd8\xff", "image/jpeg")
    shared = templates.save(staff, template_content.TemplateDraft("Foto", "", Kind.IMAGE, kept, "foto.jpg"))
    templates.set_shared(staff, shared.id)
    begin(sender, templates.get_template(sender, shared.id), people(1))
    Clock(database).run(TEN)
    assert database.execute("select kind, media_sha256 from messages") == [("image", kept.sha256)]
    assert media_store.read(sender, kept.sha256) == b"\xff\xd8\xff"


@pytest.mark.parametrize(
    "change",
    [
        {"cap": 501},
        {"cap": 0},
        {"pace": 7.9},
        {"opens": time(7, 59)},
        {"closes": time(20, 1)},
        {"closes": time.min},
        {"opens": time(12), "closes": time(12)},
        {"cold_share": 1.1},
    ],
)
def test_it_is_no_looser_than_the_installation(sender: Actor, offer: Template, change: dict[str, object]) -> None:
    with pytest.raises(OutsideLimits):
        campaigns.create(sender, "x", offer, people(1), replace(PACING, **change))  # type: ignore[arg-type]
    made = campaigns.create(sender, "x", offer, people(1), PACING)
    with pytest.raises(OutsideLimits):
        campaigns.set_pacing(sender, made.id, replace(PACING, **change))  # type: ignore[arg-type]


def test_it_refuses_an_empty_list_and_a_name_that_is_none(sender: Actor, offer: Template) -> None:
    with pytest.raises(EmptyList):
        campaigns.create(sender, "Novidades", offer, [Recipient(1, "x", None, problem=Problem.INVALID)])
    with pytest.raises(InvalidInput):
        campaigns.create(sender, "  ", offer, people(1))
    assert campaigns.list_campaigns(sender) == []


def test_it_is_quick_with_ten_thousand(sender: Actor, offer: Template, database: Database) -> None:
    began = datetime.now(UTC)
    made = campaigns.create(sender, "Novidades", offer, people(10_000), PACING)
    campaigns.confirm(sender, made.id, ZONE)
    assert campaign_progress.get_progress(sender, made.id).total == 10_000
    page = campaign_progress.list_results(sender, made.id, after=9_900)
    assert [page[0].seq, page[-1].seq] == [9_901, 9_950]
    assert len(campaign_progress.export_results(sender, made.id, ZONE).rows) == 10_000
    assert datetime.now(UTC) - began < timedelta(seconds=20), "seconds, on a busy machine"
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone)"
        " select id, user_id, 'out', 'queued', '5511900000000' from whatsapp_sessions, generate_series(1, 5000);"
        " analyze campaign_recipients, messages"
    )
    for query, index in (
        (
            f"select min(seq) from campaign_recipients where campaign_id = '{made.id}' and state = 'waiting' and cold",
            "campaign_recipients_waiting",
        ),
        (
            f"select state, count(*) from campaign_recipients where campaign_id = '{made.id}'"
            " and state = 'released' group by 1",
            "campaign_recipients_by_state",
        ),
        (
            f"select count(*) from campaign_recipients where user_id = '{sender.user_id}'"
            " and released_at >= now() - interval '1 day' and released_at < now()",
            "campaign_recipients_released",
        ),
        (
            f"select * from campaign_recipients where campaign_id = '{made.id}' and seq > 9000 order by seq limit 50",
            "campaign_recipients_pkey",
        ),
        (
            f"select id from messages where campaign_id = '{made.id}' and state = 'queued' limit 2",
            "messages_of_campaign",
        ),
    ):
        assert index in str(database.execute(f"explain {query}")), query


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_its_file_has_no_formula_in_it(sender: Actor, database: Database, form: str) -> None:
    template = templates.save(sender, template_content.TemplateDraft("Oferta", "Oi!"))
    names = ['=HYPERLINK("http://x")', "+1+1", "@SUM(A1)", "-2", "Ana; =1+1", "José"]
    to = [replace(one, name=name) for one, name in zip(people(6), names, strict=True)]
    made = begin(sender, template, to)
    Clock(database).run(TEN)
    made_of = campaign_progress.export_results(sender, made.id, ZONE)
    if form == "csv":
        rows = list(csv.reader(io.StringIO(csv_export.csv_file(made_of).decode("utf-8-sig")), delimiter=";"))
    else:
        sheet = openpyxl.load_workbook(io.BytesIO(documents.xlsx_file([made_of]))).active
        assert sheet is not None
        assert {cell.data_type for row in sheet.iter_rows(min_col=2) for cell in row if cell.value is not None} == {"s"}
        rows = [[str(cell or "") for cell in row] for row in sheet.iter_rows(values_only=True)]
    assert rows[0][:4] == ["Nº", "Telefone", "Nome", "Situação"]
    assert [row[2] for row in rows[1:]] == [
        '\'=HYPERLINK("http://x")', "'+1+1", "'@SUM(A1)", "'-2", "Ana;' =1+1", "José"
    ]  # fmt: skip
    assert [row[3] for row in rows[1:3]] == ["Enviada", "Aguardando"]
    assert rows[1][5] == f"{DAY:%d/%m/%Y} 10:00:00"


def test_it_lists_what_is_asked_for(sender: Actor, offer: Template, database: Database) -> None:
    made = begin(sender, offer, people(4))
    clock = Clock(database)
    clock.run(TEN + timedelta(seconds=30))
    database.execute("update messages set state = 'failed', failure = 'not_on_whatsapp' where phone like '%1'")
    found = {
        show: [one.seq for one in campaign_progress.list_results(sender, made.id, show=show)]
        for show in ("waiting", "under_way", "arrived", "wrong", "left_out")
    }
    assert found["wrong"] == [1]
    assert len(found["waiting"]) + len(found["arrived"]) == 3
    assert found["under_way"] == found["left_out"] == []
    wrong = campaign_progress.list_results(sender, made.id, show="wrong")[0]
    assert (campaign_progress.result_label(wrong), campaign_progress.result_detail(wrong)[:5]) == ("Falhou", "Esse ")


def test_it_counts_who_wrote_lately_as_acquaintances(sender: Actor, offer: Template, database: Database) -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, created_at)"
        " select s.id, s.user_id, 'in', 'received', v.phone, now() - v.ago from whatsapp_sessions s,"
        " (values ('551180000001', interval '1 day'), ('5511980000002', interval '400 days')) v (phone, ago)"
    )
    group = replace(people(1, first=3)[0], phone="120363000000000000@g.us")
    campaigns.create(sender, "Novidades", offer, [*people(3), group], PACING)
    cold = database.execute("select cold from campaign_recipients order by seq")
    assert [one for (one,) in cold] == [False, True, True, False]


def test_it_pauses_between_two_locks_without_a_deadlock(sender: Actor, offer: Template, database: Database) -> None:
    made = begin(sender, offer, people(40))
    Clock(database)

    def toggle(number: int) -> UUID:
        now = TEN + timedelta(minutes=number)
        database.execute("update messages set state = 'sent' where state = 'queued'")
        campaign_release.step(now)
        if number % 3 == 0:
            try:
                campaigns.set_paused(sender, made.id, on=number % 2 == 0)
            except Conflict:
                return made.id
            database.execute("update campaign_lanes set next_check_at = %s", now)
        return made.id

    with ThreadPoolExecutor(4) as both:
        assert set(both.map(toggle, range(40))) == {made.id}
    seqs = [seq for seq, _at in released(database)]
    assert len(seqs) == len(set(seqs))
