"""Templates: texts with variables, perhaps with a file, in versions that never change.

A text is written in a small part of Jinja2: variables, five filters and conditions. Everything else (loops, calls,
attributes, arithmetic) is refused when a template is saved, by looking at the parsed text, and the sandbox below it
would refuse what were overlooked. Variables are called without accents and capitals: `{{Endereço}}` is `endereco`.

A template is its owner's; staff may share theirs with everybody. Whoever sends a shared one with a file gets the file
into their own store first (`own`), because a message only carries what is its sender's.
"""

import base64
import binascii
import functools
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NoReturn
from uuid import UUID

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ValidationError
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import Select

from services import attachments, audit, media
from services.attachments import Attachment
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.models import Record, template_versions, templates
from services.db.models import media as media_rows
from services.db.search import containing
from services.errors import (
    EmptyMessage,
    Forbidden,
    InvalidInput,
    MessageTooLong,
    MissingVariable,
    NotFound,
    TemplateInvalid,
    UnknownVariable,
    UnreadableList,
)
from services.media import Media
from services.messages import TEXT_LIMIT, WITH_FILE, Content, Kind, Origin
from services.wppconnect.fields import storable

# Every template has these: they come from the recipient.
NAME, PHONE = "nome", "telefone"
BUILT_IN = (NAME, PHONE)
KINDS = (Kind.TEXT, *WITH_FILE)
NAME_LIMIT = 80
MAX_VARIABLES = 50
VALUE_LIMIT = 1000
MAX_IMPORTED = 200
# Jinja2's parser and Python's compiler recurse; nobody nests conditions so deep.
MAX_DEPTH = 12
FILTERS = ("default", "upper", "lower", "title", "trim")
FORMAT = "plushify-templates"

_VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,39}")
# What Jinja2 itself puts under these names is no value of ours.
_RESERVED = frozenset({"self", "loop", "super", "caller", "varargs", "kwargs"})


@dataclass(frozen=True)
class Draft:
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
    def draft(self) -> Draft:
        """Its content, to be changed or saved again."""
        return Draft(self.name, self.body, self.kind, self.media, self.filename, self.defaults)


# --- what a person does -----------------------------------------------------------------------------------------------


def mine(
    actor: Actor,
    *,
    archived: bool = False,
    search: str = "",
    limit: int | None = None,
    after: tuple[str, UUID] | None = None,
) -> list[Template]:
    """The newest versions of the actor's own templates and of those shared with everybody, by name.

    Or, of their own, those that were archived. At most `limit`, only those whose name or text contains `search`, and
    only those that come after the name and id `after`.
    """
    wanted = _versions().where(template_versions.c.version == templates.c.version)
    if archived:
        wanted = wanted.where(templates.c.user_id == actor.user_id, templates.c.archived_at.is_not(None))
    else:
        wanted = wanted.where(templates.c.archived_at.is_(None))
    if search.strip():
        part = containing(search)
        wanted = wanted.where(or_(templates.c.name.ilike(part), template_versions.c.body.ilike(part)))
    if after is not None:
        wanted = wanted.where(tuple_(*_order()) > tuple_(func.lower(after[0]), after[1]))
    with transaction(actor) as tx:
        rows = tx.execute(wanted.order_by(*_order()).limit(limit)).all()
    return [_template(row) for row in rows]


def portable(actor: Actor) -> list[Template]:
    """The newest versions of the actor's own templates, by name: what they may take elsewhere."""
    return [one for one in mine(actor) if one.user_id == actor.user_id]


def get(actor: Actor, template_id: UUID, version: int | None = None) -> Template:
    """One version of a template (default: the newest), also an archived one. Raises NotFound."""
    with transaction(actor) as tx:
        return read(tx, template_id, version)


