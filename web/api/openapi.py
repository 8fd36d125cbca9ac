"""The API's description, made from the operations that are served: `/openapi.json`, and `/docs` for people."""

import functools
import re
from collections.abc import Iterable, Mapping
from html import escape
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from web.api.operation import Operation
from web.api.registry import OPERATIONS
from web.api.responses import Problem

TITLE = "Plushify WhatsApp"
VERSION = "1.0.0"
SCHEMAS = "#/components/schemas/"
# What any operation may answer beside its own: no or a bad credential, a key without the scope, limits, our own faults.
COMMON_STATUSES = (401, 403, 429, 500, 503)
INPUT_STATUSES = (400, 413, 422)
# What stands in a path: an id of ours, or the name of a file, which is its SHA-256.
PATH_PARAMETERS = {
    "id": {"type": "string", "format": "uuid"},
    "media_id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
UPLOAD_CONTENT = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
DESCRIPTION = """The functions of a user's own WhatsApp session. Authenticate with `Authorization: Bearer` and either a
JSON Web Token of the user's sign-in or an API key made on the console's page "Chaves". Every error has the shape
`Problem`."""


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"credential": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"credential": []}],
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"API keys need the scope `{operation.scope}`.",
        "parameters": list(_parameters(operation)),
        "responses": {str(status): _answer(status, operation.answers.get(status)) for status in _statuses(operation)},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": operation.body_required, "content": _content(operation.body)}
    if operation.upload_bytes:
        described["requestBody"] = {"required": True, "content": UPLOAD_CONTENT}
    return described


def _statuses(operation: Operation) -> list[int]:
    takes_input = operation.body is not None or operation.query is not None or operation.upload_bytes > 0
    return sorted({*operation.answers, *operation.errors, *COMMON_STATUSES, *(INPUT_STATUSES if takes_input else ())})


def _answer(status: int, shape: type[BaseModel] | str | None) -> dict[str, Any]:
    answered: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": _content(shape or Problem)}
    if status in (429, 503):
        answered["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
    return answered


def _content(shape: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(shape, str):
        return {shape: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": {"$ref": SCHEMAS + shape.__name__}}}


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
    for name, meaning in operation.headers.items():
        schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}
        yield {"name": name, "in": "header", "required": False, "schema": schema, "description": meaning}
    if operation.query is not None:
        described = operation.query.model_json_schema(by_alias=True)
        for name, schema in described["properties"].items():
            yield {"name": name, "in": "query", "required": name in described.get("required", ()), "schema": schema}


def _schemas() -> dict[str, Any]:
    shapes: dict[str, type[BaseModel]] = {Problem.__name__: Problem}
    for operation in OPERATIONS:
        for shape in (operation.body, *operation.answers.values()):
            if shape is not None and not isinstance(shape, str):
                shapes[shape.__name__] = shape
    bodies = {operation.body for operation in OPERATIONS}
    wanted = [(shape, "validation" if shape in bodies else "serialization") for shape in shapes.values()]
    _, made = models_json_schema(wanted, by_alias=True, ref_template=SCHEMAS + "{model}")  # type: ignore[arg-type]
    found: dict[str, Any] = made["$defs"]
    return found


# --- for people -------------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
section { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: .5rem 0 1rem; }
h2 { font-size: 1.05rem; } h2 code { font-size: 1rem; overflow-wrap: anywhere; }
.method { font-weight: 700; color: #0b6e55; } @media (prefers-color-scheme: dark) { .method { color: #4fc3a1; } }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .75rem .25rem 0;
  vertical-align: top; overflow-wrap: anywhere; }
"""


@functools.cache
def page() -> str:
    """The document as one page without scripts: it reads offline, in both themes and on a phone."""
    described = document()
    sections = "".join(
        _operation_section(method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    shapes = "".join(_shape_section(name, schema) for name, schema in described["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{TITLE} API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><h1>{TITLE} API</h1><p>{_render_prose(DESCRIPTION)}</p>"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>'
        f"{sections}<h1>Shapes</h1>{shapes}"
    )


def _operation_section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    takes = "".join(
        _table_row(f"{one['name']} ({one['in']})", one.get("description", one["schema"].get("description", "")))
        for one in operation["parameters"]
    )
    if "requestBody" in operation:
        takes += _table_row("body", f"`{_name_of_content(operation['requestBody']['content'])}`")
    gives = "".join(
        _table_row(status, f"{one['description']}: `{_name_of_content(one['content'])}`")
        for status, one in operation["responses"].items()
    )
    return (
        f'<section id="{operation["operationId"]}"><h2><span class="method">{method}</span> <code>{escape(path)}</code>'
        f"</h2><p>{_render_prose(operation['summary'])}. {_render_prose(operation['description'])}</p>"
        f"<table>{takes}</table><details><summary>Answers</summary><table>{gives}</table></details></section>"
    )


def _shape_section(name: str, schema: Mapping[str, Any]) -> str:
    if "properties" not in schema:
        words = ", ".join(f"`{value}`" for value in schema.get("enum", ()))
        return f'<section id="{name}"><h2><code>{name}</code></h2><p>{_render_prose(words)}</p></section>'
    rows = "".join(_table_row(field, one.get("description", "")) for field, one in schema["properties"].items())
    about = _render_prose(schema.get("description", ""))
    return f'<section id="{name}"><h2><code>{name}</code></h2><p>{about}</p><table>{rows}</table></section>'


def _table_row(name: str, meaning: str) -> str:
    return f"<tr><td><code>{escape(name)}</code></td><td>{_render_prose(meaning)}</td></tr>"


def _render_prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _name_of_content(content: Mapping[str, Any]) -> str:
    ((kind, described),) = content.items()
    reference = described["schema"].get("$ref")
    return str(reference).removeprefix(SCHEMAS) if reference else kind


async def as_json(request: Request) -> JSONResponse:  # noqa: ARG001
    return JSONResponse(document())


async def as_page(request: Request) -> HTMLResponse:  # noqa: ARG001
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    return HTMLResponse(page(), headers={"Content-Security-Policy": policy})


routes = [Route("/openapi.json", as_json), Route("/docs", as_page)]
