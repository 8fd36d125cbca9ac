"""Bearer JWTs of another issuer: tokens of the owner's own sign-in (Supabase's or any other), never issued here.

Each kind of signature has its own key: HS256 is checked with `JWT_SECRET` only, RS256 and ES256 only with the public
keys of `JWT_JWKS_URL`, and `none` is refused. So a public key can never be used as a shared secret. Roles in a token
are ignored. Whether its user is still active is asked of the database each time.
"""

import functools
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from uuid import UUID

import jwt
import structlog

from services import settings
from services.accounts import sign_in
from services.db.actor import Actor, Role, person
from services.errors import N_, ServiceError, Unauthenticated

log = structlog.get_logger(__name__)

SHARED_SECRET_ALGORITHMS = ("HS256",)
PUBLIC_KEY_ALGORITHMS = ("RS256", "ES256")
# No issuer makes longer ones; what is longer is not even decoded.
MAX_TOKEN_LENGTH = 8 * 1024
JWKS_LIFETIME_SECONDS = 300
JWKS_TIMEOUT_SECONDS = 5
# A key that is not known yet makes the set be asked for again, at most this often: forged key ids cost nothing.
JWKS_REFRESH_PAUSE_SECONDS = 10.0

RefusalReason = Literal[
    "malformed", "algorithm", "unknown_key", "signature", "expired", "audience", "issuer", "claims", "inactive"
]


class TokenRefused(Unauthenticated):
    """The token does not say who is there. `reason` is for the security event and never for the caller."""

    code: ClassVar[str] = "token_invalido"
    message = N_("A credencial não é válida ou já venceu.")
    hint = N_("Entre de novo e repita o pedido.")

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason)
        self.reason = reason


class KeysUnavailable(ServiceError):
    """The address in JWT_JWKS_URL does not answer: nobody can be told from anybody else for the moment."""

    code = "chaves_indisponiveis"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("Não foi possível conferir a credencial agora.")
    hint = N_("Nada foi feito. Tente de novo em alguns segundos.")


def authenticate(token: str) -> Actor:
    """The user whom `token` names, as an ordinary user: what staff may do is done in the console.

    Raises: TokenRefused, KeysUnavailable or DatabaseUnavailable.
    """
    user_id = _user_id_from_claims(_verify(token))
    account = sign_in.get_user_account(user_id)
    if account is None:
        raise TokenRefused("inactive")
    return person(user_id, Role.USER, account.actor.email)


def _verify(token: str) -> Mapping[str, Any]:
    if len(token) > MAX_TOKEN_LENGTH:
        raise TokenRefused("malformed")
    configured = settings.get().jwt
    key, algorithm = _verification_key(token)
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=configured.audience,
            issuer=configured.issuer or None,
            leeway=configured.leeway_seconds,
            options={"require": ["sub", "exp", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(_refusal_reason(error)) from None
    return claims


def _verification_key(token: str) -> tuple[Any, str]:
    """The key that the token's kind of signature is checked with, chosen by us, and that kind."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise TokenRefused("malformed") from None
    algorithm, configured = header.get("alg"), settings.get().jwt
    secret = configured.secret.get_secret_value()
    if algorithm in SHARED_SECRET_ALGORITHMS and secret:
        return secret, algorithm
    if algorithm in PUBLIC_KEY_ALGORITHMS and configured.jwks_url:
        return _published_keys().get(header.get("kid"), algorithm), algorithm
    raise TokenRefused("algorithm")


def _refusal_reason(error: jwt.PyJWTError) -> RefusalReason:
    named: tuple[tuple[type[jwt.PyJWTError], RefusalReason], ...] = (
        (jwt.ExpiredSignatureError, "expired"),
        (jwt.InvalidAudienceError, "audience"),
        (jwt.InvalidIssuerError, "issuer"),
        (jwt.InvalidSignatureError, "signature"),
        (jwt.InvalidAlgorithmError, "algorithm"),
        (jwt.MissingRequiredClaimError, "claims"),
        (jwt.ImmatureSignatureError, "claims"),
        (jwt.InvalidIssuedAtError, "claims"),
    )
    return next((reason for kind, reason in named if isinstance(error, kind)), "malformed")


def _user_id_from_claims(claims: Mapping[str, Any]) -> UUID:
    try:
        return UUID(str(claims["sub"]))
    except ValueError:
        raise TokenRefused("claims") from None


class _PublishedKeys:
    """The public keys at JWT_JWKS_URL, fetched when first needed and kept for five minutes."""

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, lifespan=JWKS_LIFETIME_SECONDS, timeout=JWKS_TIMEOUT_SECONDS)
        self._asked_at = -JWKS_REFRESH_PAUSE_SECONDS
        self._lock = threading.Lock()

    def get(self, key_id: object, algorithm: str) -> Any:
        """The key with this id, made for this algorithm.

        Raises: TokenRefused or KeysUnavailable.
        """
        with self._lock:
            found = self._find(key_id)
            if found is None and time.monotonic() - self._asked_at > JWKS_REFRESH_PAUSE_SECONDS:
                self._asked_at = time.monotonic()
                found = self._find(key_id, refresh=True)
        if found is None:
            raise TokenRefused("unknown_key")
        if found.algorithm_name != algorithm:
            raise TokenRefused("algorithm")
        return found.key

    def _find(self, key_id: object, *, refresh: bool = False) -> jwt.PyJWK | None:
        try:
            keys = self._client.get_signing_keys(refresh=refresh)
        except jwt.PyJWKClientConnectionError as error:
            log.warning("jwks_unreachable", error=type(error).__name__)
            raise KeysUnavailable("JWT_JWKS_URL does not answer") from None
        except jwt.PyJWTError as error:
            log.warning("jwks_unusable", error=type(error).__name__)
            raise KeysUnavailable("JWT_JWKS_URL answers no usable key set") from None
        return next((key for key in keys if key.key_id == key_id), None)


@functools.cache
def _published_keys() -> _PublishedKeys:
    return _PublishedKeys(settings.get().jwt.jwks_url)