def read(tx: Connection, template_id: UUID, version: int | None = None) -> Template:
    """As `get`, inside the caller's transaction, whose role may be the worker's. Raises NotFound."""
    chosen = templates.c.version if version is None else version
    row = tx.execute(
        _versions().where(templates.c.id == template_id, template_versions.c.version == chosen)
    ).one_or_none()
    if row is None:
        raise NotFound(f"template {template_id}")
    return _template(row)


def versions(actor: Actor, template_id: UUID) -> list[Template]:
    """Every version of a template, newest first. Raises NotFound."""
    with transaction(actor) as tx:
        rows = tx.execute(
            _versions().where(templates.c.id == template_id).order_by(template_versions.c.version.desc())
        ).all()
    if not rows:
        raise NotFound(f"template {template_id}")
    return [_template(row) for row in rows]


def save(actor: Actor, draft: Draft, template_id: UUID | None = None) -> Template:
    """Make a template, or the next version of the actor's own; one that says nothing new keeps its version.

    Raises InvalidInput and its kinds (UnknownVariable names a variable that is not among `defaults`), EmptyMessage,
    MessageTooLong, Forbidden, and NotFound for a template or a file of somebody else.
    """
    if actor.user_id is None:
        raise Forbidden("only a signed-in user makes templates")
    checked = check(draft)
    if checked.media is not None and checked.media.user_id != actor.user_id:
        raise NotFound("media of somebody else")
    with transaction(actor) as tx:
        if template_id is None:
            template_id = tx.execute(
                insert(templates).values(user_id=actor.user_id, name=checked.name).returning(templates.c.id)
            ).scalar_one()
            _insert(tx, actor.user_id, template_id, 1, checked)
        else:
            _next(tx, actor.user_id, template_id, checked)
        return read(tx, template_id)


def duplicate(actor: Actor, template: Template, name: str) -> Template:
    """A copy of the actor's own, of a template that may be somebody else's shared one. Raises as `save` and `own`."""
    copied = own(actor, Content(template.kind, template.body, template.media))
    return save(actor, replace(template.draft, name=name[:NAME_LIMIT], media=copied.media))


def with_file(actor: Actor, draft: Draft, content: bytes, filename: str) -> Draft:
    """`draft` with this file, kept for the actor; what kind of message it is, its bytes say and not its name.

    Raises as `attachments.prepare` and `media.keep`.
    """
    return _carrying(actor, draft, attachments.prepare(attachments.kind_of(content), content, filename))


def _carrying(actor: Actor, draft: Draft, file: Attachment) -> Draft:
    kept = attachments.keep(actor, file)
    return replace(draft, kind=kept.kind, media=kept.media, filename=kept.filename)


def archive(actor: Actor, template_id: UUID, on: bool = True) -> None:
    """Put a template away, or take it out again. Messages remember it all the same.

    For one's own, and for staff also anybody's shared one, on the record. Raises NotFound.
    """
    with transaction(actor) as tx:
        _change(tx, template_id, archived_at=func.now() if on else None)
        if actor.is_staff:
            audit.record(tx, actor, "template.archive" if on else "template.unarchive", str(template_id))


def share(actor: Actor, template_id: UUID, on: bool = True) -> None:
    """Let everybody read and use a template of staff's, or nobody any more. On the record.

    Raises Forbidden for anybody but staff, NotFound where it is not the actor's own.
    """
    if not actor.is_staff:
        raise Forbidden("only staff share templates")
    with transaction(actor) as tx:
        _change(tx, template_id, only_of=actor.user_id, shared=on)
        audit.record(tx, actor, "template.share" if on else "template.unshare", str(template_id))


def own(actor: Actor, content: Content, user_id: UUID | None = None) -> Content:
    """`content` with its file in the store of `user_id` (default: the actor), who is to send it.

    The system may do it for anybody. Raises as `media.read` and `media.keep`.
    """
    owner = user_id or actor.user_id
    if content.media is None or content.media.user_id == owner:
        return content
    found = content.media
    copy = media.keep(actor, media.read(actor, found.sha256, found.user_id), found.mimetype, owner)
    return replace(content, media=copy)


