"""Decisions by the API: messages of which nobody knows whether they left, with the evidence, and those that waited too
long to leave by themselves."""

from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import messages
from services.keys import Scope
from services.messages import Choice, Decision
from services.wppconnect.answers import ChatMessage
from web.answers import answer
from web.operations import Call, Operation
from web.shapes import Input, MessageShape

UNCERTAIN = "/functions/v1/incertas-whatsapp"
WAITING = "/functions/v1/em-espera-whatsapp"


class DecisionBody(Input):
    decision: Decision = Field(
        description="`left`: it is in the chat; `again`: it is not, send it anew; `dropped`: let it be."
    )


class UncertainList(BaseModel):
    items: list[MessageShape] = Field(description="The oldest of them first, up to 50.")


class ChoiceBody(Input):
    """About one message, those of one campaign, or all."""

    choice: Choice = Field(description="`send`: they leave as soon as they can; `discard`: they never leave.")
    message_id: UUID | None = None
    campaign_id: UUID | None = None


class QuestionShape(BaseModel):
    campaign_id: UUID | None = Field(description="Null: of no campaign.")
    campaign: str | None
    count: int
    oldest: datetime


class AskedList(BaseModel):
    """Messages that waited too long: they leave when their owner says so, and not before."""

    items: list[MessageShape] = Field(description="The oldest of them first, up to 50.")
    sums: list[QuestionShape] = Field(description="All of them, by campaign.")


class AnsweredShape(BaseModel):
    count: int = Field(description="How many messages it was about; 0 the second time.")


class SaidShape(BaseModel):
    """One message that left, as WhatsApp tells it."""

    at: datetime | None
    kind: str
    message: str

    @classmethod
    def of(cls, said: ChatMessage) -> Self:
        at = datetime.fromtimestamp(said.timestamp, UTC) if said.timestamp else None
        return cls(at=at, kind=said.type, message=(said.body if said.type == "chat" else said.caption) or "")


class SaidList(BaseModel):
    items: list[SaidShape] = Field(description="What left for that recipient around that time, the newest last.")


async def several(call: Call) -> Response:
    found = await run_in_threadpool(messages.uncertain, call.actor)
    return answer(UncertainList(items=[MessageShape.of(one) for one in found]))


async def evidence(call: Call) -> Response:
    said = await run_in_threadpool(messages.chat_of, call.actor, call.id)
    return answer(SaidList(items=[SaidShape.of(one) for one in said]))


async def decide(call: Call) -> Response:
    return answer(MessageShape.of(await run_in_threadpool(messages.decide, call.actor, call.id, call.body.decision)))


async def asked(call: Call) -> Response:
    found = await run_in_threadpool(messages.asked, call.actor)
    sums = [
        QuestionShape(campaign_id=one.campaign_id, campaign=one.campaign, count=one.count, oldest=one.oldest)
        for one in await run_in_threadpool(messages.questions, call.actor)
    ]
    return answer(AskedList(items=[MessageShape.of(one) for one in found], sums=sums))


async def choose(call: Call) -> Response:
    wanted: ChoiceBody = call.body
    one, campaign = wanted.message_id, wanted.campaign_id
    count = await run_in_threadpool(
        lambda: messages.answer(call.actor, wanted.choice, message_id=one, campaign_id=campaign)
    )
    return answer(AnsweredShape(count=count))


OPERATIONS = (
    Operation(
        "GET", WAITING, "asked", "Messages that waited too long and leave only when their owner says so", Scope.READ,
        asked, {200: AskedList},
    ),
    Operation(
        "POST", WAITING, "choose", "Send them now, or discard them", Scope.SEND, choose, {200: AnsweredShape}, (),
        ChoiceBody,
    ),
    Operation(
        "GET", UNCERTAIN, "uncertain", "Messages of which nobody knows whether they left", Scope.READ, several,
        {200: UncertainList},
    ),
    Operation(
        "GET", f"{UNCERTAIN}/{{id}}/conversa", "evidence", "What the chat itself shows, read now", Scope.READ, evidence,
        {200: SaidList}, (404, 409, 502, 504),
    ),
    Operation(
        "POST", f"{UNCERTAIN}/{{id}}/decisao", "decide",
        "End the doubt; with `again` the message that goes in its stead is answered", Scope.SEND, decide,
        {200: MessageShape}, (404, 409), DecisionBody,
    ),
)  # fmt: skip
