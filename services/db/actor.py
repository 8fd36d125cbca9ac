"""Who does something. Every service call takes an actor first, and every transaction runs under its database role."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.errors import Forbidden


class Role(StrEnum):
    """What a person may do: stored in `auth.users.raw_app_meta_data`."""

    ADMIN = "admin"  # staff, and manages users and settings
    OPERATOR = "operator"  # staff: sees and heals every session
    USER = "user"  # owns one session


class ActorKind(StrEnum):
    """On whose behalf a transaction runs."""

    ANONYMOUS = "anonymous"  # nobody yet: may only call the sign-in functions
    PERSON = "person"  # a signed-in user or staff member, under `authenticated` and its claims
    SYSTEM = "system"  # the receiver or the worker, under `service_role`


@dataclass(frozen=True)
class Actor:
    """A signed-in person, the system, or nobody.

    Made by `services.accounts.sign_in`, by `SYSTEM` and `ANONYMOUS` only.
    """

    kind: ActorKind
    user_id: UUID | None = None
    role: Role | None = None
    email: str = ""

    @property
    def is_staff(self) -> bool:
        return self.role in (Role.ADMIN, Role.OPERATOR)

    def require_staff(self, action: str) -> None:
        """Let only staff go on; `action` says in the log what was refused.

        Raises: Forbidden.
        """
        if not self.is_staff:
            raise Forbidden(action)

    def require_staff_or_system(self, action: str) -> None:
        """Let only staff and the worker go on.

        Raises: Forbidden.
        """
        if not self.is_staff and self.kind is not ActorKind.SYSTEM:
            raise Forbidden(action)

    def require_admin(self, action: str) -> None:
        """Let only admins go on.

        Raises: Forbidden.
        """
        if self.role is not Role.ADMIN:
            raise Forbidden(action)

    def require_user(self, action: str) -> UUID:
        """The id of the signed-in person.

        Raises: Forbidden where nobody is signed in.
        """
        if self.user_id is None:
            raise Forbidden(action)
        return self.user_id

    @property
    def database_role(self) -> str:
        """The PostgreSQL role of this actor's transactions; `none` keeps the login role itself."""
        return {"anonymous": "none", "person": "authenticated", "system": "service_role"}[self.kind]

    def claims(self) -> dict[str, Any]:
        """What `request.jwt.claims` holds, in the form PostgREST and Supabase give it."""
        if self.kind is not ActorKind.PERSON:
            return {"role": self.database_role}
        return {"sub": str(self.user_id), "role": self.database_role, "app_metadata": {"role": self.role}}


SYSTEM = Actor(ActorKind.SYSTEM)
ANONYMOUS = Actor(ActorKind.ANONYMOUS)


def person(user_id: UUID, role: Role, email: str = "") -> Actor:
    """The actor for a signed-in person."""
    return Actor(ActorKind.PERSON, user_id, role, email)
