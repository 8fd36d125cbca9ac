"""What bodies ask to send, as the services take it."""

from collections.abc import Mapping

from services import attachments, media, templates
from services.db.actor import Actor
from services.media import Media
from services.messages import Content, Kind, Origin
from web.shapes import ContentBody


def content_of(actor: Actor, wanted: ContentBody, values: Mapping[str, str]) -> tuple[Content, Origin | None]:
    """The content, and the template (filled with `values`) that it came from. Raises as `templates.render`."""
    if wanted.template_id is None:
        return written(actor, wanted), None
    template = templates.get(actor, wanted.template_id)
    return templates.own(actor, templates.render(template, values)), template.origin


def written(actor: Actor, wanted: ContentBody) -> Content:
    """The content that a body spells out itself.

    Raises NotFound for a file that is not the actor's, FileOfOtherKind and FileTooBig for one that does not go as this.
    """
    detail = (
        wanted.location if wanted.kind is Kind.LOCATION else wanted.contact if wanted.kind is Kind.CONTACT else None
    )
    file = file_of(actor, wanted.media_id)
    if file is not None:
        attachments.require_fit(wanted.kind, file)
    return Content(wanted.kind, wanted.message, file, wanted.filename, detail.model_dump() if detail else {})


def file_of(actor: Actor, media_id: str | None) -> Media | None:
    """The file that a body names. Raises NotFound."""
    return media.get(actor, bytes.fromhex(media_id)) if media_id else None
