"""Why has it not arrived? One message's story by the API, each step with its time and what it proves."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import dossier
from services.diagnostics import Result
from services.keys import Scope
from services.messages import State
from web.answers import answer
from web.conversations import MESSAGES
from web.operations import Call, Operation


class MomentShape(BaseModel):
    at: datetime | None
    what: str = Field(description="In Portuguese.")
    result: Result
    ahead: bool = Field(description="Still to come.")


class DossierShape(BaseModel):
    """A message's story and what it comes to."""

    id: UUID
    state: State
    result: Result
    what: str = Field(description="Why it has not arrived, or that it has, in Portuguese.")
    todo: str = Field(description="What to do, in Portuguese.")
    moments: list[MomentShape] = Field(description="The first on top.")


async def story(call: Call) -> Response:
    found = await run_in_threadpool(dossier.of, call.actor, call.id)
    end = found.conclusion
    return answer(
        DossierShape(
            id=found.id,
            state=found.state,
            result=end.result,
            what=end.what.format(**end.params),
            todo=end.todo.format(**end.params),
            moments=[
                MomentShape(at=one.at, what=one.what.format(**one.params), result=one.result, ahead=one.ahead)
                for one in found.moments
            ],
        )
    )


OPERATIONS = (
    Operation(
        "GET", f"{MESSAGES}/{{id}}/passos", "story", "Why it has not arrived, step by step", Scope.READ, story,
        {200: DossierShape}, (404,),
    ),
)  # fmt: skip
