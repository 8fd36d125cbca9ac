"""Opt-outs: who asked not to be written to again, by a word of theirs or noted by the session's owner.

An opt-out is of a person: it holds for a line however it is spelt, and for every address of the contact, also one that
is learnt later. Schedules and campaigns obey it, and what they had queued is taken back; a person who writes by hand is
only warned. It has an end where the contact takes it back, or where a person undoes a slip, on the record. The newest
word counts by WhatsApp's clock, whatever comes first.
"""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    cast,
    func,
    or_,
    select,
    true,
    tuple_,
)

from services.db.actor import Actor, Role
from services.db.engine import transaction
from services.db.like import contains_pattern
from services.db.rows import read_row
from services.db.tables.contacts import contact_addresses, contacts, opt_outs
from services.db.tables.fleet import sessions
from services.errors import N_, Forbidden, InvalidInput, NotFound
from services.security import audit_log, break_glass
from services.security.break_glass import Scope
from services.wppconnect.errors import InvalidPhone
from services.wppconnect.phone import get_address_key, get_phone_of_address, normalise

PAGE_SIZE = 50
MIN_REASON_LENGTH = 5
MAX_REASON_LENGTH = 300


class ReasonMissing(InvalidInput):
    code = "motivo_obrigatorio"
    message = N_("Escreva o motivo: de 5 a 300 letras.")
    hint = N_("Ele fica no registro, com o seu nome.")


@dataclass(frozen=True)
class OptOut:
    """Who asked for silence: `phone` is digits, or `…@lid` for somebody without a number. `word` is what they wrote,
    None where the owner noted it; `at` is when, by WhatsApp's clock. `name` as their contact is called."""

    phone: str
    at: datetime
    word: str | None
    name: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class OptOutPlace:
    """Where a page of the list ends."""

    at: datetime
    address_key: str


@dataclass(frozen=True)
class OptOutPage:
    """A part of the list, newest first. `total` counts all pages; `after` is where the next begins, None on the
    last."""

    items: list[OptOut]
    total: int
    after: OptOutPlace | None


# --- what the worker does ---------------------------------------------------------------------------------------------


def record_word(tx: Connection, contact_id: UUID, word: str, said: datetime) -> bool:
    """Note that a contact asked for silence with `word` at `said`; True where that is in effect only now.

    It counts for every user of the number that was written to. Inside the caller's transaction: what came in and what
    it means are one step.
    """
    asked = _asked_users()
    noted = select(func.app.note_opt_out(asked.c.user_id, _person(), word, said, type_=Boolean))
    return any(tx.execute(noted.select_from(contacts.join(asked, true())).where(*_is_person(contact_id))).scalars())


def record_return(tx: Connection, contact_id: UUID, word: str, said: datetime) -> None:
    """Note that a contact took back with `word` what they had asked for until `said`."""
    asked = _asked_users()
    taken_back = select(func.app.note_opt_in(asked.c.user_id, _person(), word, said))
    tx.execute(taken_back.select_from(contacts.join(asked, true())).where(*_is_person(contact_id)))


def _asked_users() -> FromClause:
    """The users of the number that a contact wrote to."""
    return func.app.list_users_of_number(contacts.c.session_id).table_valued("user_id").render_derived(name="asked")


def _person() -> ColumnElement[str]:
    return func.coalesce(contacts.c.phone, contacts.c.lid)


