"""Templates by the API: the caller's own and shared ones, in versions that never change."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.db.actor import Actor
from services.messaging.content import Kind
from services.messaging.transcoding import MB
from services.outreach import template_content, template_exchange, templates
from services.outreach.template_content import Template, TemplateDraft
from web.api.content import get_file
from web.api.given_texts import Value, Values
from web.api.operation import Call, Operation
from web.api.responses import HEADERS, answer
from web.api.schemas import MEDIA_ID_PATTERN, VALUES_WORDS, Input, PageQuery, decode_cursor, encode_cursor

TEMPLATES = "/functions/v1/modelos-whatsapp"
TEMPLATE_FILE = "/functions/v1/arquivo-de-modelos-whatsapp"
FILE_BYTES = 100 * MB


class TemplateBody(Input):
    name: str = Field(max_length=200)
    message: str = Field("", max_length=100_000, description="With variables, as `Olá, {{nome}}!`; a file's caption.")
    kind: Kind = Field(Kind.TEXT, description="What it is sent as.")
    media_id: str | None = Field(None, pattern=MEDIA_ID_PATTERN, description="The file, uploaded before.")
    filename: str | None = Field(None, max_length=200)
    defaults: dict[str, Value | None] = Field(
        default_factory=dict, description="Each variable beside `nome` and `telefone`: what stands there by default."
    )


class CopyBody(Input):
    name: str = Field(max_length=200, description="What the copy is called.")


class FillBody(Input):
    values: Values = Field(default_factory=dict, description=VALUES_WORDS)


class TemplateQuery(PageQuery):
    archived: bool = Field(False, description="Those that were put away instead.")


class TemplateShape(BaseModel):
    """One version of a template; `newest` says which version is the newest."""

    id: UUID
    shared: bool = Field(description="Made by staff for everybody.")
    name: str
    version: int
    newest: int
    kind: Kind
    message: str
    media_id: str | None
    filename: str | None
    defaults: dict[str, str | None]
    created_at: datetime
    archived_at: datetime | None

    @classmethod
    def of(cls, template: Template) -> Self:
        return cls(
            id=template.id,
            shared=template.shared,
            name=template.name,
            version=template.version,
            newest=template.newest,
            kind=template.kind,
            message=template.body,
            media_id=template.media.sha256.hex() if template.media else None,
            filename=template.filename,
            defaults=dict(template.defaults),
            created_at=template.created_at,
            archived_at=template.archived_at,
        )


class TemplatePage(BaseModel):
    items: list[TemplateShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


class FileShape(BaseModel):
    """Templates with their files, to be brought in here or in another installation."""

    format: str
    templates: list[dict[str, Any]]


class TemplateList(BaseModel):
    items: list[TemplateShape]


class VersionList(BaseModel):
    items: list[TemplateShape] = Field(description="The newest first.")


class FilledShape(BaseModel):
    message: str = Field(description="What a recipient with these values gets.")


async def list_templates(call: Call) -> Response:
    query: TemplateQuery = call.query
    after = decode_cursor(query.cursor, str, UUID) if query.cursor else None
    read = await run_in_threadpool(
        lambda: templates.list_templates(call.actor, archived=query.archived, limit=query.limit + 1, after=after)
    )
    shown = read[: query.limit]
    following = encode_cursor(shown[-1].name, shown[-1].id) if len(read) > query.limit else None
    return answer(TemplatePage(items=[TemplateShape.of(one) for one in shown], next=following))


async def get_template(call: Call) -> Response:
    return answer(TemplateShape.of(await run_in_threadpool(templates.get_template, call.actor, call.id)))


async def create_template(call: Call) -> Response:
    made = await run_in_threadpool(lambda: templates.save(call.actor, _draft_from_body(call)))
    return answer(TemplateShape.of(made), 201, {"Location": f"{TEMPLATES}/{made.id}"})


async def change(call: Call) -> Response:
    return answer(
        TemplateShape.of(await run_in_threadpool(lambda: templates.save(call.actor, _draft_from_body(call), call.id)))
    )


async def archive(call: Call) -> Response:
    await run_in_threadpool(templates.set_archived, call.actor, call.id)
    return await get_template(call)


async def versions(call: Call) -> Response:
    found = await run_in_threadpool(templates.list_versions, call.actor, call.id)
    return answer(VersionList(items=[TemplateShape.of(one) for one in found]))


async def fill_template(call: Call) -> Response:
    template = await run_in_threadpool(templates.get_template, call.actor, call.id)
    return answer(FilledShape(message=template_content.render(template, call.body.values).body))


async def copy_template(call: Call) -> Response:
    made = await run_in_threadpool(_copy_template, call)
    return answer(TemplateShape.of(made), 201, {"Location": f"{TEMPLATES}/{made.id}"})


async def export_templates(call: Call) -> Response:
    written = await run_in_threadpool(_export_json, call.actor)
    return Response(written, headers=HEADERS, media_type="application/json")


async def import_templates(call: Call) -> Response:
    made = await run_in_threadpool(template_exchange.import_json, call.actor, call.body)
    return answer(TemplateList(items=[TemplateShape.of(one) for one in made]), 201)


def _copy_template(call: Call) -> Template:
    return templates.duplicate(call.actor, templates.get_template(call.actor, call.id), call.body.name)


def _export_json(actor: Actor) -> str:
    return template_exchange.export_json(actor, templates.list_own(actor))


def _draft_from_body(call: Call) -> TemplateDraft:
    wanted: TemplateBody = call.body
    file = get_file(call.actor, wanted.media_id)
    return TemplateDraft(wanted.name, wanted.message, wanted.kind, file, wanted.filename, wanted.defaults)


OPERATIONS = (
    Operation(
        "GET", TEMPLATES, "templates", "Templates by name, by pages", Scope.READ, list_templates, {200: TemplatePage},
        query=TemplateQuery,
    ),
    Operation(
        "POST", TEMPLATES, "new_template", "Make a template", Scope.SEND, create_template, {201: TemplateShape}, (404,),
        TemplateBody,
    ),
    Operation(
        "GET", TEMPLATE_FILE, "export_templates", "The caller's own with their files, as the page writes them",
        Scope.READ, export_templates, {200: FileShape},
    ),
    Operation(
        "POST", TEMPLATE_FILE, "import_templates", "Make templates of such a file: all of them or none",
        Scope.SEND, import_templates, {201: TemplateList}, upload_bytes=FILE_BYTES,
    ),
    Operation(
        "POST", f"{TEMPLATES}/{{id}}/copia", "copy_template", "Make one's own of it, also of the team's", Scope.SEND,
        copy_template, {201: TemplateShape}, (404,), CopyBody,
    ),
    Operation("GET", f"{TEMPLATES}/{{id}}", "template", "One template", Scope.READ, get_template,
        {200: TemplateShape}, (404,)),
    Operation(
        "PUT", f"{TEMPLATES}/{{id}}", "change_template", "Make its next version", Scope.SEND, change,
        {200: TemplateShape}, (404,), TemplateBody,
    ),
    Operation(
        "DELETE", f"{TEMPLATES}/{{id}}", "archive_template", "Put it away; messages remember it", Scope.SEND, archive,
        {200: TemplateShape}, (404,),
    ),
    Operation(
        "GET", f"{TEMPLATES}/{{id}}/versoes", "template_versions", "All its versions", Scope.READ, versions,
        {200: VersionList}, (404,),
    ),
    Operation(
        "POST", f"{TEMPLATES}/{{id}}/preenchido", "fill_template", "What a recipient would get; sends nothing",
        Scope.READ, fill_template, {200: FilledShape}, (404,), FillBody,
    ),
)  # fmt: skip
