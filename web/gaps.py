"""Gaps by the API: when somebody was away, what was brought back, what could not be, and reading a chat once more."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import backfill, gaps
from services.gaps import Gap, Reason, State
from services.keys import Scope
from web.answers import answer
from web.conversations import CHATS
from web.operations import Call, Operation
from web.shapes import LimitQuery

GAPS = "/functions/v1/lacunas-whatsapp"


class GapShape(BaseModel):
    """A time in which messages may have been missed, and how far reading them back is."""

    id: UUID
    since: datetime
    until: datetime | None
    reason: Reason
    state: State
    next_at: datetime = Field(description="When it is tried (again), while it waits.")
    attempts: int
    chats: int = Field(description="How many were to be read.")
    failed: int = Field(description="How many of them could not be.")
    recovered: int = Field(description="Messages that were missing.")
    why: str | None = Field(description="The newest failure, as a stable code.")

    @classmethod
    def of(cls, gap: Gap) -> Self:
        return cls(
            id=gap.id,
            since=gap.from_at,
            until=gap.to_at,
            reason=gap.reason,
            state=gap.state,
            next_at=gap.next_at,
            attempts=gap.attempts,
            chats=gap.chats,
            failed=gap.failed,
            recovered=gap.recovered,
            why=gap.why,
        )


class GapList(BaseModel):
    items: list[GapShape] = Field(description="The newest first.")


class LostShape(BaseModel):
    address: str = Field(description="The chat, as WhatsApp names it.")
    why: str = Field(description="Why it could not be read, as a stable code.")


class LostList(BaseModel):
    items: list[LostShape]


class AskedShape(BaseModel):
    gap_id: UUID = Field(description="How far it is, `lacunas-whatsapp` tells.")


async def several(call: Call) -> Response:
    found = await run_in_threadpool(gaps.mine, call.actor, call.query.limit)
    return answer(GapList(items=[GapShape.of(one) for one in found]))


async def lost(call: Call) -> Response:
    found = await run_in_threadpool(gaps.lost_chats, call.actor, call.id, call.query.limit)
    return answer(LostList(items=[LostShape(address=one.address, why=one.why) for one in found]))


async def again(call: Call) -> Response:
    return answer(AskedShape(gap_id=await run_in_threadpool(backfill.chat, call.actor, call.id)), 202)


OPERATIONS = (
    Operation(
        "GET", GAPS, "gaps", "When messages may have been missed", Scope.READ, several, {200: GapList}, query=LimitQuery
    ),
    Operation(
        "GET", f"{GAPS}/{{id}}/conversas", "lost_chats", "The chats that could not be read", Scope.READ, lost,
        {200: LostList}, (404,), query=LimitQuery,
    ),
    Operation(
        "POST", f"{CHATS}/{{id}}/releitura", "read_again", "Have a chat's last 30 days read again", Scope.SEND, again,
        {202: AskedShape}, (404, 409),
    ),
)  # fmt: skip
