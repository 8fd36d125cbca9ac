"""What an operation of the API is, and how one is served: who may call it, what it takes, what it may answer.

The routes and the OpenAPI document are both made from the same operations, so they always agree.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services import log
from services.accounts.api_keys import Scope
from services.db.actor import Actor
from services.errors import NotFound
from services.platform.pubsub import Hub
from web.api.authentication import identify_caller
from web.api.field_errors import describe_errors
from web.api.responses import BodyTooLarge, NotJson, WrongFields

# Texts are short here; media have a door of their own.
BODY_LIMIT = 1024 * 1024
IDEMPOTENCY_HEADER = {"Idempotency-Key": "The same key of the same user queues once, whatever happens in between."}


@dataclass(frozen=True)
class Call:
    """One request, its caller proved and its input checked against the operation's models."""

    actor: Actor
    request: Request
    body: Any
    query: Any
    hub: Hub

    @property
    def id(self) -> UUID:
        """The `{id}` of the path.

        Raises: NotFound for what cannot be one.
        """
        try:
            return UUID(self.request.path_params["id"])
        except ValueError:
            raise NotFound("no id") from None


@dataclass(frozen=True)
class Operation:
    """One method at one path. `answers` are its own: what every operation may answer is added in the document.

    `body` is what its JSON must be; `upload_bytes` instead takes a file as it is, up to so many bytes.
    """

    method: str
    path: str
    name: str
    summary: str
    scope: Scope
    serve: Callable[[Call], Awaitable[Response]]
    answers: Mapping[int, type[BaseModel] | str]
    errors: Sequence[int] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    upload_bytes: int = 0


def routes(operations: Iterable[Operation]) -> list[Route]:
    """The routes that serve `operations`: one a path, so that its 405 names all the methods that there are."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_make_route(path, methods) for path, methods in by_path.items()]


def _make_route(path: str, methods: Mapping[str, Operation]) -> Route:
    async def endpoint(request: Request) -> Response:
        operation = methods["GET" if request.method == "HEAD" else request.method]
        log.bind_request_id()
        caller = await identify_caller(request, operation.scope)
        body = await _read_body(request, operation)
        query = _validate(operation.query, dict(request.query_params)) if operation.query else None
        return await operation.serve(Call(caller.actor, request, body, query, request.app.state.hub))

    return Route(path, endpoint, methods=list(methods))


async def _read_body(request: Request, operation: Operation) -> Any:
    if operation.upload_bytes:
        return await _read_content(request, operation.upload_bytes)
    return _validate(operation.body, await _read_json(request, operation)) if operation.body else None


async def _read_json(request: Request, operation: Operation) -> Any:
    content = await _read_content(request, BODY_LIMIT)
    if not content and not operation.body_required:
        return {}
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise NotJson("the body is no JSON") from None


async def _read_content(request: Request, limit: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise BodyTooLarge(megabytes=limit // (1024 * 1024))
    return bytes(content)


def _validate(model: type[BaseModel], given: Any) -> BaseModel:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fields = describe_errors(error.errors(include_url=False, include_input=False))
        raise WrongFields(f"fields: {fields}", fields=fields) from None
