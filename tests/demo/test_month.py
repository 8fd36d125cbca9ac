"""The month that a demo brings: whole, quick, the same each time, and never among real people."""

from datetime import UTC, datetime, timedelta

import pytest

from demo import message_history, month, people, session_history, texts
from demo.month import DemoRefused
from services.accounts import api_keys, provisioning, sign_in, users
from services.db.actor import SYSTEM, Actor, Role
from services.diagnostics import message_trace
from services.fleet import incidents, overview, timeline
from services.inbound import automations, conversations, event_log, outages
from services.integrations import webhook_endpoints
from services.messaging import outbox, uncertain
from services.messaging.state import State
from services.outreach import campaign_state, campaigns, schedule_history, schedules, template_content, templates
from services.reporting import report_model, report_periods, reports
from services.security import audit_chain, audit_search
from tests.support.databases import Database


def test_it_fills_every_kind_of_an_empty_installation(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of it here; all of it takes about a minute, most of which counts the reports' figures."""
    monkeypatch.setattr(message_history, "MESSAGE_COUNT", message_history.MESSAGE_COUNT // 10)
    made = month.fill_installation()
    assert made is not None
    assert made.rows["auth.users"] == people.USER_COUNT
    by_hand = "select count(*) from messages where campaign_id is null and schedule_id is null"
    assert 19_000 < database.one(by_hand) < 21_000
    assert all(made.rows.values()), "a kind has no rows"
    assert dict(database.execute("select direction, count(*) > 5000 from messages group by 1")) == {
        "in": True,
        "out": True,
    }
    states = {state for (state,) in database.execute("select distinct status from whatsapp_sessions")}
    assert states == {"conectado", "pareando", "desconectado"}
    assert database.one("select count(distinct state) from messages") >= 7
    assert database.one("select count(distinct created_at::date) from messages where state <> 'queued'") >= 28
    assert database.one("select count(*) from messages where greatest(created_at, read_at) > now()") == 0
    assert database.one("select count(*) from messages where contact_id is null") == 0
    assert database.one("select count(*) from contacts where unread > 0") > 40
    assert database.one("select count(*) from pg_trigger where tgrelid = 'messages'::regclass and tgenabled = 'D'") == 0
    # What it brings is what the product itself would have written.
    assert audit_chain.verify(SYSTEM).sound
    chief = sign_in.get_account(sign_in.sign_in(people.ADMIN_EMAIL, people.PASSWORD))
    assert chief is not None
    assert chief.actor.role is Role.ADMIN
    assert overview.get_counts(chief.actor).connected > 30
    (busy,) = database.execute("select s.user_id from whatsapp_sessions s join messages m on m.session_id = s.id"
                               " where s.status = 'conectado' and m.direction = 'out' and s.user_id <> %s"
                               " group by 1 order by count(*) desc limit 1", chief.actor.user_id)[0]  # fmt: skip
    sender = sign_in.get_user_account(busy)
    assert sender is not None
    for actor in (chief.actor, sender.actor):
        _has_something_on_each_page(actor)
    _has_something_for_staff(chief.actor)
    # Once is enough.
    assert month.fill_installation() is None


def _month() -> report_periods.Period:
    today = datetime.now(UTC).date()
    return report_periods.Period(today - timedelta(days=29), today, texts.TIME_ZONE)


def _has_something_on_each_page(actor: Actor) -> None:
    """What a person's own pages ask first, each with what it shows best."""
    page = conversations.list_chats(actor)
    assert page.after is not None
    assert all(chat.last is not None for chat in page.chats)
    assert conversations.search_messages(actor, "orçamento")
    assert len(outbox.list_recent(actor)) == 30
    doubtful = uncertain.list_uncertain(actor)
    assert len(doubtful) == 2
    assert message_trace.get_trace(actor, doubtful[0].id).moments
    own = templates.list_templates(actor)
    assert {one.shared for one in own} == {True, False}
    assert max(one.version for one in own) == 2
    assert all(template_content.render(one, {"nome": "Ana"}).body for one in own)
    states = {one.paused_at is None for one in schedules.list_schedules(actor)}
    assert states == {True, False}
    assert {one.state for one in schedule_history.list_runs(actor)} == set(schedules.RunState)
    sent = [found for _campaign, progress in campaigns.list_campaigns(actor) for found in progress.states]
    assert State.READ in sent
    own_report = reports.get_report(actor, _month(), user_id=actor.user_id)
    assert own_report.now.sent > 0
    assert own_report.now.times[report_model.Measure.RESPONSE].count > 0
    assert own_report.templates
    assert own_report.campaigns
    assert own_report.availability.uptime is not None
    (active,) = [one for one in webhook_endpoints.list_endpoints(actor) if one.active]
    assert {one.state for one in webhook_endpoints.list_deliveries(actor, active.id, limit=200)} == {"done", "dead"}
    assert {one.kind for one in automations.list_rules(actor)} == set(automations.RuleKind)
    assert automations.list_uses(actor)
    assert any(one.recovered for one in outages.list_own(actor))
    assert actor.user_id is not None
    entries = timeline.list_entries(actor, actor.user_id, 1).entries
    # As the worker writes them: what a page could not name breaks it.
    assert {incidents.Kind(one.what.partition(".")[2]) for one in entries if one.kind is timeline.Kind.HEALTH
            and not one.what.startswith("step.")} == {incidents.Kind.ZOMBIE}  # fmt: skip


def _has_something_for_staff(admin: Actor) -> None:
    """The same for what staff see of everybody."""
    places = {one.state for one, _progress in campaigns.list_campaigns(admin)}
    assert places == {
        campaign_state.CampaignState.DRAFT,
        campaign_state.CampaignState.ACTIVE,
        campaign_state.CampaignState.ENDED,
        campaign_state.CampaignState.CANCELLED,
    }
    assert api_keys.list_keys(admin)
    assert reports.get_ranking(admin, _month()).total > 40
    assert reports.get_report(admin, _month()).failures
    assert webhook_endpoints.list_endpoints(admin, everybody=True)
    found = [gap for outage in outages.list_outages(admin) for gap in outages.list_session_outages(admin, outage)]
    assert {one.state for one in found} == {outages.OutageState.DONE, outages.OutageState.FAILED}
    assert automations.list_all_uses(admin)
    assert uncertain.count_decisions_waiting(admin)
    assert users.list_users(admin).total == people.USER_COUNT
    assert incidents.list_incidents(admin).incidents
    assert event_log.list_events(admin).events
    assert audit_search.search_actions(admin, audit_search.Filter()).rows


@pytest.mark.slow
def test_it_is_the_same_each_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_history, "MESSAGE_COUNT", 500)
    monkeypatch.setattr(session_history, "EVENT_COUNT", 200)
    month.fill_installation()
    told = "select md5(string_agg(phone || state || body, ' ' order by wpp_id)) from messages where wpp_id is not null"
    first = database.one(told)
    database.execute("alter table audit_log disable trigger user; truncate auth.users, audit_log, events, contacts,"
                     " whatsapp_sessions, session_hours, fleet_samples, cleanup_runs, heartbeats cascade;"
                     " alter table audit_log enable trigger user")  # fmt: skip
    month.fill_installation()
    assert database.one(told) == first


def test_it_never_comes_among_real_people(database: Database) -> None:
    provisioning.create_user("ana@example.com", "uma senha bem longa", Role.USER, database_url=database.url)
    with pytest.raises(DemoRefused, match="real users"):
        month.fill_installation()
    assert database.one("select count(*) from auth.users") == 1
    assert database.one("select count(*) from messages") == 0
