"""Who receives an occurrence of a schedule, and what each recipient gets."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection

from services.db.actor import Actor
from services.errors import InvalidInput, NotFound
from services.messaging.content import TEXT_LIMIT, Content, EmptyMessage, Kind, MessageTooLong
from services.outreach import template_content, templates
from services.outreach.recurrence import ScheduleDraft, ScheduleRecipient
from services.wppconnect.phone import format_phone, get_address_key, read_address

MAX_RECIPIENTS = 100


def copy_template_file(actor: Actor, draft: ScheduleDraft) -> None:
    """A message carries only what is its sender's: the file of a shared template is copied to them."""
    if draft.template_id is not None:
        template = templates.get_template(actor, draft.template_id, draft.template_version)
        templates.with_own_file(actor, Content(template.kind, media=template.media))


def unique_recipients(to: Sequence[ScheduleRecipient]) -> list[ScheduleRecipient]:
    """Each line once, however it was written.

    Raises: InvalidPhone, and InvalidInput for nobody or too many.
    """
    found: dict[str, ScheduleRecipient] = {}
    for one in to:
        address = read_address(f"+{one.phone}" if one.phone.isdecimal() else one.phone)
        found.setdefault(get_address_key(address), ScheduleRecipient(address, one.name, one.values))
    if not 0 < len(found) <= MAX_RECIPIENTS:
        raise InvalidInput(f"{len(found)} recipients")
    return list(found.values())


def render_contents(
    tx: Connection, draft: ScheduleDraft, to: Sequence[ScheduleRecipient], user_id: UUID
) -> list[Content]:
    """What each recipient gets.

    Raises: EmptyMessage, MessageTooLong, NotFound, and what a template raises.
    """
    if draft.template_id is not None:
        template = templates.read_template(tx, draft.template_id, draft.template_version)
        return [_with_own_file(template_content.render(template, _template_values(one)), user_id) for one in to]
    content = draft.content or Content()
    if content.kind is Kind.TEXT and not content.body.strip():
        raise EmptyMessage("empty text")
    if len(content.body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(content.body)} characters", limit=TEXT_LIMIT)
    if content.media is not None and content.media.user_id != user_id:
        raise NotFound("media of somebody else")
    return [content] * len(to)


def _template_values(to: ScheduleRecipient) -> dict[str, str]:
    return {
        template_content.NAME_VARIABLE: to.name or "",
        template_content.PHONE_VARIABLE: "" if to.phone.endswith("@lid") else format_phone(to.phone),
        **to.values,
    }


def _with_own_file(content: Content, user_id: UUID) -> Content:
    """With the copy of a shared template's file that `create` and `change` had put into the sender's own store."""
    if content.media is None:
        return content
    return replace(content, media=replace(content.media, user_id=user_id))
