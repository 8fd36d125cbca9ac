"""Who calls the API: the user whom a JSON Web Token names, or the one whose API key it is."""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from services import keys, limits, tokens
from services.db.actor import Actor
from services.errors import N_, Forbidden, RateLimited, Unauthenticated
from services.inbox import Inbox
from services.keys import Scope
from services.limits import Door, Who
from services.proxies import client_ip


class KeyRefused(Unauthenticated):
    """The API key is unknown, revoked, expired, or its user is gone."""

    code = "token_invalido"
    message = tokens.TokenRefused.message
    hint = N_("Crie uma chave nova na página Chaves do console.")
    reason = "key"


Refused = (tokens.TokenRefused, KeyRefused)


@dataclass(frozen=True)
class Caller:
    """The user as whom a request runs, what their credential is good for, and by what it is counted."""

    actor: Actor
    scopes: frozenset[Scope]
    counted: tuple[Who, str]


async def identify(request: Request, scope: Scope) -> Caller:
    """The caller, whose credential must be good for `scope`.

    Raises Unauthenticated (with a security event), RateLimited, Forbidden, or what the database and the key set raise.
    """
    address = client_ip(request.scope, request.app.state.proxies)
    try:
        return await run_in_threadpool(_admitted, _bearer(request), scope, address)
    except Refused as error:
        await note_refusal(request.app.state.inbox, "api_refused", error.reason, address)
        raise


async def note_refusal(inbox: Inbox, kind: str, subject: str, address: str) -> None:
    """Make a refused credential a security event and count it by address. Raises RateLimited past the limit."""
    inbox.security_event(kind, subject, address)
    await run_in_threadpool(limits.check, Door.REFUSED, "ip", address)


def _admitted(credential: str, scope: Scope, address: str) -> Caller:
    caller = _caller(credential, address)
    limits.check(Door.API, *caller.counted)
    if scope is Scope.SEND:
        limits.check(Door.SEND, *caller.counted)
    if scope not in caller.scopes:
        raise Forbidden(f"the key is not good for {scope}")
    return caller


def _bearer(request: Request) -> str:
    kind, _, credential = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not credential.strip():
        raise tokens.TokenRefused("malformed")
    return credential.strip()


def _caller(credential: str, address: str) -> Caller:
    if not credential.startswith(keys.PREFIX):
        actor = tokens.actor_of(credential)
        return Caller(actor, frozenset(Scope), ("user", str(actor.user_id)))
    # A token is checked by arithmetic alone; for a key the database is asked, so whoever guesses is stopped before it.
    if seconds := limits.spent(Door.REFUSED, "ip", address):
        raise RateLimited(Door.REFUSED, seconds=seconds)
    holder = keys.resolve(credential)
    if holder is None:
        raise KeyRefused("key")
    return Caller(holder.actor, holder.scopes, ("key", str(holder.key_id)))
