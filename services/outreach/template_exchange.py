"""Templates as one JSON text: export with their files, and import."""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ValidationError

from services.db.actor import Actor
from services.messaging import attachments
from services.messaging.content import Kind
from services.outreach.errors import UnreadableList
from services.outreach.template_content import Template, TemplateDraft, check_draft
from services.outreach.templates import save, with_attachment
from services.platform import media_store

MAX_IMPORTED = 200
EXPORT_FORMAT = "plushify-templates"


class _ExportedTemplate(BaseModel):
    """One template in a file."""

    name: str
    body: str
    kind: Kind = Kind.TEXT
    defaults: dict[str, str | None] = {}
    filename: str | None = None
    file: str | None = None


class _ExportFile(BaseModel):
    """What `export_json` writes. `file` is base64."""

    format: Literal["plushify-templates"]
    templates: list[_ExportedTemplate]


def export_json(actor: Actor, chosen: Iterable[Template]) -> str:
    """`chosen` with their files as one JSON text, for `import_json`.

    Raises: what `media_store.read` raises.
    """
    made = _ExportFile(format=EXPORT_FORMAT, templates=[_exported_template(actor, one) for one in chosen])
    return json.dumps(made.model_dump(mode="json"), ensure_ascii=False, indent=2)


def import_json(actor: Actor, written: str | bytes) -> list[Template]:
    """Make the actor's own templates from what `export_json` wrote: all of them, or none where one is not right.

    Raises: UnreadableList for anything else; what `templates.save`, `attachments.prepare` and `media_store.save` raise.
    """
    try:
        found = _ExportFile.model_validate_json(written).templates
        files = [base64.b64decode(one.file, validate=True) if one.file else None for one in found]
    except (ValidationError, binascii.Error) as error:
        raise UnreadableList(type(error).__name__) from None
    if not 0 < len(found) <= MAX_IMPORTED:
        raise UnreadableList(f"{len(found)} templates")
    drafts = [check_draft(_draft_from_export(actor, one, file)) for one, file in zip(found, files, strict=True)]
    return [save(actor, one) for one in drafts]


def _exported_template(actor: Actor, template: Template) -> _ExportedTemplate:
    found = template.media
    content = media_store.read(actor, found.sha256, found.user_id) if found else None
    return _ExportedTemplate(
        name=template.name,
        body=template.body,
        kind=template.kind,
        defaults=dict(template.defaults),
        filename=template.filename,
        file=base64.b64encode(content).decode() if content else None,
    )


def _draft_from_export(actor: Actor, one: _ExportedTemplate, file: bytes | None) -> TemplateDraft:
    draft = TemplateDraft(one.name, one.body, one.kind, None, one.filename, one.defaults)
    if file is None:
        return draft
    return with_attachment(actor, draft, attachments.prepare(one.kind, file, one.filename or ""))
