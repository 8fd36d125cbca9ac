"""Conversations by the API: chats, threads, replies, reactions."""

from datetime import datetime
from typing import Self
from uuid import UUID, uuid4

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.contacts import contacts
from services.contacts.contacts import Contact
from services.inbound import conversation_actions, conversations
from services.inbound.conversations import Chat, Cursor, ThreadMessage
from services.messaging.state import Direction, State
from web.api.operation import IDEMPOTENCY_HEADER, Call, Operation
from web.api.responses import answer
from web.api.schemas import DoneShape, Input, MessageShape, PageQuery, decode_cursor, encode_cursor, read_time

CHATS = "/functions/v1/conversas-whatsapp"
MESSAGES = "/functions/v1/mensagens-whatsapp"


class ChatQuery(Input):
    search: str = Field("", max_length=100, description="A part of a name, a label or a number.")
    number: str | None = Field(
        None,
        pattern="^[0-9]{6,20}$",
        description="Those of an earlier number (digits), which are only read; missing: the present one's.",
    )
    cursor: str | None = PageQuery.model_fields["cursor"]  # type: ignore[assignment]


class ThreadQuery(Input):
    limit: int = Field(40, ge=1, le=1000, description="How many of its newest messages.")


class SearchQuery(Input):
    words: str = Field("", max_length=200, description="Every word must be in the message, in any form of it.")


class ReplyBody(Input):
    message: str = Field(max_length=100_000)
    quoted_wpp_id: str | None = Field(None, max_length=512, description="`wpp_id` of the message that it answers.")


class ReactionBody(Input):
    emoji: str = Field(max_length=16, description="One of those that WhatsApp offers; empty takes it back.")


class ContactBody(Input):
    name: str = Field("", max_length=500, description="Empty: what it calls itself.")
    notes: str = Field("", max_length=10_000)
    labels: list[str] = Field(default_factory=list, max_length=100)


class BlockBody(Input):
    blocked: bool


class ContactShape(BaseModel):
    """One person or group."""

    id: UUID
    phone: str | None = Field(description="Digits, once known; null for groups.")
    is_group: bool
    name: str | None = Field(description="As its owner calls it.")
    pushname: str | None = Field(description="As it calls itself.")
    notes: str
    labels: list[str]
    blocked: bool
    opted_out: bool
    unread: int
    of_earlier_number: bool = Field(description="The session was another number then: it is only read.")

    @classmethod
    def of(cls, contact: Contact) -> Self:
        return cls(
            id=contact.id,
            phone=contact.phone,
            is_group=contact.is_group,
            name=contact.name,
            pushname=contact.pushname,
            notes=contact.notes,
            labels=list(contact.labels),
            blocked=contact.blocked_at is not None,
            opted_out=contact.opted_out,
            unread=contact.unread,
            of_earlier_number=contact.of_number is not None,
        )


class ChatShape(BaseModel):
    contact: ContactShape
    last_message_at: datetime | None
    last_kind: str | None
    last_message: str | None = Field(description="Cut.")

    @classmethod
    def of(cls, chat: Chat) -> Self:
        return cls(
            contact=ContactShape.of(chat.contact),
            last_message_at=chat.last_message_at,
            last_kind=chat.last.kind if chat.last else None,
            last_message=chat.last.text if chat.last else None,
        )


