"""How the people of a group are called: by their owner, by themselves, or as the owner's own number."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.contacts import contact_addresses, contacts
from services.db.tables.fleet import sessions
from services.wppconnect.phone import get_address_key, is_same_subscriber


@dataclass(frozen=True)
class PeopleNames:
    """Names of people by the addresses they were asked for with; `own`: the addresses that are the owner's."""

    by_address: Mapping[str, str] = field(default_factory=dict, repr=False)
    own: frozenset[str] = frozenset()


def get_names(actor: Actor, whose: UUID, addresses: Collection[str]) -> PeopleNames:
    """The names of those of `addresses` whom `whose` has as contacts, as far as the actor may see them."""
    if not addresses:
        return PeopleNames()
    keys = {one: get_address_key(one) for one in addresses}
    called = func.coalesce(func.nullif(contacts.c.name, ""), func.nullif(contacts.c.pushname, ""))
    named = (
        select(contact_addresses.c.address, called.label("called"))
        .join(contacts, contacts.c.id == contact_addresses.c.contact_id)
        .where(
            contact_addresses.c.user_id == whose, contact_addresses.c.address.in_(keys.values()), called.is_not(None)
        )
    )
    with transaction(actor) as tx:
        rows = tx.execute(named).all()
        own = tx.execute(select(sessions.c.phone_number).where(sessions.c.user_id == whose)).scalars().all()
    names = {row.address: row.called for row in rows}
    return PeopleNames(
        {one: names[key] for one, key in keys.items() if key in names},
        frozenset(one for one in addresses for number in own if number and is_same_subscriber(one, number)),
    )
