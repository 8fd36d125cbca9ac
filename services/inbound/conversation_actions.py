"""What a user does in a thread: react, reply, and request a file that is missing."""

from uuid import UUID

from sqlalchemy import and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from services.contacts import contacts
from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.contacts import contacts as contact_rows
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.inbound import message_annotations
from services.db.tables.messaging import messages as message_rows
from services.errors import N_, Conflict, InvalidInput, NotFound
from services.fleet.checks import check_if_disconnected
from services.fleet.session import Status
from services.inbound.annotations import ME
from services.messaging import outbox
from services.messaging.content import Content
from services.messaging.state import Message
from services.wppconnect.phone import ChatKind, get_chat_kind
from services.wppconnect.shared import get_client

NAME_LIMIT = 80
EMOJIS = ("👍", "❤️", "😂", "😮", "😢", "🙏")


class CannotReact(Conflict):
    code = "sem_reacao"
    message = N_("Não dá para reagir a esta mensagem.")
    hint = N_("Ela ainda não saiu, ou o WhatsApp está desconectado.")


class CannotReply(Conflict):
    code = "sem_resposta"
    message = N_("Não dá para escrever a este contato por aqui.")
    hint = N_("Ele está bloqueado, é um canal ou uma lista em que só se lê, ou a conversa é de um número anterior.")


def react(actor: Actor, message_id: UUID, emoji: str) -> None:
    """React to a message with one of EMOJIS; an empty text takes the reaction back.

    Raises: NotFound, InvalidInput, CannotReact where WhatsApp did not take it.
    """
    if emoji and emoji not in EMOJIS:
        raise InvalidInput("an emoji that is not offered")
    wanted = select(
        message_rows.c.session_id,
        message_rows.c.wpp_id,
        session_rows.c.session_id.label("name"),
        session_rows.c.server_url,
        session_rows.c.status,
        contact_rows.c.of_number,
    )
    wanted = wanted.join(session_rows, session_rows.c.id == message_rows.c.session_id)
    wanted = wanted.outerjoin(contact_rows, contact_rows.c.id == message_rows.c.contact_id)
    with transaction(actor) as tx:
        row = tx.execute(
            wanted.where(message_rows.c.id == message_id, message_rows.c.user_id == actor.user_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}")
    if row.wpp_id is None or row.status != Status.CONNECTED or row.of_number is not None:
        raise CannotReact("nothing to react to")
    with check_if_disconnected(actor, row.name):
        get_client().react(row.server_url, row.name, row.wpp_id, emoji)
    made = insert(message_annotations).values(
        session_id=row.session_id,
        wpp_id=row.wpp_id,
        kind="reaction",
        author=ME,
        user_id=actor.user_id,
        occurred_at=func.now(),
        value={"emoji": emoji},
    )
    changed = {"occurred_at": made.excluded.occurred_at, "value": made.excluded.value}
    with transaction(actor) as tx:
        tx.execute(made.on_conflict_do_update(index_elements=["session_id", "wpp_id", "kind", "author"], set_=changed))


def reply(actor: Actor, contact_id: UUID, body: str, key: str, quoted_wpp_id: str | None = None) -> Message:
    """Queue a text to a contact, also to one without a known number, as an answer to the message with `quoted_wpp_id`
    where one is given.

    Raises: what `outbox.queue` raises; NotFound for an unknown contact; CannotReply where it cannot or may not be
        written to.
    """
    found = contacts.get(actor, contact_id)
    to = _get_answerable_address(found)
    unwritable = found.blocked_at is not None or found.of_number is not None
    if to is None or unwritable or found.user_id != actor.user_id:
        raise CannotReply("only read, blocked, or of an earlier number")
    content = Content(body=body, quoted_wpp_id=quoted_wpp_id)
    return outbox.queue(actor, to, content, key, (found.name or found.pushname or "")[:NAME_LIMIT] or None)


def _get_answerable_address(contact: Contact) -> str | None:
    """What names the contact among recipients. Where the message goes is said when it leaves: to the address that they
    wrote from, or as WhatsApp answers."""
    if get_chat_kind(contact.address) not in (ChatKind.PERSON, ChatKind.GROUP):
        return None
    if contact.is_group or contact.phone is None:
        return contact.address
    return f"{contact.phone}@c.us"  # not as a person types it: there are numbers that today's plan does not have


def request_file(actor: Actor, message_id: UUID) -> None:
    """Have the file of a message fetched, that did not come along.

    Raises: NotFound.
    """
    mine = and_(message_rows.c.id == message_id, message_rows.c.user_id == actor.user_id)
    with transaction(actor) as tx:
        if not tx.execute(update(message_rows).where(mine).values(fetch_at=func.now())).rowcount:
            raise NotFound(f"message {message_id}")
        tx.execute(text("select pg_notify('lookups', '')"))
