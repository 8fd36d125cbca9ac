"""Campaigns: one version of a template to many, released one by one into the send lanes as the governor allows.

    rascunho ──confirmed──▶ ativa ⇄ pausada
                              │        └──┬──cancelled──▶ cancelada: what was released but has not left is taken back
                              └──nobody waits any more──▶ terminada

Each recipient is waiting, and then released (its message is queued in the same transaction), skipped with a reason, or
cancelled. The row of the sender's lane is held while one is released, so any number of workers releases one at a time
for each number; the recipient's own key queues its message once, whatever dies when.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID, uuid4

import structlog
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from services import governor, messages, optouts, sessions, settings, templates, wallclock
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import (
    Record,
    campaign_lanes,
    campaign_recipients,
    campaigns,
    contacts,
    lanes,
    session_timeline,
)
from services.db.models import messages as message_rows
from services.db.models import sessions as session_rows
from services.db.models import templates as template_rows
from services.errors import (
    N_,
    Conflict,
    EmptyList,
    Forbidden,
    InvalidInput,
    ListTooLong,
    NotFound,
    OutsideLimits,
    ServiceError,
)
from services.export import Cell, Sheet
from services.governor import Forecast, Go, Queue, Rules, Spent, Wait, Warmup, Why
from services.messages import Content
from services.recipients import Recipient
from services.templates import Template
from services.wppconnect.phone import spellings

log = structlog.get_logger(__name__)

NAME_LIMIT = 80
MAX_RECIPIENTS = 20_000
PAGE_SIZE = 50
EXPORT_BATCH = 1000
# A worker that dies leaves the lane that it had claimed to the next one after this long. One that is only slow
# keeps it: it holds the row's lock.
LEASE = timedelta(seconds=5)
# While a session is down, stopped or behind with its messages, it is asked again this often.
RETRY = timedelta(seconds=2)
# Nothing more is released while this many of a session's campaigns' messages are still queued.
BACKLOG = 2
# How many that must be skipped are looked at in one transaction.
SKIPS = 200


class State(StrEnum):
    """Where a campaign is, as it is stored."""

    DRAFT = "rascunho"
    ACTIVE = "ativa"
    PAUSED = "pausada"
    CANCELLED = "cancelada"
    ENDED = "terminada"


OPEN = (State.ACTIVE, State.PAUSED)


class Place(StrEnum):
    """Where a recipient is."""

    WAITING = "waiting"
    RELEASED = "released"  # its message says what became of it
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


# Why a recipient was skipped → what happened, for people.
SKIPS_SAID: dict[str, str] = {
    "opted_out": N_("Pediu para não receber mais mensagens."),
    "blocked": N_("Está bloqueado nos seus contatos."),
    "content": N_("A mensagem não pôde ser montada com os valores desta linha."),
}

# Which of the recipients are listed.
Show = Literal["waiting", "under_way", "arrived", "wrong", "left_out"]
_SHOWN: dict[str, tuple[messages.State, ...]] = {
    "under_way": (messages.State.QUEUED, messages.State.SENDING, messages.State.ACCEPTED),
    "arrived": (messages.State.SENT, messages.State.DELIVERED, messages.State.READ),
    "wrong": (messages.State.FAILED, messages.State.UNCERTAIN),
}


@dataclass(frozen=True)
class Pacing:
    """What one campaign keeps to; no looser than the installation's own (`limits`). See `governor.Rules`."""

    opens: time
    closes: time
    cap: int
    cold_share: float
    pace: float


@dataclass(frozen=True)
class Campaign:
    """A campaign as its owner sees it. `template` is the template's name now; the version is pinned."""

    id: UUID
    name: str
    state: State
    template_id: UUID
    template_version: int
    template: str | None
    pacing: Pacing
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Progress:
    """How far a campaign is: its recipients by place, and its messages by state."""

    places: Mapping[Place, int]
    states: Mapping[messages.State, int]

    @property
    def total(self) -> int:
        return sum(self.places.values())

    @property
    def decided(self) -> int:
        """How many were written to, or left out for a reason of theirs."""
        return self.total - self.places.get(Place.WAITING, 0) - self.places.get(Place.CANCELLED, 0)

    def count(self, *states: messages.State) -> int:
        """How many of its messages are in one of these states."""
        return sum(self.states.get(one, 0) for one in states)


