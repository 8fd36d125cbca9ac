"""Outages by the API: when messages may have been missed, which came back, which did not, and reading a chat again."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.inbound import backfill, outages
from services.inbound.outages import OutageReason, OutageState, SessionOutage
from web.api.conversations import CHATS
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import LimitQuery

OUTAGES = "/functions/v1/lacunas-whatsapp"


class OutageShape(BaseModel):
    """A time in which messages may have been missed, and how far reading them back is."""

    id: UUID
    since: datetime
    until: datetime | None
    reason: OutageReason
    state: OutageState
    next_at: datetime = Field(description="When it is tried (again), while it waits.")
    attempts: int
    chats: int = Field(description="How many were to be read.")
    failed: int = Field(description="How many of them could not be.")
    recovered: int = Field(description="Messages that were missing.")
    why: str | None = Field(description="The newest failure, as a stable code.")

    @classmethod
    def of(cls, outage: SessionOutage) -> Self:
        return cls(
            id=outage.id,
            since=outage.from_at,
            until=outage.to_at,
            reason=outage.reason,
            state=outage.state,
            next_at=outage.next_at,
            attempts=outage.attempts,
            chats=outage.chats,
            failed=outage.failed,
            recovered=outage.recovered,
            why=outage.failure,
        )


class OutageList(BaseModel):
    items: list[OutageShape] = Field(description="The newest first.")


class LostChatShape(BaseModel):
    address: str = Field(description="The chat, as WhatsApp names it.")
    why: str = Field(description="Why it could not be read, as a stable code.")


class LostChatList(BaseModel):
    items: list[LostChatShape]


class RereadShape(BaseModel):
    outage_id: UUID = Field(description="How far it is, `lacunas-whatsapp` tells.")


async def list_outages(call: Call) -> Response:
    found = await run_in_threadpool(outages.list_own, call.actor, call.query.limit)
    return answer(OutageList(items=[OutageShape.of(one) for one in found]))


async def list_lost_chats(call: Call) -> Response:
    found = await run_in_threadpool(outages.list_lost_chats, call.actor, call.id, call.query.limit)
    return answer(LostChatList(items=[LostChatShape(address=one.address, why=one.failure) for one in found]))


async def reread_chat(call: Call) -> Response:
    return answer(RereadShape(outage_id=await run_in_threadpool(backfill.request_chat, call.actor, call.id)), 202)


OPERATIONS = (
    Operation(
        "GET", OUTAGES, "outages", "When messages may have been missed", Scope.READ, list_outages, {200: OutageList},
        query=LimitQuery
    ),
    Operation(
        "GET", f"{OUTAGES}/{{id}}/conversas", "lost_chats", "The chats that could not be read", Scope.READ,
        list_lost_chats,
        {200: LostChatList}, (404,), query=LimitQuery,
    ),
    Operation(
        "POST", f"{CHATS}/{{id}}/releitura", "read_again", "Have a chat's last 30 days read again", Scope.SEND,
        reread_chat,
        {202: RereadShape}, (404, 409),
    ),
)  # fmt: skip
