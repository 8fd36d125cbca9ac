"""Campaigns: everybody once, at the pace and within the hours and caps, held and ended at once, whoever dies."""

import csv
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import openpyxl
import pytest

from services.contacts import opt_outs
from services.db.actor import Actor
from services.errors import Conflict, InvalidInput, NotFound
from services.messaging.content import Kind
from services.outreach import (
    campaign_forecast,
    campaign_progress,
    campaign_release,
    campaign_state,
    campaigns,
    number_change,
    template_content,
    templates,
)
from services.outreach.campaign_rules import OutsideLimits, Pacing
from services.outreach.campaign_state import CampaignState, RecipientState
from services.outreach.errors import EmptyList
from services.outreach.number_change import Decision
from services.outreach.pacing import WaitReason
from services.outreach.recipients import Problem, Recipient
from services.outreach.template_content import Template
from services.platform import csv_export, documents, local_time, media_store
from tests.support.campaigns import DAY, PACING, TEN, CampaignClock, begin_campaign, list_released, make_recipients
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO
from tests.support.process_state import forget_process_state

pytestmark = pytest.mark.usefixtures("lenient_rules")

# --- the way through --------------------------------------------------------------------------------------------------


def test_it_writes_to_everybody_once_and_ends(campaigner: Actor, offer: Template, database: Database) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(3))
    CampaignClock(database).run(TEN + timedelta(minutes=5))
    rows = database.execute("select body, campaign_id, template_version, contact_name from messages order by seq")
    assert rows == [(f"Oi, Pessoa {n}!", made.id, 1, f"Pessoa {n}") for n in (1, 2, 3)]
    assert campaign_state.get_campaign(campaigner, made.id).state is CampaignState.ENDED
    far = campaign_progress.get_progress(campaigner, made.id)
    assert (far.total, far.decided, dict(far.places)) == (3, 3, {RecipientState.RELEASED: 3})


def test_it_does_nothing_until_it_is_confirmed(campaigner: Actor, offer: Template, database: Database) -> None:
    made = campaigns.create(campaigner, "Novidades", offer, make_recipients(3), PACING)
    assert made.state is CampaignState.DRAFT
    campaign_release.step(TEN)
    assert list_released(database) == []


def test_it_leaves_when_the_forecast_said(campaigner: Actor, offer: Template, database: Database) -> None:
    """The release and the forecast are one code: second for second, over caps, hours and two days."""
    pacing = Pacing(time(9), time(10, 30), cap=25, cold_share=0.5, pace=60)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, created_at)"
        " select s.id, s.user_id, 'in', 'received', (5511980000000 + n)::text, now()"
        " from whatsapp_sessions s, generate_series(20, 40) n"
    )
    made = begin_campaign(campaigner, offer, make_recipients(40), pacing)
    clock = CampaignClock(database)
    expected = campaign_forecast.forecast_campaign(campaigner, made.id, SAO_PAULO, now=TEN)
    clock.run(TEN + timedelta(days=20))
    found = list_released(database)
    assert len(found) == 40
    assert (found[0][1], found[-1][1]) == (expected.starts_at, expected.ends_at)
    days = [local_time.to_local(at, SAO_PAULO).date() for _seq, at in found]
    assert {day: days.count(day) for day in days} == expected.days
    assert len(expected.days) > 1


def test_it_foretells_with_rules_that_are_only_tried(campaigner: Actor, offer: Template) -> None:
    made = campaigns.create(campaigner, "Novidades", offer, make_recipients(30), PACING)
    tried = campaign_forecast.forecast_campaign(campaigner, made.id, SAO_PAULO, replace(PACING, cap=20), TEN)
    assert (tried.total, tried.over_today) == (30, 10)
    assert campaign_forecast.forecast_campaign(campaigner, made.id, SAO_PAULO, now=TEN).over_today == 0