@dataclass(frozen=True)
class Standing:
    """What a sender's campaigns wait for, and until when."""

    zone: str
    why: Why | None
    look_at: datetime | None


@dataclass(frozen=True)
class Result:
    """What became of one recipient. `state` is its message's, None while there is none."""

    seq: int
    phone: str
    name: str | None = field(repr=False)
    place: Place
    reason: str | None
    state: messages.State | None
    failure: str | None
    waiting: messages.Wait | None
    message_id: UUID | None
    released_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None


def limits() -> Pacing:
    """How far the installation lets a campaign go; also what a new one begins with."""
    configured = settings.get()
    return Pacing(
        opens=configured.campaign_opens,
        closes=configured.campaign_closes,
        cap=configured.campaign_daily_cap,
        cold_share=configured.campaign_cold_share,
        pace=configured.campaign_pace_seconds,
    )


# --- what a person does -----------------------------------------------------------------------------------------------


def create(
    actor: Actor,
    name: str,
    template: Template,
    recipients: Sequence[Recipient],
    pacing: Pacing | None = None,
    key: UUID | None = None,
) -> Campaign:
    """Make a draft with everybody of `recipients` who is sendable, in their order; the same `key` makes one.

    Raises EmptyList where nobody is, ListTooLong, OutsideLimits, InvalidInput for a name of no or over 80 characters,
    and as `templates.own`.
    """
    user_id = _owner(actor)
    chosen = pacing or limits()
    _require_within(chosen)
    name = name.strip()
    if not 0 < len(name) <= NAME_LIMIT or "\x00" in name:
        raise InvalidInput("a campaign's name has 1 to 80 characters")
    to = _unique(recipients)
    # A message carries only what is its sender's.
    templates.own(actor, Content(template.kind, media=template.media))
    with transaction(actor) as tx:
        campaign_id = key or uuid4()
        made = (
            insert(campaigns)
            .values(
                id=campaign_id,
                user_id=user_id,
                name=name,
                template_id=template.id,
                template_version=template.version,
                **_pacing_values(chosen),
            )
            .on_conflict_do_nothing()
            .returning(campaigns.c.id)
        )
        if tx.execute(made).first() is not None:
            tx.execute(_ENROL, _enrolment(user_id, campaign_id, to))
        return _require(tx, user_id, campaign_id)


def mine(
    actor: Actor, limit: int = 100, before: tuple[datetime, UUID] | None = None
) -> list[tuple[Campaign, Progress]]:
    """The actor's campaigns, newest first, each with how far it is; only those after the place `before`."""
    order = (campaigns.c.created_at, campaigns.c.id)
    wanted = _listing().where(campaigns.c.user_id == actor.user_id)
    if before is not None:
        wanted = wanted.where(tuple_(*order) < tuple_(*before))
    with transaction(actor) as tx:
        rows = tx.execute(wanted.order_by(*(column.desc() for column in order)).limit(limit)).all()
        far = _progress(tx, [row.id for row in rows])
    return [(_campaign(row), far[row.id]) for row in rows]


def get(actor: Actor, campaign_id: UUID) -> Campaign:
    """One of the actor's campaigns. Raises NotFound, also where it is somebody else's."""
    with transaction(actor) as tx:
        return _require(tx, _owner(actor), campaign_id)


def progress(actor: Actor, campaign_id: UUID) -> Progress:
    """How far a campaign of the actor's is."""
    with transaction(actor) as tx:
        return _progress(tx, [campaign_id])[campaign_id]


def standing(actor: Actor) -> Standing | None:
    """What the actor's campaigns wait for; None where none was ever confirmed."""
    with transaction(actor) as tx:
        row = tx.execute(select(campaign_lanes).where(campaign_lanes.c.user_id == actor.user_id)).one_or_none()
    return Standing(row.zone, Why(row.why) if row.why else None, row.look_at) if row is not None else None


