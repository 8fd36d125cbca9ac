"""The people in a conversation: who wrote, who is quoted, and who is mentioned."""

import re
from collections.abc import Iterable, Iterator

from services.contacts import contact_names
from services.contacts.contact_names import PeopleNames
from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.inbound.conversations import Thread
from services.messaging.state import Message
from services.wppconnect import payload_fields
from services.wppconnect.phone import format_phone, get_phone_of_address, is_same_subscriber
from ui.inbound.message_words import contact_name
from ui.kit.i18n import _

_MENTION = re.compile(r"@([0-9]+)")


def find_people(actor: Actor, thread: Thread) -> PeopleNames:
    """Names for everybody whom the messages of a thread name by an address: contacts by their names, others by how
    they called themselves in it."""
    messages = [one.message for one in thread.messages]
    known = contact_names.get_names(actor, thread.contact.user_id, set(_list_addresses(messages)))
    said = {author: name for one in messages if (author := get_author(one)) and (name := _get_stated_name(one))}
    return PeopleNames({**said, **known.by_address}, known.own)


def _list_addresses(messages: Iterable[Message]) -> Iterator[str]:
    for one in messages:
        yield from one.detail.get("mentions", ())
        for address in (get_author(one), one.detail.get("quoted", {}).get("author")):
            if address:
                yield address


def get_author(message: Message) -> str | None:
    """The address of who wrote a message to a chat of several people."""
    author: str | None = message.detail.get("author")
    return author


def author_name(message: Message, people: PeopleNames) -> str:
    """Who wrote a message to a chat of several people: by name, else by number; empty where nothing is known."""
    author = get_author(message)
    if author is None:
        return _get_stated_name(message) or ""
    return people.by_address.get(author) or _get_stated_name(message) or address_name(author)


def address_name(address: str) -> str:
    """A number as it is written, for an address that has one; the digits of others say nothing to anybody."""
    phone = get_phone_of_address(address)
    return (
        format_phone(phone)
        if phone
        else _("Participante sem número …{digits}").format(digits=address.partition("@")[0][-4:])
    )


def quoted_name(address: str | None, contact: Contact, people: PeopleNames) -> str:
    """Who wrote what a message answers; empty where it is not known."""
    if not address:
        return ""
    if address in people.own:
        return _("Você")
    if not contact.is_group and _is_contact(address, contact):
        return contact_name(contact)
    return people.by_address.get(address) or address_name(address)


def name_mentions(message: Message, people: PeopleNames) -> str:
    """A message's text, with names or written numbers in the place of the digits that WhatsApp has there."""
    mentioned = {address.partition("@")[0]: address for address in message.detail.get("mentions", ())}
    if not mentioned:
        return message.body
    return _MENTION.sub(
        lambda found: f"@{_mention_name(mentioned[found[1]], people)}" if found[1] in mentioned else found[0],
        message.body,
    )


def _mention_name(address: str, people: PeopleNames) -> str:
    if address in people.own:
        return _("Você")
    return people.by_address.get(address) or address_name(address)


def _is_contact(address: str, contact: Contact) -> bool:
    if address in (contact.address, contact.lid):
        return True
    return contact.phone is not None and is_same_subscriber(address, contact.phone)


def _get_stated_name(message: Message) -> str | None:
    return payload_fields.name(message.contact_name)
