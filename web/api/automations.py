"""Rules by the API: the automatic reply outside opening hours, labels by keywords, and what they did last."""

from datetime import datetime, time
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.inbound import automations
from services.inbound.automations import Rule, RuleKind, RuleOutcome, RuleUse
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import CLOCK_PATTERN, DoneShape, Input, LimitQuery, SwitchBody

RULES = "/functions/v1/regras-whatsapp"
AUTO_REPLY = "/functions/v1/resposta-automatica-whatsapp"
RULE_USES = "/functions/v1/usos-de-regras-whatsapp"


class OpeningHoursBody(Input):
    opens: str = Field(pattern=CLOCK_PATTERN, description="`08:30`, in the rule's zone.")
    closes: str = Field(pattern=CLOCK_PATTERN)

    def hours(self) -> tuple[time, time]:
        return time.fromisoformat(self.opens), time.fromisoformat(self.closes)


class AutoReplyBody(Input):
    reply: str = Field(max_length=10_000, description="What is answered, up to 1,000 characters.")
    zone: str = Field("America/Sao_Paulo", max_length=64, description="Whose clock the hours are by.")
    hours: list[OpeningHoursBody | None] = Field(
        min_length=7, max_length=7, description="From Monday on; null where it is closed all day."
    )
    active: bool = True


class LabelBody(Input):
    words: list[str] = Field(min_length=1, max_length=100, description="One of them is enough.")
    label: str = Field(max_length=200)


class OpeningHoursShape(BaseModel):
    opens: str
    closes: str


class RuleShape(BaseModel):
    """A rule. An automatic reply has `reply`, `zone` and `hours`, a label `words` and `label`."""

    id: UUID
    kind: RuleKind
    active: bool
    reply: str
    zone: str
    hours: list[OpeningHoursShape | None]
    words: list[str]
    label: str

    @classmethod
    def of(cls, rule: Rule) -> Self:
        return cls(
            id=rule.id,
            kind=rule.kind,
            active=rule.active,
            reply=rule.reply,
            zone=rule.zone,
            hours=[
                day and OpeningHoursShape(opens=day[0].isoformat("minutes"), closes=day[1].isoformat("minutes"))
                for day in rule.hours
            ],
            words=list(rule.words),
            label=rule.label,
        )


class RuleList(BaseModel):
    items: list[RuleShape] = Field(description="The automatic reply first, then the labels by age.")


class RuleUseShape(BaseModel):
    """What a rule did with one message, or why it withheld a reply."""

    at: datetime
    kind: RuleKind
    what: RuleOutcome
    contact_id: UUID
    message_id: UUID | None = Field(description="The reply.")

    @classmethod
    def of(cls, use: RuleUse) -> Self:
        return cls(at=use.at, kind=use.kind, what=use.what, contact_id=use.contact_id, message_id=use.message_id)


class RuleUseList(BaseModel):
    items: list[RuleUseShape] = Field(description="The newest first.")


async def list_rules(call: Call) -> Response:
    return answer(await _rule_list(call))


async def save_auto_reply(call: Call) -> Response:
    wanted: AutoReplyBody = call.body
    hours = tuple(day.hours() if day else None for day in wanted.hours)
    await run_in_threadpool(
        lambda: automations.save_auto_reply(call.actor, wanted.reply, wanted.zone, hours, active=wanted.active)
    )
    return answer(await _rule_list(call))


async def create_label(call: Call) -> Response:
    await run_in_threadpool(automations.add_label, call.actor, call.body.words, call.body.label)
    return answer(await _rule_list(call))


async def switch(call: Call) -> Response:
    await run_in_threadpool(lambda: automations.set_active(call.actor, call.id, on=call.body.active))
    return answer(await _rule_list(call))


async def remove(call: Call) -> Response:
    await run_in_threadpool(automations.delete_rule, call.actor, call.id)
    return answer(DoneShape())


async def uses(call: Call) -> Response:
    found = await run_in_threadpool(automations.list_uses, call.actor, call.query.limit)
    return answer(RuleUseList(items=[RuleUseShape.of(one) for one in found]))


async def _rule_list(call: Call) -> RuleList:
    found = await run_in_threadpool(automations.list_rules, call.actor)
    return RuleList(items=[RuleShape.of(one) for one in found])


OPERATIONS = (
    Operation("GET", RULES, "rules", "All rules", Scope.READ, list_rules, {200: RuleList}),
    Operation(
        "POST", RULES, "new_label", "Put a label on whoever writes one of these words", Scope.SEND, create_label,
        {200: RuleList}, body=LabelBody,
    ),
    Operation(
        "PUT", AUTO_REPLY, "auto_reply", "What is answered outside the hours; there is one", Scope.SEND,
        save_auto_reply,
        {200: RuleList}, body=AutoReplyBody,
    ),
    Operation(
        "GET", RULE_USES, "rule_uses", "What the rules did lately", Scope.READ, uses, {200: RuleUseList},
        query=LimitQuery,
    ),
    Operation(
        "PATCH", f"{RULES}/{{id}}", "switch_rule", "Turn a rule on or off", Scope.SEND, switch, {200: RuleList}, (404,),
        SwitchBody,
    ),
    Operation(
        "DELETE", f"{RULES}/{{id}}", "remove_rule", "Forget it; labels stay on the contacts", Scope.SEND, remove,
        {200: DoneShape}, (404,),
    ),
)  # fmt: skip
