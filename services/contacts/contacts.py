"""The contacts of a user: one row for each person or group, however many addresses WhatsApp has for them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Uuid, and_, exists, func, select, update

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.contacts import contact_addresses, contacts, opt_outs
from services.errors import N_, InvalidInput, NotFound
from services.wppconnect.phone import ChatKind, get_chat_kind

MAX_NAME_LENGTH = 80
MAX_NOTES_LENGTH = 2000
MAX_LABELS = 20
MAX_LABEL_LENGTH = 40


class ContactTooLong(InvalidInput):
    code = "contato_longo"
    message = N_("O nome, as anotações ou as etiquetas são longos demais.")
    hint = N_("Até 80 letras no nome, 2.000 nas anotações e 20 etiquetas de 40 letras.")


@dataclass(frozen=True)
class Contact:
    """One person, group, channel or list. `name` is as its owner calls it, `pushname` as it calls itself; `phone` is
    digits, once known. `opted_out`: asked not to be written to. `of_number`: an earlier number of the session
    whose conversation it is, which is only read; None: the present one's."""

    id: UUID
    user_id: UUID
    address: str
    phone: str | None
    lid: str | None
    is_group: bool
    name: str | None = field(repr=False)
    pushname: str | None = field(repr=False)
    notes: str = field(repr=False)
    labels: tuple[str, ...]
    blocked_at: datetime | None
    opted_out: bool
    unread: int
    of_number: str | None


# --- what the worker does ---------------------------------------------------------------------------------------------


def select_contact_id(
    session_id: UUID, address: str, phone: str | None, lid: str | None, said: datetime | None, own: str | None = None
) -> ColumnElement[UUID | None]:
    """The contact behind a chat's `address`, made where there is none; null where the session is gone.

    A `phone` (digits) and a `lid` that are given both are one person from `said` on: two contacts become one, unless a
    newer word says otherwise. None as `said`: nobody knows when, and it changes nothing that is known. `own`: what a
    message calls the session's own side; it may be of a number that the session is not any more.
    """
    group = get_chat_kind(address) is ChatKind.GROUP
    if own is not None:
        return func.app.get_contact_of_message(session_id, own, address, phone, lid, group, said, type_=Uuid)
    return func.app.get_or_create_contact(session_id, address, phone, lid, group, said, type_=Uuid)


def link_lid_to_phone(tx: Connection, session_id: UUID, lid: str, phone: str, said: datetime | None) -> UUID | None:
    """Note that a `@lid` and a phone (digits) are one person, by a word of `said`."""
    return tx.execute(select(select_contact_id(session_id, lid, phone, lid, said))).scalar_one()


# --- what a person does -----------------------------------------------------------------------------------------------


def get(actor: Actor, contact_id: UUID) -> Contact:
    """One contact with its card.

    Raises: NotFound, also where the actor may not see it.
    """
    with transaction(actor) as tx:
        row = tx.execute(select(*COLUMNS).where(contacts.c.id == contact_id)).one_or_none()
    if row is None:
        raise NotFound(f"contact {contact_id}")
    return read_row(Contact, row)


def save(actor: Actor, contact_id: UUID, name: str, notes: str, labels: list[str]) -> None:
    """Change the owner's own words on a contact.

    Raises: ContactTooLong, NotFound.
    """
    chosen = list(dict.fromkeys(clean for label in labels if (clean := _collapse_spaces(label))))
    said, noted = _collapse_spaces(name), notes.replace("\0", "").strip()
    lengths = (
        len(said) <= MAX_NAME_LENGTH
        and len(noted) <= MAX_NOTES_LENGTH
        and all(len(label) <= MAX_LABEL_LENGTH for label in chosen)
    )
    if not lengths or len(chosen) > MAX_LABELS:
        raise ContactTooLong(f"contact {contact_id}")
    _update_own(actor, contact_id, name=said or None, name_typed=bool(said), notes=noted, labels=chosen)


def block(actor: Actor, contact_id: UUID, *, blocked: bool = True) -> None:
    """Write nothing to a contact, and count nothing of theirs as unread, until it is let in again.

    Raises: NotFound.
    """
    _update_own(actor, contact_id, blocked_at=func.now() if blocked else None, **({"unread": 0} if blocked else {}))


def opt_out(actor: Actor, contact_id: UUID) -> None:
    """Note that a contact asked not to be written to again, under any of its addresses.

    Raises: NotFound, InvalidInput for a group.
    """
    found = get(actor, contact_id)
    person = found.phone or found.lid
    if person is None or found.is_group or found.user_id != actor.user_id:
        raise InvalidInput("an opt-out is of a person")
    with transaction(actor) as tx:
        tx.execute(select(func.app.add_opt_out(person)))


def mark_read(actor: Actor, contact_id: UUID) -> None:
    """Note that the owner has seen the conversation; staff who look change nothing."""
    mine = and_(contacts.c.id == contact_id, contacts.c.user_id == actor.user_id, contacts.c.unread > 0)
    with transaction(actor) as tx:
        tx.execute(update(contacts).where(mine).values(unread=0))


def _update_own(actor: Actor, contact_id: UUID, **values: Any) -> None:
    mine = and_(contacts.c.id == contact_id, contacts.c.user_id == actor.user_id)
    with transaction(actor) as tx:
        if not tx.execute(update(contacts).where(mine).values(**values, updated_at=func.now())).rowcount:
            raise NotFound(f"contact {contact_id}")


def _collapse_spaces(text: str) -> str:
    return " ".join(text.replace("\0", "").split())


# --- rows -------------------------------------------------------------------------------------------------------------


def _opted_out() -> ColumnElement[bool]:
    return exists().where(
        contact_addresses.c.contact_id == contacts.c.id,
        opt_outs.c.user_id == contacts.c.user_id,
        opt_outs.c.address_key == contact_addresses.c.address,
        opt_outs.c.ended_at.is_(None),
    )


COLUMNS = (
    contacts.c.id,
    contacts.c.user_id,
    contacts.c.address,
    contacts.c.phone,
    contacts.c.lid,
    contacts.c.is_group,
    contacts.c.name,
    contacts.c.pushname,
    contacts.c.notes,
    contacts.c.labels,
    contacts.c.blocked_at,
    _opted_out().label("opted_out"),
    contacts.c.unread,
    contacts.c.of_number,
)
