"""Answers of the API: one JSON shape for every error, rendered in one place."""

from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services import log
from services.errors import N_, InvalidInput, NotFound, ServiceError

logger = structlog.get_logger(__name__)

# What the API says is one person's and of this moment.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class NotJson(InvalidInput):
    code = "corpo_invalido"
    http_status = 400
    message = N_("O corpo do pedido não é JSON válido.")
    hint = N_("Envie um objeto JSON em UTF-8.")


class WrongFields(InvalidInput):
    code = "campos_invalidos"
    message = N_("Há campos ausentes ou inválidos: {fields}.")
    hint = N_("Confira os nomes e os formatos na documentação em /docs.")


class BodyTooLarge(InvalidInput):
    code = "corpo_grande"
    http_status = 413
    message = N_("O corpo do pedido é grande demais.")
    hint = N_("Envie no máximo {megabytes} MB.")


class MethodNotAllowed(ServiceError):
    code = "metodo"
    http_status = 405
    message = N_("Esse endereço não aceita esse método.")
    hint = N_("Veja os métodos na documentação em /docs.")


class Problem(BaseModel):
    """What every error looks like. Programs decide by `code`, people read `message` and `hint`."""

    code: str = Field(description="Stable: programs may compare it.", examples=["telefone_invalido"])
    message: str = Field(description="One sentence in Portuguese for the person at the screen.")
    hint: str = Field(description="What to do next, in Portuguese.")
    request_id: str = Field(description="Names this request in the logs.")
    id: str | None = Field(None, description="The message that failed, where there is one.")
    state: str | None = Field(None, description="The state of that message.")


def answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON, by the names that its model gives to programs."""
    content = body.model_dump_json(by_alias=True)
    return Response(content, status, {**HEADERS, **(headers or {})}, "application/json")


def problem_response(error: ServiceError, **about: str) -> JSONResponse:
    """An error in the one shape. `about` adds the id and state of the message that it concerns."""
    content = {
        "code": error.code,
        "message": error.sentence(),
        "hint": error.hint.format(**error.params),
        "request_id": log.get_request_id() or "",
        **about,
    }
    headers = dict(HEADERS)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.http_status in (429, 503):
        headers["Retry-After"] = str(error.params.get("seconds", 5))
    return JSONResponse(content, error.http_status, headers)


async def on_service_error(_request: Request, error: Exception) -> Response:
    """The handler of the whole error tree."""
    assert isinstance(error, ServiceError)
    level = logger.warning if error.http_status < 500 else logger.error
    level("api_error", code=error.code, status=error.http_status, detail=error.detail)
    return problem_response(error)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """What the framework itself answers: no such address, no such method there."""
    assert isinstance(error, HTTPException)
    found = problem_response(MethodNotAllowed() if error.status_code == 405 else NotFound())
    found.status_code = error.status_code
    for name, value in (error.headers or {}).items():
        found.headers[name] = value
    return found


async def on_unexpected_error(_request: Request, error: Exception) -> Response:
    """The outermost handler: the framework logs the error; the caller learns only that it was ours."""
    logger.error("api_failed", error=type(error).__name__)
    return problem_response(ServiceError())


HANDLERS: dict[Any, Any] = {
    ServiceError: on_service_error,
    HTTPException: on_http_error,
    Exception: on_unexpected_error,
}
