"""Applies a user's rules to an incoming message, in the transaction that stores the message.

So nothing is answered twice, even if a worker dies. Nothing is sent here: the reply is queued like any message.

Two machines must not talk to each other. A contact gets one automatic reply a day from a number, however many sessions
it has, and never in a group. A message that
comes within seconds of one of ours is taken for a machine's. One session sends only so many automatic replies a minute.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Uuid, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.contacts import opt_outs
from services.contacts.contacts import MAX_LABELS
from services.db.tables.contacts import contacts
from services.db.tables.inbound import automation_uses
from services.db.tables.messaging import messages as message_rows
from services.inbound.automations import Rule, RuleKind, RuleOutcome, normalise_words
from services.inbound.ingest import IngestedMessage, News
from services.messaging import outbox, state
from services.messaging.content import Content
from services.platform import local_time
from services.wppconnect.event_keys import UNREADABLE_TYPE

# Nobody reads, thinks and types within this.
MACHINE_SECONDS = 5
# What came so long ago was read back after an outage: "we are closed" would come at the wrong time.
STALE_AFTER = timedelta(minutes=15)
REPLIES_A_MINUTE = 20
# What no answer is expected to.
UNANSWERED_KINDS = frozenset({UNREADABLE_TYPE, "call", "protocol"})


def apply_rules(
    tx: Connection, taken: IngestedMessage, active: Sequence[Rule], now: datetime | None = None
) -> list[RuleOutcome]:
    """Do what its owner's `active` rules say about a message that has just been taken in; returns what was done or
    withheld."""
    if taken.direction != "in":
        return []
    moment = now or datetime.now(UTC)
    done = [_apply_rule(tx, rule, taken, moment) for rule in active]
    return [what for what in done if what is not None]


def _apply_rule(tx: Connection, rule: Rule, taken: IngestedMessage, now: datetime) -> RuleOutcome | None:
    return (
        _apply_label(tx, rule, taken, now) if rule.kind is RuleKind.LABEL else _apply_auto_reply(tx, rule, taken, now)
    )


def _apply_label(tx: Connection, rule: Rule, taken: IngestedMessage, now: datetime) -> RuleOutcome | None:
    said = f" {normalise_words(taken.text)} | {normalise_words(taken.changed_to or '')} "
    if not any(f" {normalise_words(word)} " in said for word in rule.words):
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
    _record_use(tx, rule, taken, RuleOutcome.LABELLED, now.date(), taken.message_id)
    return RuleOutcome.LABELLED


def _apply_auto_reply(tx: Connection, rule: Rule, taken: IngestedMessage, now: datetime) -> RuleOutcome | None:
    if taken.person is None or taken.kind in UNANSWERED_KINDS or taken.news is News.EDITED:
        return None
    if rule.open_at(taken.at) or now - taken.at > STALE_AFTER or _is_blocked(tx, taken):
        return None
    day = local_time.to_local(taken.at, rule.zone).date()
    if _is_answered_elsewhere(tx, taken, day):
        return None
    if (withheld := _reason_to_withhold(tx, taken)) is not None:
        _record_use(tx, rule, taken, withheld, day)
        return withheld
    if not _record_use(tx, rule, taken, RuleOutcome.REPLIED, day):
        return None
    content = Content(body=rule.reply, detail={"auto_reply": str(rule.id)})
    key = f"rule:{rule.id}:{taken.contact_id}:{day}"
    row = outbox.queue_in_transaction(tx, taken.user_id, taken.session_id, taken.person, content, key)
    tx.execute(update(automation_uses).where(*_is_use(rule, taken, RuleOutcome.REPLIED, day)).values(message_id=row.id))
    return RuleOutcome.REPLIED


def _reason_to_withhold(tx: Connection, taken: IngestedMessage) -> RuleOutcome | None:
    assert taken.person is not None
    if opt_outs.find_opted_out(tx, taken.user_id, [taken.person]):
        return RuleOutcome.OPTED_OUT
    just_said = select(literal(1)).where(
        message_rows.c.contact_id == taken.contact_id,
        message_rows.c.direction == "out",
        message_rows.c.state != state.State.QUEUED,
        message_rows.c.occurred_at.between(taken.at - timedelta(seconds=MACHINE_SECONDS), taken.at),
    )
    if tx.execute(just_said.limit(1)).first() is not None:
        return RuleOutcome.AUTOMATIC
    lately = select(func.count()).where(
        automation_uses.c.user_id == taken.user_id,
        automation_uses.c.action == RuleOutcome.REPLIED,
        automation_uses.c.occurred_at > func.clock_timestamp() - timedelta(minutes=1),
    )
    return RuleOutcome.TOO_MANY if tx.execute(lately).scalar_one() >= REPLIES_A_MINUTE else None


def _is_answered_elsewhere(tx: Connection, taken: IngestedMessage, day: date) -> bool:
    """Whether another session of the same number has answered this person that day. Takes the person's turn first."""
    sharing = select(func.app.list_users_of_number(taken.session_id, type_=Uuid).column_valued("user_id"))
    others = [one for one in tx.execute(sharing).scalars() if one != taken.user_id]
    if not others:
        return False
    person = func.app.get_address_key(taken.person)
    number = func.app.get_line_of_user(taken.user_id)
    tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(func.concat("reply ", number, " ", person), 0))))
    answered = (
        select(literal(1))
        .join(contacts, contacts.c.id == automation_uses.c.contact_id)
        .where(
            automation_uses.c.user_id.in_(others),
            automation_uses.c.action == RuleOutcome.REPLIED,
            automation_uses.c.day == day,
            func.app.get_address_key(func.coalesce(contacts.c.phone, contacts.c.lid)) == person,
        )
    )
    return tx.execute(answered.limit(1)).first() is not None


def _is_blocked(tx: Connection, taken: IngestedMessage) -> bool:
    """Whether its owner blocked the contact, or it wrote to a number that the session is not any more."""
    unanswered = or_(contacts.c.blocked_at.is_not(None), contacts.c.of_number.is_not(None))
    blocked = select(literal(1)).where(contacts.c.id == taken.contact_id, unanswered)
    return tx.execute(blocked).first() is not None


def _record_use(
    tx: Connection, rule: Rule, taken: IngestedMessage, what: RuleOutcome, day: date, message_id: UUID | None = None
) -> bool:
    """Put down what a rule did with a contact; False where it has done so that day already."""
    noted = upsert(automation_uses).values(
        automation_id=rule.id,
        user_id=taken.user_id,
        contact_id=taken.contact_id,
        message_id=message_id,
        day=day,
        action=what,
    )
    return tx.execute(noted.on_conflict_do_nothing().returning(automation_uses.c.id)).first() is not None


def _is_use(rule: Rule, taken: IngestedMessage, what: RuleOutcome, day: date) -> tuple[Any, ...]:
    return (
        automation_uses.c.automation_id == rule.id,
        automation_uses.c.contact_id == taken.contact_id,
        automation_uses.c.day == day,
        automation_uses.c.action == what,
    )
