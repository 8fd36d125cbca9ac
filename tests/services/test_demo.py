"""The month that a demo brings: whole, quick, the same each time, and never among real people."""

from datetime import UTC, datetime, timedelta

import pytest

from services import (
    audit,
    campaigns,
    chain,
    demo,
    dossier,
    findings,
    fleet,
    forwarding,
    gaps,
    identity,
    keys,
    messages,
    replay,
    reports,
    rules,
    schedules,
    templates,
    threads,
    timeline,
    users,
)
from services.db.actor import SYSTEM, Actor, Role
from services.errors import DemoRefused
from tests.conftest import Database


def test_it_fills_every_kind_of_an_empty_installation(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of it here; all of it takes about a minute, most of which counts the reports' figures."""
    monkeypatch.setattr(demo, "MESSAGES", demo.MESSAGES // 10)
    made = demo.fill()
    assert made is not None
    assert made.rows["auth.users"] == demo.PEOPLE
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
    assert chain.verify(SYSTEM).sound
    chief = identity.account_of(identity.sign_in(demo.ADMIN, demo.PASSWORD))
    assert chief is not None
    assert chief.actor.role is Role.ADMIN
    assert fleet.figures(chief.actor).connected > 30
    (busy,) = database.execute("select s.user_id from whatsapp_sessions s join messages m on m.session_id = s.id"
                               " where s.status = 'conectado' and m.direction = 'out' and s.user_id <> %s"
                               " group by 1 order by count(*) desc limit 1", chief.actor.user_id)[0]  # fmt: skip
    sender = identity.account_for(busy)
    assert sender is not None
    for actor in (chief.actor, sender.actor):
        _has_something_on_each_page(actor)
    _has_something_for_staff(chief.actor)
    # Once is enough.
    assert demo.fill() is None


def _month() -> reports.Period:
    today = datetime.now(UTC).date()
    return reports.Period(today - timedelta(days=29), today, demo.ZONE)


def _has_something_on_each_page(actor: Actor) -> None:
    """What a person's own pages ask first, each with what it shows best."""
    page = threads.chats(actor)
    assert page.after is not None
    assert all(chat.last is not None for chat in page.chats)
    assert threads.search(actor, "orçamento")
    assert len(messages.recent(actor)) == 30
    doubtful = messages.uncertain(actor)
    assert len(doubtful) == 2
    assert dossier.of(actor, doubtful[0].id).moments
    own = templates.mine(actor)
    assert {one.shared for one in own} == {True, False}
    assert max(one.version for one in own) == 2
    assert all(templates.render(one, {"nome": "Ana"}).body for one in own)
    states = {one.paused_at is None for one in schedules.mine(actor)}
    assert states == {True, False}
    assert {one.state for one in schedules.runs(actor)} == set(schedules.RunState)
    sent = [found for _campaign, progress in campaigns.mine(actor) for found in progress.states]
    assert messages.State.READ in sent
    own_report = reports.report(actor, _month(), user_id=actor.user_id)
    assert own_report.now.sent > 0
    assert own_report.now.times[reports.Measure.RESPONSE].count > 0
    assert own_report.templates
    assert own_report.campaigns
    assert own_report.availability.uptime is not None
    (active,) = [one for one in forwarding.listing(actor) if one.active]
    assert {one.state for one in forwarding.deliveries(actor, active.id, limit=200)} == {"done", "dead"}
    assert {one.kind for one in rules.mine(actor)} == set(rules.Kind)
    assert rules.uses(actor)
    assert any(one.recovered for one in gaps.mine(actor))
    assert actor.user_id is not None
    entries = timeline.of(actor, actor.user_id, 1).entries
    # As the worker writes them: what a page could not name breaks it.
    assert {findings.Kind(one.what.partition(".")[2]) for one in entries if one.kind is timeline.Kind.HEALTH
            and not one.what.startswith("step.")} == {findings.Kind.ZOMBIE}  # fmt: skip


def _has_something_for_staff(admin: Actor) -> None:
    """The same for what staff see of everybody."""
    places = {one.state for one, _progress in campaigns.mine(admin)}
    assert places == {campaigns.State.DRAFT, campaigns.State.ACTIVE, campaigns.State.ENDED, campaigns.State.CANCELLED}
    assert keys.mine(admin)
    assert reports.ranking(admin, _month()).total > 40
    assert reports.report(admin, _month()).failures
    assert forwarding.listing(admin, everybody=True)
    found = [gap for outage in gaps.outages(admin) for gap in gaps.of_outage(admin, outage)]
    assert {one.state for one in found} == {gaps.State.DONE, gaps.State.FAILED}
    assert rules.everybodys_uses(admin)
    assert messages.waiting_decisions(admin)
    assert users.rows(admin).total == demo.PEOPLE
    assert findings.listing(admin).findings
    assert replay.page(admin).events
    assert audit.find(admin, audit.Filter()).rows


def test_it_is_the_same_each_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MESSAGES", 500)
    monkeypatch.setattr(demo, "EVENTS", 200)
    demo.fill()
    told = "select md5(string_agg(phone || state || body, ' ' order by wpp_id)) from messages where wpp_id is not null"
    first = database.one(told)
    database.execute("alter table audit_log disable trigger user; truncate auth.users, audit_log, events, contacts,"
                     " whatsapp_sessions, session_hours, fleet_samples, cleanup_runs, heartbeats cascade;"
                     " alter table audit_log enable trigger user")  # fmt: skip
    demo.fill()
    assert database.one(told) == first


def test_it_never_comes_among_real_people(database: Database) -> None:
    identity.create_user("ana@example.com", "uma senha bem longa", Role.USER, database_url=database.url)
    with pytest.raises(DemoRefused, match="real users"):
        demo.fill()
    assert database.one("select count(*) from auth.users") == 1
    assert database.one("select count(*) from messages") == 0
