"""A user's rules for incoming messages: an automatic reply outside their hours, and labels by keywords.

This module holds the rules and the record of what they did. `automation_engine` applies them.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, null, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.contacts.contacts import MAX_LABEL_LENGTH
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.accounts import directory
from services.db.tables.base import Record
from services.db.tables.inbound import automation_uses
from services.db.tables.inbound import automations as automation_rows
from services.errors import N_, InvalidInput, NotFound
from services.platform import local_time

REPLY_LIMIT = 1000
MAX_WORDS = 20
WORD_LIMIT = 40
RULES_PER_USER = 50
RETENTION = timedelta(days=90)


class RuleKind(StrEnum):
    """What a rule does."""

    AUTO_REPLY = "auto_reply"
    LABEL = "label"


class RuleOutcome(StrEnum):
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
OpeningHours = tuple[tuple[time, time] | None, ...]


@dataclass(frozen=True)
class Rule:
    """One rule. An automatic reply has `reply`, `zone` and `hours`; a label has `words` and `label`."""

    id: UUID
    kind: RuleKind
    active: bool
    reply: str = field(default="", repr=False)
    zone: str = ""
    hours: OpeningHours = ()
    words: tuple[str, ...] = ()
    label: str = ""

    def open_at(self, moment: datetime) -> bool:
        """Whether `moment` lies within the hours of its day."""
        local = local_time.to_local(moment, self.zone)
        opening = self.hours[local.weekday()]
        return opening is not None and opening[0] <= local.time() < opening[1]


@dataclass(frozen=True)
class RuleUse:
    """Something that a rule did with one message of a contact. `email` is the rule's owner's, for staff."""

    at: datetime
    kind: RuleKind
    what: RuleOutcome
    contact_id: UUID
    message_id: UUID | None
    email: str | None = None


def list_rules(actor: Actor) -> list[Rule]:
    """The actor's own rules: the automatic reply first, then the labels by age."""
    with transaction(actor) as tx:
        rows = tx.execute(
            select(automation_rows)
            .where(automation_rows.c.user_id == actor.user_id)
            .order_by(automation_rows.c.kind, automation_rows.c.created_at)
        ).all()
    return [_build_rule(row) for row in rows]


def save_auto_reply(actor: Actor, reply: str, zone: str, hours: OpeningHours, *, active: bool = True) -> None:
    """What is answered outside `hours` (in `zone`, as `America/Sao_Paulo`).

    Raises: RuleIncomplete, WrongHours.
    """
    wanted = reply.replace("\0", "").strip()
    if not 0 < len(wanted) <= REPLY_LIMIT or len(hours) != 7 or not local_time.is_zone(zone):
        raise RuleIncomplete
    if any(day is not None and day[0] >= day[1] for day in hours):
        raise WrongHours
    stored = [day and [day[0].isoformat("minutes"), day[1].isoformat("minutes")] for day in hours]
    values = {"reply": wanted, "time_zone": zone, "hours": stored, "active": active}
    made = upsert(automation_rows).values(user_id=_owner(actor), kind=RuleKind.AUTO_REPLY, **values)
    with transaction(actor) as tx:
        tx.execute(
            made.on_conflict_do_update(index_elements=["user_id"], index_where=text("kind = 'auto_reply'"), set_=values)
        )


def add_label(actor: Actor, words: Sequence[str], label: str) -> None:
    """Put `label` on whoever writes one of `words`.

    Raises: RuleIncomplete, TooManyRules.
    """
    chosen = tuple(dict.fromkeys(" ".join(word.replace("\0", "").split()) for word in words if normalise_words(word)))
    wanted = " ".join(label.replace("\0", "").split())
    fitting = 0 < len(chosen) <= MAX_WORDS and all(len(word) <= WORD_LIMIT for word in chosen)
    if not fitting or not 0 < len(wanted) <= MAX_LABEL_LENGTH:
        raise RuleIncomplete
    owner = _owner(actor)
    with transaction(actor) as tx:
        count = tx.execute(select(func.count()).where(automation_rows.c.user_id == owner)).scalar_one()
        if count >= RULES_PER_USER:
            raise TooManyRules(limit=RULES_PER_USER)
        tx.execute(insert(automation_rows).values(user_id=owner, kind=RuleKind.LABEL, words=list(chosen), label=wanted))


def set_active(actor: Actor, rule_id: UUID, *, on: bool) -> None:
    """Turn a rule on or off.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        if not tx.execute(update(automation_rows).where(automation_rows.c.id == rule_id).values(active=on)).rowcount:
            raise NotFound(f"rule {rule_id}")


def delete_rule(actor: Actor, rule_id: UUID) -> None:
    """Forget a rule and what it did; labels stay on the contacts.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        if not tx.execute(delete(automation_rows).where(automation_rows.c.id == rule_id)).rowcount:
            raise NotFound(f"rule {rule_id}")


def list_uses(actor: Actor, limit: int = 50) -> list[RuleUse]:
    """What the actor's own rules did lately; the newest first."""
    return _read_uses(actor, _select_uses(null()).where(automation_uses.c.user_id == actor.user_id).limit(limit))


def list_all_uses(actor: Actor, limit: int = 100) -> list[RuleUse]:
    """What all rules did lately, for staff: no texts, no labels, no numbers.

    Raises: Forbidden.
    """
    actor.require_staff("rules of others")
    owners = _select_uses(directory.c.email).outerjoin(directory, directory.c.user_id == automation_uses.c.user_id)
    return _read_uses(actor, owners.limit(limit))


def _select_uses(email: ColumnElement[Any]) -> Select[Any]:
    return select(
        automation_uses.c.occurred_at.label("at"),
        automation_uses.c.action.label("what"),
        automation_uses.c.contact_id,
        automation_uses.c.message_id,
        email.label("email"),
    ).order_by(automation_uses.c.id.desc())


def _read_uses(actor: Actor, chosen: Select[Any]) -> list[RuleUse]:
    with transaction(actor) as tx:
        rows = tx.execute(chosen).all()
    return [
        read_row(RuleUse, row, kind=RuleKind.LABEL if row.what == RuleOutcome.LABELLED else RuleKind.AUTO_REPLY)
        for row in rows
    ]


def list_active_rules(tx: Connection, user_id: UUID) -> list[Rule]:
    """The rules that hold for what comes in for a user."""
    return [
        _build_rule(row)
        for row in tx.execute(
            select(automation_rows).where(automation_rows.c.user_id == user_id, automation_rows.c.active)
        ).all()
    ]


def purge_expired() -> None:
    """Drop what rules did longer than 90 days ago; the labels and the messages stay."""
    with transaction(SYSTEM) as tx:
        tx.execute(delete(automation_uses).where(automation_uses.c.occurred_at < func.now() - RETENTION))


def _owner(actor: Actor) -> UUID:
    return actor.require_user("only a signed-in user has rules")


def normalise_words(words: str) -> str:
    """In capitals, without accents, only letters and digits with single blanks between."""
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", words) if not unicodedata.combining(sign))
    return " ".join(re.sub(r"[\W_]+", " ", bare.upper()).split())


def _build_rule(row: Record) -> Rule:
    return read_row(
        Rule,
        row,
        reply=row.reply or "",
        zone=row.time_zone or "",
        hours=[day and (time.fromisoformat(day[0]), time.fromisoformat(day[1])) for day in row.hours or ()],
        words=row.words or (),
        label=row.label or "",
    )
