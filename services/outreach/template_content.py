"""What a template consists of, the check before it is saved, and what a recipient gets from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.errors import InvalidInput
from services.messaging import attachments
from services.messaging.content import TEXT_LIMIT, WITH_FILE, Content, EmptyMessage, Kind, MessageTooLong, Origin
from services.outreach.template_language import RESERVED_NAMES, UnknownVariable, fill, variable_name, variables
from services.platform.media_store import Media
from services.wppconnect.payload_fields import storable

# Every template has these: they come from the recipient.
NAME_VARIABLE, PHONE_VARIABLE = "nome", "telefone"
BUILT_IN_VARIABLES = (NAME_VARIABLE, PHONE_VARIABLE)
TEMPLATE_KINDS = (Kind.TEXT, *WITH_FILE)
NAME_LIMIT = 80
MAX_VARIABLES = 50
VALUE_LIMIT = 1000

_VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class TemplateDraft:
    """What a version is made of. `defaults`: every variable beside `nome` and `telefone` → what stands there when
    nothing is given, None where something must be. `media` is already kept for the owner."""

    name: str
    body: str = field(default="", repr=False)
    kind: Kind = Kind.TEXT
    media: Media | None = None
    filename: str | None = field(default=None, repr=False)
    defaults: Mapping[str, str | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Template:
    """One version of a template; `newest` says which version is the newest one. `media` is its owner's."""

    id: UUID
    user_id: UUID
    shared: bool
    name: str
    version: int
    newest: int
    kind: Kind
    body: str = field(repr=False)
    media: Media | None
    filename: str | None = field(repr=False)
    defaults: Mapping[str, str | None] = field(repr=False)
    created_at: datetime
    archived_at: datetime | None

    @property
    def origin(self) -> Origin:
        """What a message made from it remembers."""
        return Origin(template_id=self.id, template_version=self.version)

    @property
    def draft(self) -> TemplateDraft:
        """Its content, to be changed or saved again."""
        return TemplateDraft(self.name, self.body, self.kind, self.media, self.filename, self.defaults)


def check_draft(draft: TemplateDraft) -> TemplateDraft:
    """`draft` as it may be saved.

    Raises: InvalidInput for a name, a kind, a file name, a variable or a default that is not allowed; EmptyMessage,
        MessageTooLong, TemplateInvalid, UnknownVariable; FileOfOtherKind and FileTooBig for its file.
    """
    name, body = draft.name.strip(), draft.body.strip()
    if not 0 < len(name) <= NAME_LIMIT:
        raise InvalidInput("a template's name has 1 to 80 characters")
    if any(storable(one) != one for one in (name, body, draft.filename or "")):
        raise InvalidInput("signs that no text has")
    _require_file(draft)
    if not body and draft.kind is Kind.TEXT:
        raise EmptyMessage("empty template")
    if len(body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(body)} characters", limit=TEXT_LIMIT)
    defaults = _named_defaults(draft.defaults)
    for one in variables(body):
        if one not in defaults and one not in BUILT_IN_VARIABLES:
            raise UnknownVariable("not among the template's variables", name=one)
    return replace(draft, name=name, body=body, defaults=defaults)


def _require_file(draft: TemplateDraft) -> None:
    if draft.kind not in TEMPLATE_KINDS:
        raise InvalidInput(f"no template is a {draft.kind}")
    if (draft.kind in WITH_FILE) != (draft.media is not None):
        raise EmptyMessage(f"{draft.kind} without its file, or a text with one")
    if draft.media is not None:
        attachments.require_fit(draft.kind, draft.media)


def render(template: Template | TemplateDraft, values: Mapping[str, str]) -> Content:
    """What a recipient with these values gets; the file is still the template's owner's (`templates.with_own_file`).

    Values that are blank count as not given, those of no variable are left alone.

    Raises: MissingVariable, UnknownVariable, TemplateInvalid, EmptyMessage, MessageTooLong.
    """
    given = {variable_name(name): value.strip() for name, value in values.items() if value.strip()}
    body = fill(
        template.body, {**_given_defaults(template.defaults), **given}, (*template.defaults, *BUILT_IN_VARIABLES)
    )
    if not body and template.kind is Kind.TEXT:
        raise EmptyMessage("nothing is left of the text")
    return Content(template.kind, body, template.media, template.filename)


def _given_defaults(defaults: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in defaults.items() if value is not None}


def _named_defaults(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Each variable under the name by which it is called."""
    named = {variable_name(name): value for name, value in given.items()}
    for name in named:
        if not _VARIABLE_NAME.fullmatch(name) or name in RESERVED_NAMES:
            raise InvalidInput("a variable begins with a letter and has letters, digits and _")
    values = [value for value in named.values() if value is not None]
    if len(named) > MAX_VARIABLES or any(len(one) > VALUE_LIMIT or storable(one) != one for one in values):
        raise InvalidInput("at most 50 variables, with defaults of 1000 characters")
    return named
