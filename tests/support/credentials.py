"""JSON Web Tokens as the owner's sign-in issues them, good and bad."""

import time
from typing import Any
from uuid import UUID

import jwt

from services.db.actor import Actor

JWT_SECRET = "the-secret-that-signs-the-users-tokens-in-tests"


def make_jwt(user: Actor | UUID, key: Any = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token of the shape that Supabase issues; a claim given as None is left out."""
    now = int(time.time())
    content = {
        "sub": str(user.user_id if isinstance(user, Actor) else user),
        "aud": "authenticated",
        "role": "authenticated",
        "iat": now,
        "exp": now + 3600,
        **{name: value for name, value in claims.items() if name != "headers"},
    }
    content = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm, headers=claims.get("headers"))


def bearer_header(credential: str) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {credential}"}