def expect(
    actor: Actor, campaign_id: UUID, zone: str, pacing: Pacing | None = None, now: datetime | None = None
) -> Forecast:
    """What will become of a campaign beside the actor's other ones, by the governor that releases it.

    `pacing` tries other rules on it. Raises NotFound.
    """
    user_id, moment = _owner(actor), now or datetime.now(UTC)
    with transaction(actor) as tx:
        asked = _require(tx, user_id, campaign_id)
        others = [one for one in _active(tx, user_id) if one.id != campaign_id]
        lane = _lane(tx, user_id)
        young_since = _young_since(tx, user_id, lane)
        place = sorted([*others, asked], key=lambda one: (one.started_at or moment, one.id))
        queues = [
            Queue(
                one.id,
                _rules(pacing if pacing and one.id == campaign_id else one.pacing, zone, young_since),
                _waiting(tx, one.id),
            )
            for one in place
        ]
        today = wallclock.shown(moment, zone).date()
        spent = {today: _spent(tx, user_id, today, zone)}
    free_at = min(lane.free_at, moment + _longest_gap(queues)) if lane is not None else moment
    return governor.forecast(queues, campaign_id, moment, free_at, spent)


def adjust(actor: Actor, campaign_id: UUID, pacing: Pacing) -> Campaign:
    """Change what a campaign keeps to, from its next message on. Raises NotFound, Conflict, OutsideLimits."""
    _require_within(pacing)
    with transaction(actor) as tx:
        _look(tx, _owner(actor))
        _move(tx, actor, campaign_id, (State.DRAFT, *OPEN), **_pacing_values(pacing))
        return _require(tx, _owner(actor), campaign_id)


def confirm(actor: Actor, campaign_id: UUID, zone: str) -> Campaign:
    """Begin a draft. Days and hours are those of `zone`, from now on for all of the actor's campaigns.

    Raises NotFound, and Conflict where it has begun.
    """
    user_id = _owner(actor)
    wallclock.zone(zone)
    with transaction(actor) as tx:
        _move(tx, actor, campaign_id, (State.DRAFT,), state=State.ACTIVE, started_at=func.clock_timestamp())
        young = _young_since(tx, user_id, _lane(tx, user_id))
        number = tx.execute(select(session_rows.c.phone_number).where(session_rows.c.user_id == user_id)).scalar()
        values = {"zone": zone, "look_at": datetime.now(UTC), "phone_number": number, "young_since": young}
        tx.execute(
            insert(campaign_lanes)
            .values(user_id=user_id, **values)
            .on_conflict_do_update(index_elements=["user_id"], set_=values)
        )
        return _require(tx, user_id, campaign_id)


def pause(actor: Actor, campaign_id: UUID, *, on: bool) -> Campaign:
    """Hold a campaign at once, or let it go on. Raises NotFound, and Conflict where it is not under way or held."""
    before, after = (State.ACTIVE, State.PAUSED) if on else (State.PAUSED, State.ACTIVE)
    with transaction(actor) as tx:
        _look(tx, _owner(actor))
        _move(tx, actor, campaign_id, (before,), state=after)
        return _require(tx, _owner(actor), campaign_id)


def cancel(actor: Actor, campaign_id: UUID) -> Campaign:
    """End a campaign: nobody else is written to, and what is queued is taken back if it has not begun to leave.

    Raises NotFound, and Conflict where it has ended.
    """
    with transaction(actor) as tx:
        _move(tx, actor, campaign_id, (State.DRAFT, *OPEN), state=State.CANCELLED, ended_at=func.now())
        return _require(tx, _owner(actor), campaign_id)


def results(
    actor: Actor, campaign_id: UUID, after: int = 0, limit: int = PAGE_SIZE, show: Show | None = None
) -> list[Result]:
    """What became of the recipients behind the `after`th of the list, in its order; only those that `show` names."""
    chosen = _results().where(
        campaign_recipients.c.campaign_id == campaign_id,
        campaign_recipients.c.user_id == actor.user_id,
        campaign_recipients.c.seq > after,
    )
    if show is not None:
        chosen = chosen.where(_shown(show))
    with transaction(actor) as tx:
        rows = tx.execute(chosen.order_by(campaign_recipients.c.seq).limit(limit)).all()
    return [_result(row) for row in rows]


def table(actor: Actor, campaign_id: UUID, zone: str) -> Sheet:
    """What became of everybody, one row each, moments on the clock of `zone`. Raises NotFound."""
    get(actor, campaign_id)
    return Sheet("Resultado", _HEADINGS, list(_rows(actor, campaign_id, zone)))


# --- what the worker does ---------------------------------------------------------------------------------------------