def test_it_keeps_the_cap_over_all_campaigns_of_a_session(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    pacing = replace(PACING, cap=5)
    begin_campaign(campaigner, offer, make_recipients(4), pacing)
    begin_campaign(campaigner, offer, make_recipients(4, first=4), pacing)
    clock = CampaignClock(database)
    clock.run(TEN + timedelta(hours=10))
    assert len(list_released(database)) == 5
    found = campaign_forecast.get_pacing_status(campaigner)
    assert found is not None
    assert (found.waiting_reason, found.next_check_at) == (
        WaitReason.CAP,
        local_time.day_start(DAY + timedelta(days=1), SAO_PAULO),
    )
    clock.run(TEN + timedelta(days=1))
    assert len(list_released(database)) == 8


def test_a_young_number_begins_with_few(
    campaigner: Actor, offer: Template, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMPAIGN_WARMUP_DAYS", "10")
    monkeypatch.setenv("CAMPAIGN_WARMUP_FIRST", "3")
    forget_process_state()
    database.execute("update whatsapp_sessions set connected_at = %s", TEN - timedelta(hours=1))
    begin_campaign(campaigner, offer, make_recipients(10))
    CampaignClock(database).run(TEN + timedelta(hours=9))
    assert len(list_released(database)) == 3


def test_another_number_is_young_again(
    campaigner: Actor, offer: Template, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMPAIGN_WARMUP_DAYS", "10")
    monkeypatch.setenv("CAMPAIGN_WARMUP_FIRST", "3")
    forget_process_state()
    database.execute("update whatsapp_sessions set connected_at = %s", TEN - timedelta(days=30))
    begin_campaign(campaigner, offer, make_recipients(10))
    clock = CampaignClock(database)
    clock.run(TEN + timedelta(seconds=30))
    assert len(list_released(database)) >= 3
    before = len(list_released(database))
    database.execute("update whatsapp_sessions set phone_number = '5511888880000', connected_at = %s", TEN)
    number_change.decide(campaigner, Decision.CONTINUE)
    clock.run(TEN + timedelta(hours=9))
    assert len(list_released(database)) == max(before, 3)
    assert database.one("select phone_number from campaign_lanes") == "5511888880000"


# --- who gets nothing -------------------------------------------------------------------------------------------------


def test_it_skips_who_asked_for_silence_at_the_last_moment(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(3))
    opt_outs.add(campaigner, "+55 11 8000-0002")  # as WhatsApp may write it: without the ninth digit
    CampaignClock(database).run(TEN + timedelta(minutes=5))
    assert [seq for seq, _at in list_released(database)] == [1, 3]
    skipped = campaign_progress.list_results(campaigner, made.id, show="left_out")
    assert [(one.seq, one.reason) for one in skipped] == [(2, "opted_out")]


def test_it_skips_who_is_blocked_and_what_cannot_be_written(campaigner: Actor, database: Database) -> None:
    template = templates.save(
        campaigner, template_content.TemplateDraft("L", "{{nome}}: {{hora}}", defaults={"hora": None})
    )
    to = [replace(one, values={**one.values, "hora": "14 h"}) for one in make_recipients(2)] + make_recipients(
        1, first=2
    )
    made = begin_campaign(campaigner, template, to)
    database.execute(
        "insert into contacts (session_id, user_id, address, phone, blocked_at)"
        " select id, user_id, 'x@c.us', '5511980000001', now() from whatsapp_sessions"
    )
    CampaignClock(database).run(TEN + timedelta(minutes=5))
    assert [(one.seq, one.reason) for one in campaign_progress.list_results(campaigner, made.id)] == [
        (1, "blocked"),
        (2, None),
        (3, "content"),
    ]
    assert campaign_state.get_campaign(campaigner, made.id).state is CampaignState.ENDED


def test_it_enrols_only_who_can_be_sent_to_each_line_once(campaigner: Actor, offer: Template) -> None:
    to = [
        *make_recipients(2),
        replace(make_recipients(1)[0], phone="551180000001"),
        Recipient(9, "123", None, problem=Problem.INVALID),
        replace(make_recipients(1, first=7)[0], problem=Problem.UNCHECKED),
        replace(make_recipients(1, first=8)[0], problem=Problem.OPTED_OUT),
    ]
    made = campaigns.create(campaigner, "Novidades", offer, to, PACING)
    found = campaign_progress.list_results(campaigner, made.id)
    assert [one.phone for one in found] == ["5511980000001", "5511980000002", "5511980000008"]


# --- held, ended, stopped ---------------------------------------------------------------------------------------------


def test_it_is_held_and_goes_on(campaigner: Actor, offer: Template, database: Database) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(5))
    clock = CampaignClock(database)
    clock.look()
    campaigns.set_paused(campaigner, made.id, on=True)
    clock.start()
    clock.run(TEN + timedelta(hours=1))
    assert len(list_released(database)) == 1
    campaigns.set_paused(campaigner, made.id, on=False)
    clock.start()
    clock.run(TEN + timedelta(hours=1))
    assert len(list_released(database)) == 5


def test_it_takes_back_what_is_queued_when_it_is_cancelled(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(5))
    CampaignClock(database)
    campaign_release.step(TEN)
    campaign_release.step(TEN + timedelta(minutes=1))
    database.execute("update messages set state = 'sending' where phone = '5511980000001'")
    assert campaigns.cancel(campaigner, made.id).state is CampaignState.CANCELLED
    campaign_release.step(TEN + timedelta(minutes=2))
    assert database.execute("select phone, state from messages order by seq") == [
        ("5511980000001", "sending"),
        ("5511980000002", "cancelled"),
    ]
    far = campaign_progress.get_progress(campaigner, made.id)
    assert dict(far.places) == {RecipientState.RELEASED: 1, RecipientState.CANCELLED: 4}
    assert (far.total, far.decided) == (5, 1)


def test_a_double_click_makes_one(campaigner: Actor, offer: Template) -> None:
    made = [campaigns.create(campaigner, "Novidades", offer, make_recipients(2), PACING, UUID(int=7)) for _ in range(2)]
    assert made[0] == made[1]
    assert campaign_progress.get_progress(campaigner, made[0].id).total == 2


def test_it_takes_no_step_twice(campaigner: Actor, offer: Template) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(2))
    with pytest.raises(Conflict):
        campaigns.confirm(campaigner, made.id, SAO_PAULO)
    with pytest.raises(Conflict):
        campaigns.set_paused(campaigner, made.id, on=False)
    campaigns.cancel(campaigner, made.id)
    with pytest.raises(Conflict):
        campaigns.cancel(campaigner, made.id)
    with pytest.raises(Conflict):
        campaigns.set_paused(campaigner, made.id, on=True)
    with pytest.raises(Conflict):
        campaigns.set_pacing(campaigner, made.id, PACING)


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
    campaigner: Actor, offer: Template, database: Database, change: str, back: str, why: WaitReason
) -> None:
    begin_campaign(campaigner, offer, make_recipients(2))
    database.execute(change)
    clock = CampaignClock(database)
    clock.run(TEN + timedelta(minutes=1))
    assert list_released(database) == []
    found = campaign_forecast.get_pacing_status(campaigner)
    assert found is not None
    assert found.waiting_reason is why
    database.execute(back)
    clock.run(TEN + timedelta(minutes=2))
    assert len(list_released(database)) == 2


