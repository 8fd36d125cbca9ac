"""A user's rules for what comes in: an automatic reply outside their hours, and labels by keywords.

A rule is applied in the transaction that takes the message in, so that what came in and what it led to are one step:
nothing is answered twice, whatever dies in between. Nothing is sent here: the reply is queued like any message.

Two machines must not talk to each other. A contact gets one automatic reply a day, never in a group; a message that
comes within seconds of one of ours is taken for a machine's; and one session replies so many times a minute at most,
whoever is at the other ends.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, Select, delete, func, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services import messages, optouts
from services.contacts import MAX_LABEL, MAX_LABELS
from services.conversations import Taken
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, contacts, directory, rule_uses, rules
from services.db.models import messages as message_rows
from services.errors import N_, Forbidden, InvalidInput, NotFound
from services.messages import Content
from services.wppconnect.events import UNREADABLE

REPLY_LIMIT = 1000
MAX_WORDS = 20
MAX_WORD = 40
RULES_PER_USER = 50
# Nobody reads, thinks and types within this.
MACHINE_SECONDS = 5
# What came so long ago was read back after an outage: "we are closed" would come at the wrong time.
STALE = timedelta(minutes=15)
REPLIES_A_MINUTE = 20
KEPT = timedelta(days=90)
# What no answer is expected to.
UNANSWERED_KINDS = frozenset({UNREADABLE, "call", "protocol"})


class Kind(StrEnum):
    """What a rule does."""

    AUTO_REPLY = "auto_reply"
    LABEL = "label"


class What(StrEnum):
    """What a rule did, or why it withheld a reply."""

    REPLIED = "replied"
    LABELLED = "labelled"
    AUTOMATIC = "automatic"  # the message looked like a machine's
    OPTED_OUT = "opted_out"
    TOO_MANY = "too_many"  # the session has replied too often in a minute


class RuleIncomplete(InvalidInput):
    code = "regra_incompleta"
    message = N_("A regra está incompleta.")
    hint = N_("Até 1.000 letras na resposta; até 20 palavras e uma etiqueta, com até 40 letras cada.")


class WrongHours(InvalidInput):
    code = "horario_invalido"
    message = N_("Um dos dias fecha antes de abrir.")
    hint = N_("Confira os horários; deixe o dia fechado se não houver atendimento.")


class TooManyRules(InvalidInput):
    code = "regras_demais"
    message = N_("Você já tem {limit} regras.")
    hint = N_("Apague as que não usa e tente de novo.")


# From Monday on: when a day opens and closes, None where it does not open.
Hours = tuple[tuple[time, time] | None, ...]


@dataclass(frozen=True)
class Rule:
    """One rule. An automatic reply has `reply`, `zone` and `hours`; a label has `words` and `label`."""

    id: UUID
    kind: Kind
    active: bool
    reply: str = field(default="", repr=False)
    zone: str = ""
    hours: Hours = ()
    words: tuple[str, ...] = ()
    label: str = ""

    def open_at(self, moment: datetime) -> bool:
        """Whether `moment` lies within the hours of its day."""
        local = moment.astimezone(ZoneInfo(self.zone))
        opening = self.hours[local.weekday()]
        return opening is not None and opening[0] <= local.time() < opening[1]


@dataclass(frozen=True)
class Use:
    """Something that a rule did with one message of a contact. `email` is the rule's owner's, for staff."""

    at: datetime
    kind: Kind
    what: What
    contact_id: UUID
    message_id: UUID | None
    email: str | None = None


# --- what a person does -----------------------------------------------------------------------------------------------


def mine(actor: Actor) -> list[Rule]:
    """The actor's own rules: the automatic reply first, then the labels by age."""
    with transaction(actor) as tx:
        rows = tx.execute(
            select(rules).where(rules.c.user_id == actor.user_id).order_by(rules.c.kind, rules.c.created_at)
        ).all()
    return [_rule(row) for row in rows]


def save_auto_reply(actor: Actor, reply: str, zone: str, hours: Hours, *, active: bool = True) -> None:
    """What is answered outside `hours` (in `zone`, as `America/Sao_Paulo`). Raises RuleIncomplete, WrongHours."""
    wanted = reply.replace("\0", "").strip()
    if not 0 < len(wanted) <= REPLY_LIMIT or len(hours) != 7 or not _is_zone(zone):
        raise RuleIncomplete
    if any(day is not None and day[0] >= day[1] for day in hours):
        raise WrongHours
    stored = [day and [day[0].isoformat("minutes"), day[1].isoformat("minutes")] for day in hours]
    values = {"reply": wanted, "zone": zone, "hours": stored, "active": active}
    made = upsert(rules).values(user_id=_owner(actor), kind=Kind.AUTO_REPLY, **values)
    with transaction(actor) as tx:
        tx.execute(
            made.on_conflict_do_update(index_elements=["user_id"], index_where=text("kind = 'auto_reply'"), set_=values)
        )