def step(now: datetime | None = None) -> int:
    """Take back what was cancelled and release what may leave; returns how much was looked at."""
    moment = now or datetime.now(UTC)
    swept = _sweep()
    with transaction(SYSTEM) as tx:
        claimed = tx.execute(_CLAIM, {"now": moment, "leased": moment + LEASE}).all()
    for row in claimed:
        _serve(row.user_id, row.look_at, moment)
    return swept + len(claimed)


def next_due_in() -> float | None:
    """Seconds until the worker must look again, None while no campaign is under way."""
    with transaction(SYSTEM) as tx:
        moment = tx.execute(
            select(func.min(campaign_lanes.c.look_at)).where(campaign_lanes.c.look_at.is_not(None))
        ).scalar_one_or_none()
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _sweep() -> int:
    """End cancelled campaigns: who waits is cancelled, and so is what is queued. What has begun to leave is not."""
    with transaction(SYSTEM) as tx:
        found = tx.execute(_UNSWEPT).scalars().all()
        for campaign_id in found:
            tx.execute(_TAKE_BACK, {"campaign": campaign_id})
            tx.execute(_CANCEL_WAITING, {"campaign": campaign_id})
    return len(found)


def _serve(user_id: UUID, leased: datetime, now: datetime) -> None:
    """Release the next message of one sender, or note what it waits for."""
    with transaction(SYSTEM) as tx:
        lane = tx.execute(_held(user_id, leased)).one_or_none()
        if lane is None:
            return  # its owner changed something meanwhile: it will be looked at anew
        under_way = _active(tx, user_id, locked=True)
        if not under_way:
            _rest(tx, user_id, None, None)
            return
        hindrance = _hindrance(tx, lane, [one.id for one in under_way])
        if hindrance is not None:
            _rest(tx, user_id, now + RETRY, hindrance)
            return
        found = _release(tx, lane, under_way, now)
        _rest(tx, user_id, *found)


def _hindrance(tx: Connection, lane: Record, campaign_ids: Sequence[UUID]) -> Why | None:
    """Why nothing can leave now, whatever the governor says."""
    if lane.status != sessions.Status.CONNECTED:
        return Why.DISCONNECTED
    if lane.stopped_at is not None:
        return Why.STOPPED
    queued = select(message_rows.c.id).where(
        message_rows.c.campaign_id.in_(campaign_ids), message_rows.c.state == messages.State.QUEUED
    )
    return Why.BACKLOG if len(tx.execute(queued.limit(BACKLOG)).all()) == BACKLOG else None


def _release(
    tx: Connection, lane: Record, under_way: Sequence[Campaign], now: datetime
) -> tuple[datetime | None, Why | None]:
    """Release one message if one may leave; returns when to look again, and what is waited for until then."""
    young_since = _young_since(tx, lane.user_id, lane)
    if lane.number is not None and lane.number != lane.phone_number:
        known = {"phone_number": lane.number, "young_since": young_since}
        tx.execute(update(campaign_lanes).where(_of(lane.user_id)).values(**known))
    today = wallclock.shown(now, lane.zone).date()
    spent = _spent(tx, lane.user_id, today, lane.zone)
    waits: list[Wait] = []
    for campaign in under_way:
        rules = _rules(campaign.pacing, lane.zone, young_since)
        # A clock that was put back must not make a number rest for longer than its longest gap.
        free_at = min(lane.free_at, now + timedelta(seconds=rules.pace * governor.JITTER[1]))
        for _number in range(SKIPS):
            first = tx.execute(_FIRST, {"campaign": campaign.id}).one()
            if first.warm is None and first.cold is None:
                _end(tx, campaign.id)
                break
            found = governor.verdict(
                rules,
                now,
                free_at,
                spent,
                warm_waiting=first.warm is not None,
                cold_waiting=first.cold is not None,
            )
            if isinstance(found, Wait):
                waits.append(found)
                break
            if _hand_over(tx, lane, campaign, _chosen(first, found), now):
                rested = now + rules.gap(governor.release_key(campaign.id, _chosen(first, found)))
                tx.execute(update(campaign_lanes).where(_of(lane.user_id)).values(free_at=rested))
                _end_if_done(tx, campaign.id)
                return rested, Why.PACE
        else:
            return now, None
    if not waits:
        return None, None
    soonest = min(waits, key=lambda one: one.until)
    return soonest.until, soonest.why