def _is_person(contact_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return contacts.c.id == contact_id, contacts.c.is_group.is_(False), _person().is_not(None)


def find_opted_out(tx: Connection, user_id: UUID, addresses: Collection[str]) -> set[str]:
    """Those of `addresses` (digits, or as WhatsApp writes them) that `user_id` may not write to by schedule or
    campaign."""
    keys = {address: get_address_key(address) for address in addresses}
    if not keys:
        return set()
    # One array instead of a placeholder each: ten thousand addresses are one statement of constant length.
    asked = opt_outs.c.address_key == func.any(cast(list(set(keys.values())), ARRAY(Text)))
    found = select(opt_outs.c.address_key).where(opt_outs.c.user_id == user_id, asked, opt_outs.c.ended_at.is_(None))
    silent = set(tx.execute(found).scalars())
    return {address for address, key in keys.items() if key in silent}


# --- what a person does -----------------------------------------------------------------------------------------------


def filter_opted_out(actor: Actor, addresses: Collection[str]) -> set[str]:
    """Those of `addresses` (digits, or as WhatsApp writes them) that asked the actor for silence."""
    user_id = actor.require_user("only a signed-in user writes to people")
    with transaction(actor) as tx:
        return find_opted_out(tx, user_id, addresses)


def is_opted_out(actor: Actor, written: str) -> bool:
    """Whether somebody (a phone as people write it, or an address) asked the actor for silence.

    Raises: InvalidPhone.
    """
    return bool(filter_opted_out(actor, _list_readings(written)))


def add(actor: Actor, written: str) -> bool:
    """Note that somebody (a phone as people write it, or a `…@lid`) asked for silence; False where it was noted before.

    Raises: InvalidPhone.
    """
    actor.require_user("only a signed-in user notes it")
    with transaction(actor) as tx:
        return tx.execute(select(func.app.add_opt_out(_read_person(written), type_=Boolean))).scalar_one()


def end(actor: Actor, written: str, reason: str, user_id: UUID | None = None) -> None:
    """Undo a slip: somebody (as in `add`) may be written to again. Recorded with the reason.

    `user_id`: whom they had asked, where an admin who broke the glass undoes it for that person.

    Raises: ReasonMissing, InvalidPhone, NotFound where nothing of theirs is in effect, Forbidden.
    """
    owner = user_id or actor.require_user("only a person undoes it")
    said = " ".join(reason.replace("\0", "").split())
    if not MIN_REASON_LENGTH <= len(said) <= MAX_REASON_LENGTH:
        raise ReasonMissing(f"{len(said)} characters")
    people = _list_readings(written)
    with transaction(actor) as tx:
        own = owner == actor.user_id
        if not own and not (actor.role is Role.ADMIN and break_glass.is_granted(tx, owner, Scope.CHATS)):
            raise Forbidden("only its owner, or an admin who broke the glass, undoes an opt-out")
        ended = next((one for one in people if tx.execute(_end_one(owner, one, said)).scalar_one()), None)
        if ended is None:
            raise NotFound("no opt-out in effect")
        # The log keeps nobody's number for ever; whose it was stands in the row itself.
        audit_log.record(
            tx, actor, "opt_out.end", f"user_{owner}", whose=f"…{ended.partition('@')[0][-4:]}", reason=said
        )


def _end_one(owner: UUID, person: str, reason: str) -> Select[tuple[bool]]:
    return select(func.app.end_opt_out(owner, person, reason, type_=Boolean))


def list_page(actor: Actor, search: str = "", after: OptOutPlace | None = None, limit: int = PAGE_SIZE) -> OptOutPage:
    """Who asked the actor for silence, the newest first; only those whose number or name contains `search`.

    A contact's number stands for it: its `@lid` is listed only where no number is known.
    """
    found = _select_own(actor, search)
    place = tuple_(opt_outs.c.said_at, opt_outs.c.address_key)
    page = found.order_by(opt_outs.c.said_at.desc(), opt_outs.c.address_key.desc()).limit(limit + 1)
    if after is not None:
        page = page.where(place < tuple_(after.at, after.address_key))
    with transaction(actor) as tx:
        total = tx.execute(select(func.count()).select_from(found.subquery())).scalar_one()
        rows = tx.execute(page).all()
    shown = rows[:limit]
    following = OptOutPlace(shown[-1].at, shown[-1].address_key) if len(rows) > limit else None
    return OptOutPage([read_row(OptOut, row) for row in shown], total, following)


def _select_own(actor: Actor, search: str) -> Select[tuple[str, datetime, str | None, str | None, str]]:
    name = func.coalesce(contacts.c.name, contacts.c.pushname, type_=Text)
    session_id = select(sessions.c.id).where(sessions.c.user_id == actor.user_id).scalar_subquery()
    who = opt_outs.outerjoin(
        contact_addresses,
        (contact_addresses.c.session_id == session_id) & (contact_addresses.c.address == opt_outs.c.address_key),
    ).outerjoin(contacts, contacts.c.id == contact_addresses.c.contact_id)
    shown = or_(opt_outs.c.phone.not_like("%@lid"), contacts.c.phone.is_(None))
    found = (
        select(
            opt_outs.c.phone,
            opt_outs.c.said_at.label("at"),
            opt_outs.c.trigger_word.label("word"),
            name.label("name"),
            opt_outs.c.address_key,
        )
        .select_from(who)
        .where(opt_outs.c.user_id == actor.user_id, opt_outs.c.ended_at.is_(None), shown)
    )
    return found.where(_matches(search, name)) if search.strip() else found


def _matches(search: str, name: ColumnElement[str]) -> ColumnElement[bool]:
    """A part of a name, or of a number however it is written."""
    digits = "".join(sign for sign in search if sign.isascii() and sign.isdecimal())
    ways: list[ColumnElement[bool]] = [name.ilike(contains_pattern(search))]
    if digits:
        ways += [opt_outs.c.phone.contains(digits), opt_outs.c.address_key == get_address_key(digits)]
        with contextlib.suppress(InvalidPhone):  # a part of one
            ways.append(opt_outs.c.address_key == get_address_key(normalise(search)))
    return or_(*ways)


def _read_person(written: str) -> str:
    """Digits, or a `@lid`.

    Raises: InvalidPhone.
    """
    address = written.strip()
    if address.endswith("@lid") and address[:1].isdecimal():
        return get_address_key(address)
    return (get_phone_of_address(address) if "@" in address else None) or normalise(address)


def _list_readings(written: str) -> list[str]:
    """Whom `written` can mean: digits as they stand in the list first, then as people write a phone.

    Raises: InvalidPhone.
    """
    if not written.isdecimal():
        return [_read_person(written)]
    with contextlib.suppress(InvalidPhone):
        return [written, normalise(written)]
    return [written]
