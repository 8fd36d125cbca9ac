"""How the people of a group are called: by their owner, by themselves, or as the owner's own number."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, or_, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.contacts import contacts
from services.db.tables.fleet import sessions
from services.wppconnect.phone import get_phone_of_address, is_same_subscriber


@dataclass(frozen=True)
class PeopleNames:
    """Names of people by the addresses they were asked for with; `own`: the addresses that are the owner's."""

    by_address: Mapping[str, str] = field(default_factory=dict, repr=False)
    own: frozenset[str] = frozenset()


def get_names(actor: Actor, whose: UUID, addresses: Collection[str]) -> PeopleNames:
    """The names of those of `addresses` whom `whose` has as contacts, as far as the actor may see them."""
    if not addresses:
        return PeopleNames()
    phones = {phone for one in addresses if (phone := get_phone_of_address(one)) is not None}
    called = func.coalesce(func.nullif(contacts.c.name, ""), func.nullif(contacts.c.pushname, ""))
    named = select(contacts.c.address, contacts.c.phone, contacts.c.lid, called.label("called")).where(
        contacts.c.user_id == whose,
        called.is_not(None),
        or_(contacts.c.address.in_(addresses), contacts.c.lid.in_(addresses), contacts.c.phone.in_(phones)),
    )
    with transaction(actor) as tx:
        rows = tx.execute(named).all()
        own = tx.execute(select(sessions.c.phone_number).where(sessions.c.user_id == whose)).scalars().all()
    names = {name: row.called for row in rows for name in (row.address, row.phone, row.lid) if name}
    return PeopleNames(
        {one: name for one in addresses if (name := names.get(one) or names.get(get_phone_of_address(one) or ""))},
        frozenset(one for one in addresses for number in own if number and is_same_subscriber(one, number)),
    )