def _chosen(first: Record, found: Go) -> int:
    """Who is next: the first in the list, or the first of those who know the sender."""
    candidates = [one for one in (first.warm, None if found.warm_only else first.cold) if one is not None]
    return int(min(candidates))


def _hand_over(tx: Connection, lane: Record, campaign: Campaign, seq: int, now: datetime) -> bool:
    """Queue one recipient's message; False where they are skipped instead."""
    one = and_(campaign_recipients.c.campaign_id == campaign.id, campaign_recipients.c.seq == seq)
    row = tx.execute(select(campaign_recipients).where(one)).one()
    reason, content = _prepared(tx, lane.user_id, campaign, row)
    if content is None:
        tx.execute(update(campaign_recipients).where(one).values(state=Place.SKIPPED, reason=reason))
        return False
    origin = messages.Origin(campaign.template_id, campaign.template_version, campaign_id=campaign.id)
    key = governor.release_key(campaign.id, seq)
    put = messages.put(tx, lane.user_id, lane.session_id, row.phone, content, key, row.name, origin=origin)
    tx.execute(update(campaign_recipients).where(one).values(state=Place.RELEASED, message_id=put.id, released_at=now))
    log.info("campaign_released", campaign=str(campaign.id), seq=seq, message=str(put.id))
    return True


def _prepared(tx: Connection, user_id: UUID, campaign: Campaign, row: Record) -> tuple[str | None, Content | None]:
    """What a recipient gets, or why nothing: looked at again at the last moment."""
    if optouts.opted_out(tx, user_id, [row.phone]):
        return "opted_out", None
    if tx.execute(_blocked(user_id, row.phone)).first() is not None:
        return "blocked", None
    try:
        template = templates.read(tx, campaign.template_id, campaign.template_version)
        content = templates.render(template, row.variables)
    except ServiceError as error:
        log.warning("campaign_not_rendered", campaign=str(campaign.id), seq=row.seq, error=type(error).__name__)
        return "content", None
    if content.media is not None:
        content = replace(content, media=replace(content.media, user_id=user_id))
    return None, content


def _end_if_done(tx: Connection, campaign_id: UUID) -> None:
    first = tx.execute(_FIRST, {"campaign": campaign_id}).one()
    if first.warm is None and first.cold is None:
        _end(tx, campaign_id)


def _end(tx: Connection, campaign_id: UUID) -> None:
    ended = {"state": State.ENDED, "ended_at": func.now(), "updated_at": func.now()}
    tx.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(**ended))


def _rest(tx: Connection, user_id: UUID, look_at: datetime | None, why: Why | None) -> None:
    """The bell of the page rings only where what is waited for changes."""
    mine = _of(user_id)
    tx.execute(update(campaign_lanes).where(mine).values(look_at=look_at))
    tx.execute(update(campaign_lanes).where(mine, campaign_lanes.c.why.is_distinct_from(why)).values(why=why))


# --- rules ------------------------------------------------------------------------------------------------------------


def _rules(pacing: Pacing, zone: str, young_since: datetime | None) -> Rules:
    configured = settings.get()
    warmup = Warmup(configured.campaign_warmup_days, configured.campaign_warmup_first)
    return Rules(zone, pacing.opens, pacing.closes, pacing.cap, pacing.cold_share, pacing.pace, warmup, young_since)


def _require_within(pacing: Pacing) -> None:
    """A campaign may be more careful than the installation, never less. Raises OutsideLimits."""
    most = limits()
    closes, latest = (_closing(one.closes) for one in (pacing, most))
    late = closes > latest or pacing.opens < most.opens or (closes != 24 * 60 and _closing(pacing.opens) >= closes)
    wrong = late or not 0 < pacing.cap <= most.cap or not 0 <= pacing.cold_share <= most.cold_share
    if wrong or not most.pace <= pacing.pace <= 24 * 3600:
        raise OutsideLimits("a campaign's rules are looser than the installation's, or admit nothing")


def _closing(moment: time) -> int:
    """In minutes; closing at 00:00 is the end of the day."""
    return moment.hour * 60 + moment.minute or 24 * 60


def _longest_gap(queues: Sequence[Queue]) -> timedelta:
    return timedelta(seconds=max(queue.rules.pace for queue in queues) * governor.JITTER[1])


