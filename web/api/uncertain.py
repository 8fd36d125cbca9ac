"""Decisions by the API about messages that are uncertain, with their facts, and about those that waited too long."""

from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.messaging import overdue, uncertain
from services.messaging.overdue import OverdueChoice
from services.messaging.uncertain import Decision
from services.wppconnect.results import ChatMessage
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import Input, MessageShape

UNCERTAIN = "/functions/v1/incertas-whatsapp"
OVERDUE = "/functions/v1/em-espera-whatsapp"


class DecisionBody(Input):
    decision: Decision = Field(
        description="`left`: it is in the chat; `again`: it is not, send it anew; `dropped`: let it be."
    )


class UncertainList(BaseModel):
    items: list[MessageShape] = Field(description="The oldest of them first, up to 50.")


class OverdueChoiceBody(Input):
    """About one message, those of one campaign, or all."""

    choice: OverdueChoice = Field(description="`send`: they leave as soon as they can; `discard`: they never leave.")
    message_id: UUID | None = None
    campaign_id: UUID | None = None


class OverdueGroupShape(BaseModel):
    campaign_id: UUID | None = Field(description="Null: of no campaign.")
    campaign: str | None
    count: int
    oldest: datetime


class OverdueList(BaseModel):
    """Messages that waited too long: they leave when their owner says so, and not before."""

    items: list[MessageShape] = Field(description="The oldest of them first, up to 50.")
    sums: list[OverdueGroupShape] = Field(description="All of them, by campaign.")


class DecidedShape(BaseModel):
    count: int = Field(description="How many messages it was about; 0 the second time.")


class ChatMessageShape(BaseModel):
    """One message that left, as WhatsApp tells it."""

    at: datetime | None
    kind: str
    message: str

    @classmethod
    def of(cls, said: ChatMessage) -> Self:
        at = datetime.fromtimestamp(said.timestamp, UTC) if said.timestamp else None
        return cls(at=at, kind=said.type, message=(said.body if said.type == "chat" else said.caption) or "")


class ChatMessageList(BaseModel):
    items: list[ChatMessageShape] = Field(description="What left for that recipient around that time, the newest last.")


async def list_uncertain(call: Call) -> Response:
    found = await run_in_threadpool(uncertain.list_uncertain, call.actor)
    return answer(UncertainList(items=[MessageShape.of(one) for one in found]))


async def read_chat(call: Call) -> Response:
    said = await run_in_threadpool(uncertain.read_chat, call.actor, call.id)
    return answer(ChatMessageList(items=[ChatMessageShape.of(one) for one in said]))


async def decide(call: Call) -> Response:
    return answer(MessageShape.of(await run_in_threadpool(uncertain.decide, call.actor, call.id, call.body.decision)))


async def list_overdue(call: Call) -> Response:
    found = await run_in_threadpool(overdue.list_overdue, call.actor)
    sums = [
        OverdueGroupShape(campaign_id=one.campaign_id, campaign=one.campaign, count=one.count, oldest=one.oldest)
        for one in await run_in_threadpool(overdue.list_overdue_groups, call.actor)
    ]
    return answer(OverdueList(items=[MessageShape.of(one) for one in found], sums=sums))


async def decide_overdue(call: Call) -> Response:
    wanted: OverdueChoiceBody = call.body
    one, campaign = wanted.message_id, wanted.campaign_id
    count = await run_in_threadpool(
        lambda: overdue.decide_overdue(call.actor, wanted.choice, message_id=one, campaign_id=campaign)
    )
    return answer(DecidedShape(count=count))


OPERATIONS = (
    Operation(
        "GET", OVERDUE, "asked", "Messages that waited too long and leave only when their owner says so", Scope.READ,
        list_overdue, {200: OverdueList},
    ),
    Operation(
        "POST", OVERDUE, "choose", "Send them now, or discard them", Scope.SEND, decide_overdue, {200: DecidedShape},
        (),
        OverdueChoiceBody,
    ),
    Operation(
        "GET", UNCERTAIN, "uncertain", "Messages of which nobody knows whether they left", Scope.READ, list_uncertain,
        {200: UncertainList},
    ),
    Operation(
        "GET", f"{UNCERTAIN}/{{id}}/conversa", "evidence", "What the chat itself shows, read now", Scope.READ,
        read_chat,
        {200: ChatMessageList}, (404, 409, 502, 504),
    ),
    Operation(
        "POST", f"{UNCERTAIN}/{{id}}/decisao", "decide",
        "End the doubt; with `again` the message that goes in its stead is answered", Scope.SEND, decide,
        {200: MessageShape}, (404, 409), DecisionBody,
    ),
)  # fmt: skip