# --- the text ---------------------------------------------------------------------------------------------------------


def variable_name(written: str) -> str:
    """What a variable (or a column of a list) of that name is called: small letters without accents, digits and `_`."""
    plain = unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


@functools.lru_cache(maxsize=256)
def variables(body: str) -> tuple[str, ...]:
    """The variables of a text, as `variable_name` calls them, in the order of their first use.

    Raises TemplateInvalid for what is no template.
    """
    found = (variable_name(node.name) or node.name for node in _parsed(body).find_all(nodes.Name))
    return tuple(dict.fromkeys(found))


def check(draft: Draft) -> Draft:
    """`draft` as it may be saved. Raises as `save` does for its content, without asking the database."""
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
    defaults = _defaults(draft.defaults)
    for one in variables(body):
        if one not in defaults and one not in BUILT_IN:
            raise UnknownVariable("not among the template's variables", name=one)
    return replace(draft, name=name, body=body, defaults=defaults)


def _require_file(draft: Draft) -> None:
    if draft.kind not in KINDS:
        raise InvalidInput(f"no template is a {draft.kind}")
    if (draft.kind in WITH_FILE) != (draft.media is not None):
        raise EmptyMessage(f"{draft.kind} without its file, or a text with one")
    if draft.media is not None:
        attachments.require_fit(draft.kind, draft.media)


def render(template: Template | Draft, values: Mapping[str, str]) -> Content:
    """What a recipient with these values gets; the file is still the template's owner's (see `own`).

    Values that are blank count as not given, those of no variable are left alone. Raises MissingVariable,
    UnknownVariable, TemplateInvalid, EmptyMessage, MessageTooLong.
    """
    given = {variable_name(name): value.strip() for name, value in values.items() if value.strip()}
    body = _filled(template.body, {**_usable(template.defaults), **given}, (*template.defaults, *BUILT_IN))
    if not body and template.kind is Kind.TEXT:
        raise EmptyMessage("nothing is left of the text")
    return Content(template.kind, body, template.media, template.filename)


def _filled(body: str, values: Mapping[str, str], known: Sequence[str]) -> str:
    for name in variables(body):
        if name not in known:
            raise UnknownVariable("not among the template's variables", name=name)
    size, parts = 0, []
    try:
        for part in _compiled(body).generate(values):
            size += len(part)
            if size > TEXT_LIMIT:
                raise MessageTooLong("too long with its values", limit=TEXT_LIMIT)
            parts.append(part)
    except UndefinedError as error:
        raise MissingVariable("no value and no default", name=error.message) from None
    return storable("".join(parts).strip())


def _usable(defaults: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in defaults.items() if value is not None}