def _young_since(tx: Connection, user_id: UUID, lane: Record | None) -> datetime | None:
    """Since when the number that is connected now has been so; another number begins anew."""
    row = tx.execute(
        select(session_rows.c.id, session_rows.c.phone_number, session_rows.c.connected_at).where(
            session_rows.c.user_id == user_id
        )
    ).one_or_none()
    if row is None:
        return None
    if lane is not None and lane.young_since is not None:
        if row.phone_number is None or row.phone_number == lane.phone_number:
            known: datetime = lane.young_since
            return known
        return row.connected_at or datetime.now(UTC)
    first: datetime | None = tx.execute(
        select(func.min(session_timeline.c.at)).where(
            session_timeline.c.session_id == row.id, session_timeline.c.what == sessions.Status.CONNECTED
        )
    ).scalar_one()
    return first or row.connected_at


def _spent(tx: Connection, user_id: UUID, day: date, zone: str) -> Spent:
    since, until = wallclock.day_start(day, zone), wallclock.day_start(day + timedelta(days=1), zone)
    row = tx.execute(
        select(func.count().label("total"), func.count().filter(campaign_recipients.c.cold).label("cold")).where(
            campaign_recipients.c.user_id == user_id,
            campaign_recipients.c.released_at >= since,
            campaign_recipients.c.released_at < until,
        )
    ).one()
    return Spent(row.total, row.cold)


# --- files ------------------------------------------------------------------------------------------------------------

_HEADINGS = (
    N_("Nº"), N_("Telefone"), N_("Nome"), N_("Situação"), N_("Detalhe"), N_("Liberada"), N_("Enviada"),
    N_("Entregue"), N_("Lida"),
)  # fmt: skip
# What a recipient's place or their message's state is called.
SAID: dict[str, str] = {
    Place.WAITING: N_("Aguardando"),
    Place.SKIPPED: N_("Pulada"),
    Place.CANCELLED: N_("Cancelada"),
    messages.State.QUEUED: N_("Na fila"),
    messages.State.SENDING: N_("Enviando"),
    messages.State.ACCEPTED: N_("No servidor"),
    messages.State.SENT: N_("Enviada"),
    messages.State.DELIVERED: N_("Entregue"),
    messages.State.READ: N_("Lida"),
    messages.State.FAILED: N_("Falhou"),
    messages.State.UNCERTAIN: N_("Incerta"),
}


def situation(result: Result) -> str:
    """What became of a recipient, in a word (in the source language)."""
    if result.place is Place.RELEASED:
        return SAID.get(result.state or "", SAID[Place.CANCELLED])
    return SAID[result.place]


def detail(result: Result) -> str:
    """Why, in a sentence (in the source language); nothing where all is well."""
    if result.reason is not None:
        return SKIPS_SAID.get(result.reason, "")
    if result.waiting is not None:
        return messages.WAITING[result.waiting.reason]
    return messages.FAILURES[result.failure][0] if result.failure in messages.FAILURES else ""


def _rows(actor: Actor, campaign_id: UUID, zone: str) -> Iterator[list[Cell]]:
    after = 0
    while batch := results(actor, campaign_id, after, EXPORT_BATCH):
        for one in batch:
            moments = (one.released_at, one.sent_at, one.delivered_at, one.read_at)
            told = [one.phone, one.name or "", situation(one), detail(one)]
            yield [one.seq, *told, *(_written(at, zone) for at in moments)]
        after = batch[-1].seq


def _written(at: datetime | None, zone: str) -> str:
    return f"{wallclock.shown(at, zone):%d/%m/%Y %H:%M:%S}" if at is not None else ""


# --- statements and rows ----------------------------------------------------------------------------------------------

# Warm is who wrote to the session lately, by either spelling of their line; a group knows whoever is in it.
_ENROL = text("""
insert into public.campaign_recipients (campaign_id, user_id, seq, phone, name, variables, cold)
select :campaign, :user, r.seq, r.phone, r.name, r.variables,
       r.phone not like '%@g.us' and not exists (
         select from public.messages m
          where m.user_id = :user and m.direction = 'in' and m.created_at > now() - make_interval(days => :days)
            and m.phone in (r.phone, r.twin))
  from jsonb_to_recordset(cast(:rows as jsonb)) as r (seq integer, phone text, twin text, name text, variables jsonb)
""")

