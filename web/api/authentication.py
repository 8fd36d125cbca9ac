"""Who calls the API: the user of a JSON Web Token, or the user of an API key."""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from services.accounts import api_keys, jwt_bearer
from services.accounts.api_keys import Scope
from services.db.actor import Actor
from services.errors import N_, Forbidden, RateLimited, Unauthenticated
from services.platform import rate_limits
from services.platform.client_ip import client_ip
from services.platform.rate_limits import Limit, SubjectKind
from web.refusals import record_refusal


class KeyRefused(Unauthenticated):
    """The API key is unknown, revoked, expired, or its user is gone."""

    code = "token_invalido"
    message = jwt_bearer.TokenRefused.message
    hint = N_("Crie uma chave nova na página Chaves do console.")
    reason = "key"


CREDENTIAL_ERRORS = (jwt_bearer.TokenRefused, KeyRefused)


@dataclass(frozen=True)
class Caller:
    """The user as whom a request runs, what their credential is good for, and by what it is counted."""

    actor: Actor
    scopes: frozenset[Scope]
    counted: tuple[SubjectKind, str]


async def identify_caller(request: Request, scope: Scope) -> Caller:
    """The caller, whose credential must be good for `scope`.

    Raises: Unauthenticated (with a security event), RateLimited, Forbidden, or what the database and the key set raise.
    """
    address = client_ip(request.scope, request.app.state.proxies)
    try:
        return await run_in_threadpool(_authenticate, _read_credential(request), scope, address)
    except CREDENTIAL_ERRORS as error:
        await record_refusal(request.app.state.inbox, "api_refused", error.reason, address)
        raise


def _authenticate(credential: str, scope: Scope, address: str) -> Caller:
    caller = _caller_from_credential(credential, address)
    rate_limits.hit(Limit.API, *caller.counted)
    if scope is Scope.SEND:
        rate_limits.hit(Limit.SEND, *caller.counted)
    if scope not in caller.scopes:
        raise Forbidden(f"the key is not good for {scope}")
    return caller


def _read_credential(request: Request) -> str:
    kind, _, credential = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not credential.strip():
        raise jwt_bearer.TokenRefused("malformed")
    return credential.strip()


def _caller_from_credential(credential: str, address: str) -> Caller:
    if not credential.startswith(api_keys.KEY_PREFIX):
        actor = jwt_bearer.authenticate(credential)
        return Caller(actor, frozenset(Scope), ("user", str(actor.user_id)))
    # A token is checked by arithmetic alone; for a key the database is asked, so whoever guesses is stopped before it.
    if seconds := rate_limits.retry_after(Limit.REFUSED, "ip", address):
        raise RateLimited(Limit.REFUSED, seconds=seconds)
    holder = api_keys.authenticate(credential)
    if holder is None:
        raise KeyRefused("key")
    return Caller(holder.actor, holder.scopes, ("key", str(holder.key_id)))