def _defaults(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Each variable under the name by which it is called."""
    named = {variable_name(name): value for name, value in given.items()}
    for name in named:
        if not _VARIABLE.fullmatch(name) or name in _RESERVED:
            raise InvalidInput("a variable begins with a letter and has letters, digits and _")
    values = [value for value in named.values() if value is not None]
    if len(named) > MAX_VARIABLES or any(len(one) > VALUE_LIMIT or storable(one) != one for one in values):
        raise InvalidInput("at most 50 variables, with defaults of 1000 characters")
    return named


class _Missing(StrictUndefined):
    """Says the name only: the sentence around it is ours."""

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(undefined=_Missing, autoescape=False, cache_size=0)
    made.globals.clear()
    made.tests.clear()
    for name in set(made.filters) - set(FILTERS):
        del made.filters[name]
    return made


@functools.lru_cache(maxsize=256)
def _compiled(body: str) -> Compiled:
    tree = _parsed(body)
    for node in tree.find_all(nodes.Name):
        node.name = variable_name(node.name)
    return _environment().from_string(tree)


def _parsed(body: str) -> nodes.Template:
    """The parsed text, of which every part is one that we know. Raises TemplateInvalid."""
    if len(body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(body)} characters", limit=TEXT_LIMIT)
    try:
        tree = _environment().parse(body)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(type(error).__name__, line=error.lineno) from None
    except RecursionError:
        raise TemplateInvalid("nested too deep", line=1) from None
    for node in tree.body:
        _require_part(node, 0)
    return tree


def _require_part(node: nodes.Node, depth: int) -> None:
    """A piece of text, a value, or a condition with such parts in it."""
    if isinstance(node, nodes.Output):
        for value in node.nodes:
            if not isinstance(value, nodes.TemplateData):
                _require_value(value, depth)
    elif isinstance(node, nodes.If) and depth < MAX_DEPTH:
        _require_condition(node.test, depth + 1)
        for part in (*node.body, *node.elif_, *node.else_):
            _require_part(part, depth + 1)
    else:
        _refuse(node)


def _require_value(node: nodes.Node | None, depth: int) -> None:
    """A variable or a text, through filters."""
    if isinstance(node, nodes.Filter) and depth < MAX_DEPTH:
        arguments = 1 if node.name == "default" else 0
        plain = not (node.kwargs or node.dyn_args or node.dyn_kwargs)
        if node.name not in FILTERS or len(node.args) != arguments or not plain:
            _refuse(node)
        for one in (node.node, *node.args):
            _require_value(one, depth + 1)
    elif isinstance(node, nodes.Const):
        if not isinstance(node.value, str):
            _refuse(node)
    elif not isinstance(node, nodes.Name) or variable_name(node.name) in _RESERVED:
        _refuse(node)


def _require_condition(node: nodes.Node, depth: int) -> None:
    """Values, compared for equality, joined by not, and, or."""
    if depth >= MAX_DEPTH:
        _refuse(node)
    if isinstance(node, nodes.Not):
        _require_condition(node.node, depth + 1)
    elif isinstance(node, nodes.And | nodes.Or):
        _require_condition(node.left, depth + 1)
        _require_condition(node.right, depth + 1)
    elif isinstance(node, nodes.Compare):
        _require_value(node.expr, depth + 1)
        for one in node.ops:
            if one.op not in ("eq", "ne"):
                _refuse(node)
            _require_value(one.expr, depth + 1)
    else:
        _require_value(node, depth)


def _refuse(node: nodes.Node | None) -> NoReturn:
    raise TemplateInvalid(type(node).__name__, line=getattr(node, "lineno", 1))


# --- out into a file and in again -------------------------------------------------------------------------------------


class _Portable(BaseModel):
    """One template in a file."""

    name: str
    body: str
    kind: Kind = Kind.TEXT
    defaults: dict[str, str | None] = {}
    filename: str | None = None
    file: str | None = None


class _File(BaseModel):
    """What `export_json` writes. `file` is base64."""

    format: Literal["plushify-templates"]
    templates: list[_Portable]


def export_json(actor: Actor, chosen: Iterable[Template]) -> str:
    """`chosen` with their files as one JSON text, for `import_json`. Raises as `media.read`."""
    made = _File(format=FORMAT, templates=[_portable(actor, one) for one in chosen])
    return json.dumps(made.model_dump(mode="json"), ensure_ascii=False, indent=2)


def import_json(actor: Actor, written: str | bytes) -> list[Template]:
    """Make the actor's own templates from what `export_json` wrote: all of them, or none where one is not right.

    Raises UnreadableList for anything else, and as `save` and `attachments.prepare`.
    """
    try:
        found = _File.model_validate_json(written).templates
        files = [base64.b64decode(one.file, validate=True) if one.file else None for one in found]
    except (ValidationError, binascii.Error) as error:
        raise UnreadableList(type(error).__name__) from None
    if not 0 < len(found) <= MAX_IMPORTED:
        raise UnreadableList(f"{len(found)} templates")
    drafts = [check(_imported(actor, one, file)) for one, file in zip(found, files, strict=True)]
    return [save(actor, one) for one in drafts]


def _portable(actor: Actor, template: Template) -> _Portable:
    found = template.media
    content = media.read(actor, found.sha256, found.user_id) if found else None
    return _Portable(
        name=template.name,
        body=template.body,
        kind=template.kind,
        defaults=dict(template.defaults),
        filename=template.filename,
        file=base64.b64encode(content).decode() if content else None,
    )


def _imported(actor: Actor, one: _Portable, file: bytes | None) -> Draft:
    draft = Draft(one.name, one.body, one.kind, None, one.filename, one.defaults)
    if file is None:
        return draft
    return _carrying(actor, draft, attachments.prepare(one.kind, file, one.filename or ""))


# --- statements and rows ----------------------------------------------------------------------------------------------


def _order() -> tuple[ColumnElement[Any], ...]:
    return func.lower(templates.c.name), templates.c.id


def _versions() -> Select[tuple[object, ...]]:
    of_template = template_versions.c.template_id == templates.c.id
    file = and_(
        media_rows.c.user_id == template_versions.c.user_id, media_rows.c.sha256 == template_versions.c.media_sha256
    )
    return select(
        templates.c.id,
        templates.c.user_id,
        templates.c.shared,
        templates.c.name,
        templates.c.version.label("newest"),
        templates.c.archived_at,
        template_versions.c.version,
        template_versions.c.kind,
        template_versions.c.body,
        template_versions.c.media_sha256,
        template_versions.c.mimetype,
        template_versions.c.filename,
        template_versions.c.defaults,
        template_versions.c.created_at,
        media_rows.c.size,
    ).select_from(templates.join(template_versions, of_template).outerjoin(media_rows, file))


def _next(tx: Connection, user_id: UUID, template_id: UUID, draft: Draft) -> None:
    """The row's lock lets one version be made after the other."""
    mine = (templates.c.id == template_id, templates.c.user_id == user_id)
    if tx.execute(select(templates.c.id).where(*mine).with_for_update()).one_or_none() is None:
        raise NotFound(f"template {template_id}")
    before = read(tx, template_id)
    number = before.newest
    if replace(before.draft, name=draft.name) != draft:
        number += 1
        _insert(tx, user_id, template_id, number, draft)
    tx.execute(update(templates).where(*mine).values(name=draft.name, version=number, updated_at=func.now()))


def _insert(tx: Connection, user_id: UUID, template_id: UUID, version: int, draft: Draft) -> None:
    tx.execute(
        insert(template_versions).values(
            template_id=template_id,
            version=version,
            user_id=user_id,
            kind=draft.kind,
            body=draft.body,
            media_sha256=draft.media.sha256 if draft.media else None,
            mimetype=draft.media.mimetype if draft.media else None,
            filename=draft.filename,
            defaults=dict(draft.defaults),
            created_by=user_id,
        )
    )


def _change(tx: Connection, template_id: UUID, only_of: UUID | None = None, **values: object) -> None:
    """The policies decide whose it may be; `only_of` narrows it further."""
    chosen = update(templates).where(templates.c.id == template_id)
    if only_of is not None:
        chosen = chosen.where(templates.c.user_id == only_of)
    if not tx.execute(chosen.values(updated_at=func.now(), **values)).rowcount:
        raise NotFound(f"template {template_id}")


def _template(row: Record) -> Template:
    file = row.media_sha256
    return Template(
        id=row.id,
        user_id=row.user_id,
        shared=row.shared,
        name=row.name,
        version=row.version,
        newest=row.newest,
        kind=Kind(row.kind),
        body=row.body,
        media=Media(row.user_id, file, row.mimetype, row.size) if file is not None else None,
        filename=row.filename,
        defaults=row.defaults,
        created_at=row.created_at,
        archived_at=row.archived_at,
    )