_CLAIM = text("""
update public.campaign_lanes set look_at = :leased where user_id in (
  select user_id from public.campaign_lanes where look_at <= :now order by look_at limit 20 for update skip locked)
returning user_id, look_at
""")

_FIRST = text("""
select (select min(seq) from public.campaign_recipients
         where campaign_id = :campaign and state = 'waiting' and not cold) as warm,
       (select min(seq) from public.campaign_recipients
         where campaign_id = :campaign and state = 'waiting' and cold) as cold
""")

_UNSWEPT = text("""
update public.campaigns set swept_at = clock_timestamp() where id in (
  select id from public.campaigns where state = 'cancelada' and swept_at is null limit 20 for update skip locked)
returning id
""")

# Compare and swap: what a worker has begun to send by then is not queued any more, and stays as it is.
_TAKE_BACK = text("""
with taken as (
  update public.messages set state = 'cancelled', ended_at = clock_timestamp(), updated_at = now()
   where campaign_id = :campaign and state = 'queued' returning id)
update public.campaign_recipients r set state = 'cancelled' from taken where r.message_id = taken.id
""")

_CANCEL_WAITING = text("""
update public.campaign_recipients set state = 'cancelled' where campaign_id = :campaign and state = 'waiting'
""")


def _owner(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise Forbidden("only a signed-in user has campaigns")
    return actor.user_id


def _unique(recipients: Sequence[Recipient]) -> list[Recipient]:
    """Who can be sent to, each line once."""
    found: dict[str, Recipient] = {}
    for one in recipients:
        if one.sendable and one.phone:
            found.setdefault(min(spellings(one.phone)), one)
    if not found:
        raise EmptyList("nobody to send to")
    if len(found) > MAX_RECIPIENTS:
        raise ListTooLong(f"{len(found)} recipients", limit=MAX_RECIPIENTS)
    return list(found.values())


def _enrolment(user_id: UUID, campaign_id: UUID, to: Sequence[Recipient]) -> dict[str, Any]:
    rows = [
        {
            "seq": seq,
            "phone": one.phone,
            "twin": spellings(one.phone or "")[-1],
            "name": one.name,
            "variables": dict(one.values),
        }
        for seq, one in enumerate(to, 1)
    ]
    days = settings.get().campaign_cold_days
    return {"campaign": campaign_id, "user": user_id, "days": days, "rows": json.dumps(rows)}


def _pacing_values(pacing: Pacing) -> dict[str, Any]:
    return {
        "opens": pacing.opens,
        "closes": pacing.closes,
        "cap": pacing.cap,
        "cold_share": pacing.cold_share,
        "pace": pacing.pace,
    }


def _move(tx: Connection, actor: Actor, campaign_id: UUID, expected: Sequence[State], **values: Any) -> None:
    """Compare and swap of a campaign's state. Raises NotFound, Conflict."""
    mine = and_(campaigns.c.id == campaign_id, campaigns.c.user_id == actor.user_id)
    changed = update(campaigns).where(mine, campaigns.c.state.in_(expected)).values(updated_at=func.now(), **values)
    if not tx.execute(changed).rowcount:
        if tx.execute(select(campaigns.c.id).where(mine)).first() is None:
            raise NotFound(f"campaign {campaign_id}")
        raise Conflict(f"campaign {campaign_id} is in another state")


def _look(tx: Connection, user_id: UUID) -> None:
    """The worker looks at the sender's campaigns now. Called before a campaign is touched: the release locks so too."""
    tx.execute(update(campaign_lanes).where(_of(user_id)).values(look_at=datetime.now(UTC)))


def _of(user_id: UUID) -> ColumnElement[bool]:
    return campaign_lanes.c.user_id == user_id


def _lane(tx: Connection, user_id: UUID) -> Record | None:
    return tx.execute(select(campaign_lanes).where(_of(user_id))).one_or_none()


def _held(user_id: UUID, leased: datetime) -> Select[Any]:
    """A sender's lane, locked, with their session."""
    return (
        select(
            campaign_lanes,
            session_rows.c.id.label("session_id"),
            session_rows.c.status,
            session_rows.c.phone_number.label("number"),
            lanes.c.stopped_at,
        )
        .outerjoin(session_rows, session_rows.c.user_id == campaign_lanes.c.user_id)
        .outerjoin(lanes, lanes.c.session_id == session_rows.c.id)
        .where(_of(user_id), campaign_lanes.c.look_at == leased)
        .with_for_update(of=campaign_lanes)
    )


def _active(tx: Connection, user_id: UUID, *, locked: bool = False) -> list[Campaign]:
    """The sender's campaigns that are under way, the first confirmed first; `locked` against pause and cancel."""
    wanted = (
        _listing()
        .where(campaigns.c.user_id == user_id, campaigns.c.state == State.ACTIVE)
        .order_by(campaigns.c.started_at, campaigns.c.id)
    )
    rows = tx.execute(wanted.with_for_update(of=campaigns) if locked else wanted).all()
    return [_campaign(row) for row in rows]


def _waiting(tx: Connection, campaign_id: UUID) -> list[tuple[int, bool]]:
    rows = tx.execute(
        select(campaign_recipients.c.seq, campaign_recipients.c.cold)
        .where(campaign_recipients.c.campaign_id == campaign_id, campaign_recipients.c.state == Place.WAITING)
        .order_by(campaign_recipients.c.seq)
    )
    return [(row.seq, row.cold) for row in rows]


def _blocked(user_id: UUID, phone: str) -> Select[Any]:
    return select(contacts.c.id).where(
        contacts.c.session_id == select(session_rows.c.id).where(session_rows.c.user_id == user_id).scalar_subquery(),
        contacts.c.phone.in_(spellings(phone)),
        contacts.c.blocked_at.is_not(None),
    )


def _progress(tx: Connection, campaign_ids: Sequence[UUID]) -> dict[UUID, Progress]:
    places: dict[UUID, Counter[Place]] = {one: Counter() for one in campaign_ids}
    states: dict[UUID, Counter[messages.State]] = {one: Counter() for one in campaign_ids}
    for campaign_id, state, count in tx.execute(_counted(campaign_recipients, campaign_ids)):
        places[campaign_id][Place(state)] = count
    for campaign_id, state, count in tx.execute(_counted(message_rows, campaign_ids)):
        states[campaign_id][messages.State(state)] = count
    return {one: Progress(places[one], states[one]) for one in campaign_ids}


def _counted(table: Table, campaign_ids: Sequence[UUID]) -> Select[Any]:
    return (
        select(table.c.campaign_id, table.c.state, func.count())
        .where(table.c.campaign_id.in_(campaign_ids))
        .group_by(table.c.campaign_id, table.c.state)
    )


def _results() -> Select[Any]:
    return select(
        campaign_recipients,
        message_rows.c.state.label("message_state"),
        message_rows.c.failure,
        *messages.WAITING_COLUMNS,
        message_rows.c.sent_at,
        message_rows.c.delivered_at,
        message_rows.c.read_at,
    ).outerjoin(message_rows, message_rows.c.id == campaign_recipients.c.message_id)


def _shown(show: Show) -> ColumnElement[bool]:
    if show == "waiting":
        return campaign_recipients.c.state == Place.WAITING
    if show == "left_out":
        return campaign_recipients.c.state.in_((Place.SKIPPED, Place.CANCELLED))
    return and_(campaign_recipients.c.state == Place.RELEASED, message_rows.c.state.in_(_SHOWN[show]))


def _require(tx: Connection, user_id: UUID, campaign_id: UUID) -> Campaign:
    row = tx.execute(_listing().where(campaigns.c.id == campaign_id, campaigns.c.user_id == user_id)).one_or_none()
    if row is None:
        raise NotFound(f"campaign {campaign_id}")
    return _campaign(row)


def _listing() -> Select[Any]:
    return select(campaigns, template_rows.c.name.label("template")).outerjoin(
        template_rows, template_rows.c.id == campaigns.c.template_id
    )


def _campaign(row: Record) -> Campaign:
    return Campaign(
        id=row.id,
        name=row.name,
        state=State(row.state),
        template_id=row.template_id,
        template_version=row.template_version,
        template=row.template,
        pacing=Pacing(row.opens, row.closes, row.cap, row.cold_share, row.pace),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _result(row: Record) -> Result:
    return Result(
        seq=row.seq,
        phone=row.phone,
        name=row.name,
        place=Place(row.state),
        reason=row.reason,
        state=messages.State(row.message_state) if row.message_state else None,
        failure=row.failure,
        waiting=messages.wait_of(row),
        message_id=row.message_id,
        released_at=row.released_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        read_at=row.read_at,
    )