def add_label(actor: Actor, words: Sequence[str], label: str) -> None:
    """Put `label` on whoever writes one of `words`. Raises RuleIncomplete, TooManyRules."""
    chosen = tuple(dict.fromkeys(" ".join(word.replace("\0", "").split()) for word in words if _plain(word)))
    wanted = " ".join(label.replace("\0", "").split())
    fitting = 0 < len(chosen) <= MAX_WORDS and all(len(word) <= MAX_WORD for word in chosen)
    if not fitting or not 0 < len(wanted) <= MAX_LABEL:
        raise RuleIncomplete
    owner = _owner(actor)
    with transaction(actor) as tx:
        count = tx.execute(select(func.count()).where(rules.c.user_id == owner)).scalar_one()
        if count >= RULES_PER_USER:
            raise TooManyRules(limit=RULES_PER_USER)
        tx.execute(insert(rules).values(user_id=owner, kind=Kind.LABEL, words=list(chosen), label=wanted))


def switch(actor: Actor, rule_id: UUID, *, on: bool) -> None:
    """Turn a rule on or off. Raises NotFound."""
    with transaction(actor) as tx:
        if not tx.execute(update(rules).where(rules.c.id == rule_id).values(active=on)).rowcount:
            raise NotFound(f"rule {rule_id}")


def remove(actor: Actor, rule_id: UUID) -> None:
    """Forget a rule and what it did; labels stay on the contacts. Raises NotFound."""
    with transaction(actor) as tx:
        if not tx.execute(delete(rules).where(rules.c.id == rule_id)).rowcount:
            raise NotFound(f"rule {rule_id}")


def uses(actor: Actor, limit: int = 50) -> list[Use]:
    """What the actor's own rules did lately; the newest first."""
    return _used(actor, _uses().where(rule_uses.c.user_id == actor.user_id).limit(limit))


def everybodys_uses(actor: Actor, limit: int = 100) -> list[Use]:
    """What all rules did lately, for staff: no texts, no labels, no numbers. Raises Forbidden."""
    if not actor.is_staff:
        raise Forbidden("rules of others")
    owners = _uses(directory.c.email).outerjoin(directory, directory.c.user_id == rule_uses.c.user_id)
    return _used(actor, owners.limit(limit))


def _uses(*more: Any) -> Select[Any]:
    return select(rule_uses, *more).order_by(rule_uses.c.id.desc())


def _used(actor: Actor, chosen: Select[Any]) -> list[Use]:
    with transaction(actor) as tx:
        rows = tx.execute(chosen).all()
    return [
        Use(
            at=row.at,
            kind=Kind.LABEL if row.what == What.LABELLED else Kind.AUTO_REPLY,
            what=What(row.what),
            contact_id=row.contact_id,
            message_id=row.message_id,
            email=getattr(row, "email", None),
        )
        for row in rows
    ]


# --- what the worker does ---------------------------------------------------------------------------------------------


def active_of(tx: Connection, user_id: UUID) -> list[Rule]:
    """The rules that hold for what comes in for a user."""
    return [_rule(row) for row in tx.execute(select(rules).where(rules.c.user_id == user_id, rules.c.active)).all()]


def apply(tx: Connection, taken: Taken, active: Sequence[Rule], now: datetime | None = None) -> list[What]:
    """Do what its owner's `active` rules say about a message that has just been taken in; returns what was done or
    withheld."""
    if taken.direction != "in":
        return []
    moment = now or datetime.now(UTC)
    done = [_apply(tx, rule, taken, moment) for rule in active]
    return [what for what in done if what is not None]


def forget_old() -> None:
    """Drop what rules did longer than 90 days ago; the labels and the messages stay."""
    with transaction(SYSTEM) as tx:
        tx.execute(delete(rule_uses).where(rule_uses.c.at < func.now() - KEPT))


def _apply(tx: Connection, rule: Rule, taken: Taken, now: datetime) -> What | None:
    return _label(tx, rule, taken, now) if rule.kind is Kind.LABEL else _reply(tx, rule, taken, now)


