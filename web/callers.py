"""Who calls the API: the user whom a JSON Web Token names, or the one whose API key it is."""

from dataclasses import dataclass
from typing import Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from services import keys, tokens
from services.db.actor import Actor
from services.errors import Forbidden, Unauthenticated
from services.inbox import Inbox
from services.keys import Scope


@dataclass(frozen=True)
class Caller:
    """The user as whom a request runs, and what their credential is good for."""

    actor: Actor
    scopes: frozenset[Scope]


async def identify(request: Request, scope: Scope) -> Caller:
    """The caller, whose credential must be good for `scope`.

    Raises Unauthenticated (with a security event), Forbidden, or what the database and the key set raise.
    """
    try:
        caller = await run_in_threadpool(_caller, _bearer(request))
    except tokens.TokenRefused as error:
        _note(request, error.reason)
        raise
    if caller is None:
        _note(request, "key")
        raise Unauthenticated("unknown, revoked or expired API key")
    if scope not in caller.scopes:
        raise Forbidden(f"the key is not good for {scope}")
    return caller


def _bearer(request: Request) -> str:
    kind, _, credential = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not credential.strip():
        raise tokens.TokenRefused("malformed")
    return credential.strip()


def _caller(credential: str) -> Caller | None:
    if not credential.startswith(keys.PREFIX):
        return Caller(tokens.actor_of(credential), frozenset(Scope))
    holder = keys.resolve(credential)
    return Caller(holder.actor, holder.scopes) if holder else None


def _note(request: Request, reason: tokens.Reason | Literal["key"]) -> None:
    inbox: Inbox = request.app.state.inbox
    inbox.security_event("api_refused", reason, request.client.host if request.client else "?")
