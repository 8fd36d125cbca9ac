"""What a request body wants to send, as the services take it."""

from collections.abc import Mapping
from typing import Any

from services.db.actor import Actor
from services.messaging import attachments
from services.messaging.content import Content, Kind, Origin
from services.outreach import template_content, templates
from services.platform import media_store
from services.platform.media_store import Media
from services.wppconnect.phone import normalise
from web.api.schemas import ContentBody


def content_from_body(actor: Actor, wanted: ContentBody, values: Mapping[str, str]) -> tuple[Content, Origin | None]:
    """The content, and the template (filled with `values`) that it came from.

    Raises: what `template_content.render` raises.
    """
    if wanted.template_id is None:
        return content_without_template(actor, wanted), None
    template = templates.get_template(actor, wanted.template_id)
    return templates.with_own_file(actor, template_content.render(template, values)), template.origin


def content_without_template(actor: Actor, wanted: ContentBody) -> Content:
    """The content that a body spells out itself.

    Raises: NotFound for a file that is not the actor's, FileOfOtherKind and FileTooBig for one that does not go as
        this, InvalidPhone for a contact card's number.
    """
    file = get_file(actor, wanted.media_id)
    if file is not None:
        attachments.require_fit(wanted.kind, file)
    return Content(wanted.kind, wanted.message, file, wanted.filename, _get_detail(wanted))


def _get_detail(wanted: ContentBody) -> dict[str, Any]:
    if wanted.kind is Kind.LOCATION and wanted.location is not None:
        return wanted.location.model_dump()
    if wanted.kind is Kind.CONTACT and wanted.contact is not None:
        return {"name": wanted.contact.name, "phone": normalise(wanted.contact.phone)}
    return {}


def get_file(actor: Actor, media_id: str | None) -> Media | None:
    """The file that a body names.

    Raises: NotFound.
    """
    return media_store.get(actor, bytes.fromhex(media_id)) if media_id else None