def _label(tx: Connection, rule: Rule, taken: Taken, now: datetime) -> What | None:
    said = f" {_plain(taken.text)} "
    if not any(f" {_plain(word)} " in said for word in rule.words):
        return None
    put_on = (
        update(contacts)
        .where(
            contacts.c.id == taken.contact_id,
            func.array_position(contacts.c.labels, rule.label).is_(None),
            func.cardinality(contacts.c.labels) < MAX_LABELS,
        )
        .values(labels=func.array_append(contacts.c.labels, rule.label), updated_at=func.now())
    )
    if not tx.execute(put_on).rowcount:
        return None
    _note(tx, rule, taken, What.LABELLED, now.date(), taken.message_id)
    return What.LABELLED


def _reply(tx: Connection, rule: Rule, taken: Taken, now: datetime) -> What | None:
    if taken.is_group or taken.phone is None or taken.kind in UNANSWERED_KINDS:
        return None
    if rule.open_at(taken.at) or now - taken.at > STALE or _is_blocked(tx, taken):
        return None
    day = taken.at.astimezone(ZoneInfo(rule.zone)).date()
    if (withheld := _withheld(tx, taken)) is not None:
        _note(tx, rule, taken, withheld, day)
        return withheld
    if not _note(tx, rule, taken, What.REPLIED, day):
        return None
    content = Content(body=rule.reply, detail={"auto_reply": str(rule.id)})
    key = f"rule:{rule.id}:{taken.contact_id}:{day}"
    row = messages.put(tx, taken.user_id, taken.session_id, taken.phone, content, key)
    tx.execute(update(rule_uses).where(*_same(rule, taken, What.REPLIED, day)).values(message_id=row.id))
    return What.REPLIED


def _withheld(tx: Connection, taken: Taken) -> What | None:
    assert taken.phone is not None
    if optouts.opted_out(tx, taken.user_id, [taken.phone]):
        return What.OPTED_OUT
    just_said = select(literal(1)).where(
        message_rows.c.contact_id == taken.contact_id,
        message_rows.c.direction == "out",
        message_rows.c.state != messages.State.QUEUED,
        message_rows.c.at.between(taken.at - timedelta(seconds=MACHINE_SECONDS), taken.at),
    )
    if tx.execute(just_said.limit(1)).first() is not None:
        return What.AUTOMATIC
    lately = select(func.count()).where(
        rule_uses.c.user_id == taken.user_id,
        rule_uses.c.what == What.REPLIED,
        rule_uses.c.at > func.clock_timestamp() - timedelta(minutes=1),
    )
    return What.TOO_MANY if tx.execute(lately).scalar_one() >= REPLIES_A_MINUTE else None


def _is_blocked(tx: Connection, taken: Taken) -> bool:
    blocked = select(literal(1)).where(contacts.c.id == taken.contact_id, contacts.c.blocked_at.is_not(None))
    return tx.execute(blocked).first() is not None


def _note(tx: Connection, rule: Rule, taken: Taken, what: What, day: date, message_id: UUID | None = None) -> bool:
    """Put down what a rule did with a contact; False where it has done so that day already."""
    noted = upsert(rule_uses).values(
        rule_id=rule.id,
        user_id=taken.user_id,
        contact_id=taken.contact_id,
        message_id=message_id,
        day=day,
        what=what,
    )
    return tx.execute(noted.on_conflict_do_nothing().returning(rule_uses.c.id)).first() is not None


def _same(rule: Rule, taken: Taken, what: What, day: date) -> tuple[Any, ...]:
    return (
        rule_uses.c.rule_id == rule.id,
        rule_uses.c.contact_id == taken.contact_id,
        rule_uses.c.day == day,
        rule_uses.c.what == what,
    )


# --- values -----------------------------------------------------------------------------------------------------------


def _owner(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise Forbidden("only a signed-in user has rules")
    return actor.user_id


def _plain(words: str) -> str:
    """In capitals, without accents, only letters and digits with single blanks between."""
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", words) if not unicodedata.combining(sign))
    return " ".join(re.sub(r"[\W_]+", " ", bare.upper()).split())


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _rule(row: Record) -> Rule:
    hours = tuple(day and (time.fromisoformat(day[0]), time.fromisoformat(day[1])) for day in row.hours or ())
    return Rule(
        id=row.id,
        kind=Kind(row.kind),
        active=row.active,
        reply=row.reply or "",
        zone=row.zone or "",
        hours=hours,
        words=tuple(row.words or ()),
        label=row.label or "",
    )
