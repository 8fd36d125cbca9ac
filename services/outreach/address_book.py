"""People and groups that the actor's session knows: from its conversations and from its phone's address book."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import func, or_, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.contacts import contacts as contact_rows
from services.db.tables.fleet import sessions as session_rows
from services.errors import ConfigurationError
from services.fleet.checks import check_if_disconnected
from services.fleet.session import Status
from services.outreach.recipient_row import RecipientRow, parse_address
from services.wppconnect.errors import WppError
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class KnownContact:
    """Somebody, or a group, whom the session knows. `address`: digits, a person's `…@lid` where their number is not
    known, or a group's `…@g.us`."""

    address: str
    name: str | None = field(default=None, repr=False)


def list_people(actor: Actor) -> list[KnownContact]:
    """The people of the actor's conversations and of their phone's address book, by name.

    Where the server does not answer, those of the conversations.
    """
    found = {one.address: one for one in _list_server_contacts(actor, groups=False)}
    for one in _list_stored_contacts(actor, groups=False):
        found[one.address] = one if one.name else replace(one, name=_known_name(found, one.address))
    return _sort_by_name(found.values())


def list_groups(actor: Actor) -> list[KnownContact]:
    """The groups that the actor's session is in, by name. Where the server does not answer, those that wrote."""
    found = {one.address: one for one in _list_stored_contacts(actor, groups=True)}
    for one in _list_server_contacts(actor, groups=True):
        found[one.address] = one if one.name else replace(one, name=_known_name(found, one.address))
    return _sort_by_name(found.values())


def rows_from_contacts(found: Iterable[KnownContact]) -> tuple[RecipientRow, ...]:
    """People and groups that were chosen, to be examined."""
    return tuple(RecipientRow(row, one.address, one.name) for row, one in enumerate(found, 1))


def _known_name(found: Mapping[str, KnownContact], address: str) -> str | None:
    return found[address].name if address in found else None


def _sort_by_name(found: Iterable[KnownContact]) -> list[KnownContact]:
    return sorted(found, key=lambda one: (one.name is None, (one.name or one.address).casefold()))


def _list_stored_contacts(actor: Actor, *, groups: bool) -> list[KnownContact]:
    address = contact_rows.c.address if groups else func.coalesce(contact_rows.c.phone, contact_rows.c.lid)
    query = select(
        address.label("address"),
        func.coalesce(contact_rows.c.name, contact_rows.c.pushname).label("name"),
    ).where(
        contact_rows.c.user_id == actor.user_id,
        contact_rows.c.is_group == groups,
        contact_rows.c.blocked_at.is_(None),
        contact_rows.c.of_number.is_(None),
        address.is_not(None),
        # Who only spoke in a group is nobody that the owner knows.
        or_(contact_rows.c.last_message_at.is_not(None), contact_rows.c.name.is_not(None)),
    )
    with transaction(actor) as tx:
        return read_rows(KnownContact, tx.execute(query))


def _list_server_contacts(actor: Actor, *, groups: bool) -> list[KnownContact]:
    """What the session's server knows, as far as it is connected and answers."""
    line = get_session_row(actor)
    if line is None or line.status != Status.CONNECTED:
        return []
    try:
        if groups:
            with check_if_disconnected(actor, line.session_id):
                chats = get_client().list_chats(line.server_url, line.session_id)
            return [KnownContact(one.id, one.name) for one in chats if one.is_group and parse_address(one.id)]
        with check_if_disconnected(actor, line.session_id):
            book = get_client().all_contacts(line.server_url, line.session_id)
    except (WppError, ConfigurationError) as error:
        log.info("book_unanswered", groups=groups, error=type(error).__name__)
        return []
    phones = ((parse_address(one.id), one.name) for one in book if one.id.endswith("@c.us"))
    return [KnownContact(phone, name) for phone, name in phones if phone]


def get_session_row(actor: Actor) -> Any:
    """The id, name, server and status of the actor's session, or None."""
    query = select(
        session_rows.c.id, session_rows.c.session_id, session_rows.c.server_url, session_rows.c.status
    ).where(session_rows.c.user_id == actor.user_id)
    with transaction(actor) as tx:
        return tx.execute(query).one_or_none()
