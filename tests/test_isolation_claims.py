"""Whatever claims a request brings: the database opens to it what they were issued for, and nothing else."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg import errors

from tests.support.isolation import Caller, read_rows
from tests.support.tenants import Tenants

# PostgreSQL refuses the two kinds of text that JSON can spell and no text of its own can hold.
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# Values that have power somewhere, in places where they must have none.
TEMPTING = st.sampled_from(
    ["service_role", "postgres", "supabase_admin", "*", "%", "' or true --", "", "user", "ADMIN"]
)
OTHER_ROLES = TEXT.filter(lambda role: role not in ("admin", "operator")) | TEMPTING
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "sub": JSON | TEMPTING | st.uuids().map(str),
        "role": JSON | TEMPTING | st.sampled_from(["admin", "operator"]),
        "app_metadata": JSON | st.fixed_dictionaries({"role": OTHER_ROLES | st.lists(st.just("admin"))}),
        "user_metadata": st.fixed_dictionaries({"role": st.just("admin")}),
        "is_staff": st.just(True),
        "raw_app_meta_data": st.just({"role": "admin"}),
    },
)
ON_ONE_DATABASE = examples(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def seen_with(tenants: Tenants, claims: str) -> list[Any]:
    """Every row of every relation that `claims` open; a refusal shows none."""
    caller = Caller("with claims", "console", "authenticated", claims)
    seen: list[Any] = []
    with caller.session(tenants.database) as connection:
        for relation in tenants.relations:
            with contextlib.suppress(errors.DataError, errors.ProgrammingError):
                seen += read_rows(connection, relation)
    return seen


@ON_ONE_DATABASE
@given(claims=CLAIMS.map(json.dumps) | JSON.map(json.dumps) | TEXT)
def test_it_opens_nothing_to_claims_that_nobody_issued(tenants: Tenants, claims: str) -> None:
    assert seen_with(tenants, claims) == []


@ON_ONE_DATABASE
@given(claims=CLAIMS)
def test_it_opens_only_their_own_to_a_tenant_whatever_else_they_claim(tenants: Tenants, claims: dict[str, Any]) -> None:
    seen = seen_with(tenants, json.dumps({**claims, "sub": str(tenants.a.actor.user_id)}))
    assert seen
    assert not [row for row in seen if tenants.b.named_in(row) or not tenants.a.named_in(row)]


@pytest.mark.parametrize("sub", ["not-a-uuid", "1", "{}", "' or true --", "00000000-0000-0000-0000-00000000000", 7, {}])
def test_it_refuses_a_malformed_sub(tenants: Tenants, sub: Any) -> None:
    caller = Caller("malformed", "console", "authenticated", json.dumps({"sub": sub}))
    with caller.connection(tenants.database) as connection:
        for table in ("whatsapp_sessions", "messages", "accounts"):
            with pytest.raises(errors.InvalidTextRepresentation), caller.transaction(connection):
                connection.execute(f"select user_id from public.{table}")