class ChatPage(BaseModel):
    items: list[ChatShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


class ThreadMessageShape(BaseModel):
    """One message of a thread."""

    message: MessageShape
    wpp_id: str | None = Field(description="Its name in WhatsApp, once it has one.")
    at: datetime = Field(description="When it was said.")
    reactions: dict[str, int]
    revoked_at: datetime | None
    edited_at: datetime | None

    @classmethod
    def of(cls, thread_message: ThreadMessage) -> Self:
        return cls(
            message=MessageShape.of(thread_message.message),
            wpp_id=thread_message.wpp_id,
            at=thread_message.at,
            reactions=dict(thread_message.annotations.reactions),
            revoked_at=thread_message.annotations.revoked_at,
            edited_at=thread_message.annotations.edited_at,
        )


class ThreadShape(BaseModel):
    contact: ContactShape
    items: list[ThreadMessageShape] = Field(description="The oldest of them first.")
    more: bool = Field(description="There are older ones: ask for more.")


class SearchHitShape(BaseModel):
    message_id: UUID
    contact_id: UUID
    at: datetime
    direction: Direction
    author: str | None = Field(description="Who wrote it in a group: a name, or digits.")
    message: str


class SearchHitList(BaseModel):
    items: list[SearchHitShape]


async def list_chats(call: Call) -> Response:
    query: ChatQuery = call.query
    after = Cursor(*decode_cursor(query.cursor, read_time, UUID)) if query.cursor else None
    page = await run_in_threadpool(conversations.list_chats, call.actor, query.search, after, None, query.number)
    return answer(
        ChatPage(
            items=[ChatShape.of(one) for one in page.chats], next=encode_cursor(*page.after) if page.after else None
        )
    )


async def thread(call: Call) -> Response:
    found = await run_in_threadpool(conversations.get_thread, call.actor, call.id, call.query.limit)
    return answer(
        ThreadShape(
            contact=ContactShape.of(found.contact),
            items=[ThreadMessageShape.of(one) for one in found.messages],
            more=found.more,
        )
    )


async def mark_read(call: Call) -> Response:
    await run_in_threadpool(contacts.get, call.actor, call.id)
    await run_in_threadpool(contacts.mark_read, call.actor, call.id)
    return answer(DoneShape())


async def save_contact(call: Call) -> Response:
    wanted: ContactBody = call.body
    await run_in_threadpool(contacts.save, call.actor, call.id, wanted.name, wanted.notes, wanted.labels)
    return await _contact_response(call)


async def block_contact(call: Call) -> Response:
    await run_in_threadpool(lambda: contacts.block(call.actor, call.id, blocked=call.body.blocked))
    return await _contact_response(call)


async def opt_out_contact(call: Call) -> Response:
    await run_in_threadpool(contacts.opt_out, call.actor, call.id)
    return await _contact_response(call)


async def _contact_response(call: Call) -> Response:
    return answer(ContactShape.of(await run_in_threadpool(contacts.get, call.actor, call.id)))


async def fetch_file(call: Call) -> Response:
    await run_in_threadpool(conversation_actions.request_file, call.actor, call.id)
    return answer(DoneShape(), 202)


async def reply(call: Call) -> Response:
    key = call.request.headers.get("idempotency-key") or uuid4().hex
    wanted: ReplyBody = call.body
    queued = await run_in_threadpool(
        conversation_actions.reply, call.actor, call.id, wanted.message, key, wanted.quoted_wpp_id
    )
    return answer(MessageShape.of(queued), 200 if queued.state is not State.QUEUED else 202)


async def search(call: Call) -> Response:
    found = await run_in_threadpool(conversations.search_messages, call.actor, call.query.words)
    items = [
        SearchHitShape(
            message_id=one.message_id,
            contact_id=one.contact_id,
            at=one.at,
            direction="out" if one.outgoing else "in",
            author=one.author,
            message=one.text,
        )
        for one in found
    ]
    return answer(SearchHitList(items=items))


async def react(call: Call) -> Response:
    await run_in_threadpool(conversation_actions.react, call.actor, call.id, call.body.emoji)
    return answer(DoneShape())


OPERATIONS = (
    Operation(
        "GET", CHATS, "chats", "Conversations, the newest first, by pages", Scope.READ, list_chats, {200: ChatPage},
        query=ChatQuery,
    ),
    Operation(
        "GET", f"{CHATS}/{{id}}", "thread", "One conversation's newest messages", Scope.READ, thread,
        {200: ThreadShape}, (404,), query=ThreadQuery,
    ),
    Operation(
        "POST", f"{CHATS}/{{id}}/lida", "mark_read", "Nothing of it is unread any more", Scope.SEND, mark_read,
        {200: DoneShape}, (404,),
    ),
    Operation(
        "PUT", f"{CHATS}/{{id}}", "save_contact", "Its name, notes and labels, as its owner calls it", Scope.SEND,
        save_contact,
        {200: ContactShape}, (404,), ContactBody,
    ),
    Operation(
        "PATCH", f"{CHATS}/{{id}}", "block", "Write nothing to it, or let it in again", Scope.SEND, block_contact,
        {200: ContactShape}, (404,), BlockBody,
    ),
    Operation(
        "POST", f"{CHATS}/{{id}}/silencio", "opt_out", "It asked not to be written to again", Scope.SEND,
        opt_out_contact, {200: ContactShape}, (404,),
    ),
    Operation(
        "POST", f"{MESSAGES}/{{id}}/arquivo", "fetch_file", "Have the file fetched that did not come along", Scope.SEND,
        fetch_file, {202: DoneShape}, (404,),
    ),
    Operation(
        "POST", f"{CHATS}/{{id}}/responder", "reply", "Queue an answer", Scope.SEND, reply,
        {200: MessageShape, 202: MessageShape}, (404, 409), ReplyBody, headers=IDEMPOTENCY_HEADER,
    ),
    Operation(
        "GET", f"{MESSAGES}/busca", "search", "The newest messages with every word", Scope.READ, search,
        {200: SearchHitList}, query=SearchQuery,
    ),
    Operation(
        "POST", f"{MESSAGES}/{{id}}/reacao", "react", "React to a message", Scope.SEND, react, {200: DoneShape},
        (404, 409, 502, 504), ReactionBody,
    ),
)  # fmt: skip
