"""The tokens that carry a sign-in: the one in the cookie, and the ticket with which a page fetches its cookie.

A token is a JWT, signed with HS256 and `AUTH_COOKIE_KEY`. It only says which sign-in it belongs to; `sign_in` says
whether that one still counts.
"""

import time
from dataclasses import replace
from enum import StrEnum
from uuid import UUID

import jwt

from services import settings
from services.accounts.sign_in import MAX_SIGN_IN_SECONDS, SIGN_IN_SECONDS, SignIn, get_account, open_sign_in
from services.db.actor import Actor
from services.errors import (
    Unauthenticated,
)

# A ticket only crosses from the page to the cookie route, in the page's own source: it must be worthless soon after.
TICKET_SECONDS = 60


class TokenKind(StrEnum):
    """What a token is good for: one kind is never accepted as the other."""

    COOKIE = "cookie"
    TICKET = "ticket"


def issue_token(actor: Actor) -> str:
    """A cookie token of a new sign-in of `actor`, good for seven days.

    Raises: Unauthenticated for anybody else.
    """
    if actor.user_id is None:
        raise Unauthenticated
    return encode_token(open_sign_in(actor.user_id))


def verify_token(token: str) -> Actor | None:
    """Whose cookie token that is, or None: forged, malformed, expired, signed out, revoked and inactive alike."""
    sign_in = decode_token(token)
    account = get_account(sign_in) if sign_in else None
    return account.actor if account else None


def encode_token(sign_in: SignIn, kind: TokenKind = TokenKind.COOKIE) -> str:
    """The token that carries a sign-in: the cookie's, or a ticket with which a page may fetch its cookie."""
    now = int(time.time())
    expires = sign_in.expires_at if kind is TokenKind.COOKIE else min(now + TICKET_SECONDS, sign_in.expires_at)
    claims = {
        "sub": str(sign_in.user_id),
        "jti": str(sign_in.sign_in_id),
        "iat": now,
        "auth_time": sign_in.began,
        "exp": expires,
        "aud": str(kind),
        "token_version": sign_in.token_version,
    }
    return jwt.encode(claims, _signing_key(), algorithm="HS256")


def decode_token(token: str, kind: TokenKind = TokenKind.COOKIE) -> SignIn | None:
    """The sign-in in a token that we signed and that has not expired, else None.

    It may have been revoked: ask `sign_in.get_account`.
    """
    try:
        claims = jwt.decode(
            token,
            _signing_key(),
            algorithms=["HS256"],
            audience=str(kind),
            options={"require": ["sub", "jti", "iat", "exp", "aud"]},
        )
        began = claims.get("auth_time", claims["iat"])  # older cookies were never renewed
        return SignIn(
            UUID(claims["sub"]), UUID(claims["jti"]), int(claims["token_version"]), int(claims["exp"]), int(began)
        )
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return None


def redeem_ticket(ticket: str) -> str | None:
    """The cookie token for a ticket that is fresh and whose sign-in still counts."""
    read = decode_token(ticket, TokenKind.TICKET)
    if read is None or get_account(read) is None:
        return None
    until = min(read.expires_at - TICKET_SECONDS + SIGN_IN_SECONDS, read.began + MAX_SIGN_IN_SECONDS)
    return encode_token(replace(read, expires_at=until))


def _signing_key() -> str:
    return settings.get().auth.cookie_key.get_secret_value()