def test_it_releases_no_more_while_what_it_released_has_not_left(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    begin_campaign(campaigner, offer, make_recipients(5))
    CampaignClock(database)
    for minute in range(5):
        campaign_release.step(TEN + timedelta(minutes=minute))
    assert len(list_released(database)) == campaign_release.MAX_BACKLOG


# --- whose and how many -----------------------------------------------------------------------------------------------


def test_it_is_its_owners_only(campaigner: Actor, offer: Template, new_actor: Callable[..., Actor]) -> None:
    made, other = begin_campaign(campaigner, offer, make_recipients(1)), new_actor()
    for call in (
        lambda: campaign_state.get_campaign(other, made.id),
        lambda: campaigns.set_paused(other, made.id, on=True),
        lambda: campaigns.cancel(other, made.id),
        lambda: campaign_forecast.forecast_campaign(other, made.id, SAO_PAULO),
        lambda: campaign_progress.export_results(other, made.id, SAO_PAULO),
    ):
        with pytest.raises(NotFound):
            call()
    assert campaign_progress.list_results(other, made.id) == []
    assert campaigns.list_campaigns(other) == []


def test_it_copies_the_file_of_a_shared_template(campaigner: Actor, staff: Actor, database: Database) -> None:
    kept = media_store.save(staff, b"\xff\xd8\xff", "image/jpeg")
    shared = templates.save(staff, template_content.TemplateDraft("Foto", "", Kind.IMAGE, kept, "foto.jpg"))
    templates.set_shared(staff, shared.id)
    begin_campaign(campaigner, templates.get_template(campaigner, shared.id), make_recipients(1))
    CampaignClock(database).run(TEN)
    assert database.execute("select kind, media_sha256 from messages") == [("image", kept.sha256)]
    assert media_store.read(campaigner, kept.sha256) == b"\xff\xd8\xff"


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
def test_it_is_no_looser_than_the_installation(campaigner: Actor, offer: Template, change: dict[str, object]) -> None:
    with pytest.raises(OutsideLimits):
        campaigns.create(campaigner, "x", offer, make_recipients(1), replace(PACING, **change))  # type: ignore[arg-type]
    made = campaigns.create(campaigner, "x", offer, make_recipients(1), PACING)
    with pytest.raises(OutsideLimits):
        campaigns.set_pacing(campaigner, made.id, replace(PACING, **change))  # type: ignore[arg-type]


def test_it_refuses_an_empty_list_and_a_name_that_is_none(campaigner: Actor, offer: Template) -> None:
    with pytest.raises(EmptyList):
        campaigns.create(campaigner, "Novidades", offer, [Recipient(1, "x", None, problem=Problem.INVALID)])
    with pytest.raises(InvalidInput):
        campaigns.create(campaigner, "  ", offer, make_recipients(1))
    assert campaigns.list_campaigns(campaigner) == []


def test_it_is_quick_with_ten_thousand(campaigner: Actor, offer: Template, database: Database) -> None:
    began = datetime.now(UTC)
    made = campaigns.create(campaigner, "Novidades", offer, make_recipients(10_000), PACING)
    campaigns.confirm(campaigner, made.id, SAO_PAULO)
    assert campaign_progress.get_progress(campaigner, made.id).total == 10_000
    page = campaign_progress.list_results(campaigner, made.id, after=9_900)
    assert [page[0].seq, page[-1].seq] == [9_901, 9_950]
    assert len(campaign_progress.export_results(campaigner, made.id, SAO_PAULO).rows) == 10_000
    assert datetime.now(UTC) - began < timedelta(seconds=20), "seconds, on a busy machine"
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone)"
        " select id, user_id, 'out', 'queued', '5511900000000' from whatsapp_sessions, generate_series(1, 5000);"
        " analyze campaign_recipients, messages"
    )
    for query, index in (
        (
            f"select seq from campaign_recipients where campaign_id = '{made.id}' and state = 'waiting' and cold"
            " order by retries, seq limit 1",
            "campaign_recipients_waiting",
        ),
        (
            f"select state, count(*) from campaign_recipients where campaign_id = '{made.id}'"
            " and state = 'released' group by 1",
            "campaign_recipients_by_state",
        ),
        (
            f"select count(*) from campaign_recipients where user_id = '{campaigner.user_id}'"
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
def test_its_file_has_no_formula_in_it(campaigner: Actor, database: Database, form: str) -> None:
    template = templates.save(campaigner, template_content.TemplateDraft("Oferta", "Oi!"))
    names = ['=HYPERLINK("http://x")', "+1+1", "@SUM(A1)", "-2", "Ana; =1+1", "José"]
    to = [replace(one, name=name) for one, name in zip(make_recipients(6), names, strict=True)]
    made = begin_campaign(campaigner, template, to)
    CampaignClock(database).run(TEN)
    made_of = campaign_progress.export_results(campaigner, made.id, SAO_PAULO)
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


def test_it_lists_what_is_asked_for(campaigner: Actor, offer: Template, database: Database) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(4))
    clock = CampaignClock(database)
    clock.run(TEN + timedelta(seconds=30))
    database.execute("update messages set state = 'failed', failure = 'not_on_whatsapp' where phone like '%1'")
    found = {
        show: [one.seq for one in campaign_progress.list_results(campaigner, made.id, show=show)]
        for show in ("waiting", "under_way", "arrived", "wrong", "left_out")
    }
    assert found["wrong"] == [1]
    assert len(found["waiting"]) + len(found["arrived"]) == 3
    assert found["under_way"] == found["left_out"] == []
    wrong = campaign_progress.list_results(campaigner, made.id, show="wrong")[0]
    assert (campaign_progress.result_label(wrong), campaign_progress.result_detail(wrong)[:5]) == ("Falhou", "Esse ")


def test_it_counts_who_wrote_lately_as_acquaintances(campaigner: Actor, offer: Template, database: Database) -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, created_at)"
        " select s.id, s.user_id, 'in', 'received', v.phone, now() - v.ago from whatsapp_sessions s,"
        " (values ('551180000001', interval '1 day'), ('5511980000002', interval '400 days')) v (phone, ago)"
    )
    group = replace(make_recipients(1, first=3)[0], phone="120363000000000000@g.us")
    campaigns.create(campaigner, "Novidades", offer, [*make_recipients(3), group], PACING)
    cold = database.execute("select cold from campaign_recipients order by seq")
    assert [one for (one,) in cold] == [False, True, True, False]


def test_it_pauses_between_two_locks_without_a_deadlock(campaigner: Actor, offer: Template, database: Database) -> None:
    made = begin_campaign(campaigner, offer, make_recipients(40))
    CampaignClock(database)

    def toggle(number: int) -> UUID:
        now = TEN + timedelta(minutes=number)
        database.execute("update messages set state = 'sent' where state = 'queued'")
        campaign_release.step(now)
        if number % 3 == 0:
            try:
                campaigns.set_paused(campaigner, made.id, on=number % 2 == 0)
            except Conflict:
                return made.id
            database.execute("update campaign_lanes set next_check_at = %s", now)
        return made.id

    with ThreadPoolExecutor(4) as both:
        assert set(both.map(toggle, range(40))) == {made.id}
    seqs = [seq for seq, _at in list_released(database)]
    assert len(seqs) == len(set(seqs))
