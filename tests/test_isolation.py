"""Two tenants × every operation × every login role: the database itself keeps people apart, whatever our code does.

The checks follow the catalogue, so a table, view or function that is added later is checked without being named here;
and each check is run against a database whose protection was taken away, where it must find the leak.
"""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors

from services import settings as configuration
from services.accounts import sign_in
from services.db.actor import SYSTEM, Actor, Role
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.fleet import commands, overview, session
from services.messaging import outbox
from services.messaging.state import State
from tests.support.databases import Database
from tests.support.isolation import (
    CALLERS_OF,
    LOGINS,
    Caller,
    cloned,
    find_read_leaks,
    find_write_leaks,
    fingerprint,
    get_callers_of_functions,
    list_callers,
    list_unprotected_tables,
    login_url,
    read_rows,
)
from tests.support.tenants import SCHEMAS, Tenants

# --- everything in the catalogue --------------------------------------------------------------------------------------


def test_it_lets_nobody_read_what_is_not_theirs(tenants: Tenants) -> None:
    assert find_read_leaks(tenants) == []


def test_it_lets_nobody_write_what_is_not_theirs(tenants: Tenants) -> None:
    assert find_write_leaks(tenants) == []


def test_it_lets_a_tenant_read_their_own(tenants: Tenants) -> None:
    """Without this, a database that refuses everything would pass."""
    caller = list_callers(tenants)[0]
    with caller.session(tenants.database) as connection:
        own = {one.name for one in tenants.relations if read_rows(connection, one)}
    assert own == {
        "public.whatsapp_sessions", "public.lanes", "public.messages", "public.accounts", "public.api_keys",
        "public.session_timeline", "public.incidents", "public.break_glass_grants", "public.media", "public.contacts",
        "public.contact_addresses", "public.session_numbers",
        "public.report_buckets", "public.report_times",
        "public.schedules", "public.schedule_runs", "public.campaigns", "public.campaign_recipients",
        "public.campaign_lanes", "public.opt_outs", "public.number_checks", "public.templates",
        "public.template_versions", "public.message_annotations", "public.webhook_endpoints",
        "public.webhook_deliveries",
        "public.automations", "public.automation_uses", "public.outages", "public.outage_chats",
    }  # fmt: skip


def test_it_tries_tables_that_all_hold_something_of_the_other_tenant(tenants: Tenants) -> None:
    """A new table needs a row of each tenant in `_create_tenant`, or the check would prove nothing about it."""
    for relation in tenants.relations:
        if relation.name.startswith("public.") and relation.kind in ("r", "p") and "alembic" not in relation.name:
            rows = tenants.database.execute(f"select to_jsonb(t)::text from {relation.name} t")
            columns = {name for name, _kind in relation.columns}
            linked = columns & {"user_id", "session_id", "actor_id", "session"}
            assert rows, f"{relation.name} is empty"
            assert not linked or any(tenants.b.named_in(row) for row in rows), f"{relation.name} has nothing of B"


def test_it_finds_the_leak_when_one_table_loses_its_row_level_security(
    cluster: EmbeddedPostgres, tenants: Tenants
) -> None:
    granted = tenants.database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        " and has_any_column_privilege('authenticated', c.oid, 'select')"
    )
    writable = tenants.database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        " and has_any_column_privilege('authenticated', c.oid, 'update')"
    )
    assert ("whatsapp_sessions",) in granted
    for (table,) in granted:
        tenants.database.execute(f"alter table public.{table} disable row level security")
        leaks = find_read_leaks(tenants, f"public.{table}")
        assert f"public.{table} read by tenant A" in leaks
        assert f"public.{table} read by authenticated without claims" in leaks
        if (table,) in writable:
            with cloned(cluster, tenants) as damaged:
                assert f"public.{table} written by tenant A" in find_write_leaks(damaged, f"public.{table}")
        tenants.database.execute(f"alter table public.{table} enable row level security")
    assert find_read_leaks(tenants) == []


def test_it_finds_the_leak_when_the_policies_admit_everybody(cluster: EmbeddedPostgres, tenants: Tenants) -> None:
    with cloned(cluster, tenants) as damaged:
        policies = damaged.database.execute(
            "select policyname, tablename from pg_policies where schemaname = 'public' and 'authenticated' = any(roles)"
        )
        for policy, table in policies:
            damaged.database.execute(f"drop policy {policy} on public.{table}")
            damaged.database.execute(f"create policy {policy} on public.{table} to authenticated using (true)")
        read = [f"public.{table}" for table in ("whatsapp_sessions", "messages", "accounts", "events", "audit_log")]
        leaks = find_read_leaks(damaged, *read) + find_write_leaks(
            damaged, "public.messages", "public.whatsapp_sessions"
        )
    for table in read:
        assert f"{table} read by tenant A" in leaks
    assert "public.messages written by tenant A" in leaks  # inserted in another's name
    assert "public.whatsapp_sessions written by tenant A" in leaks


def test_it_finds_the_leak_when_the_login_role_may_do_what_its_group_may(
    cluster: EmbeddedPostgres, tenants: Tenants
) -> None:
    with cloned(cluster, tenants) as damaged:
        damaged.database.execute("grant select on all tables in schema public to plushify_console")
        damaged.database.execute("create policy careless on public.messages to plushify_console using (true)")
        assert "public.messages read by console login" in find_read_leaks(damaged, "public.messages")


def test_it_finds_the_leak_when_a_view_forgets_whose_rows_it_shows(cluster: EmbeddedPostgres, tenants: Tenants) -> None:
    with cloned(cluster, tenants) as damaged:
        damaged.database.execute("create view app.careless as select user_id, body from public.messages")
        damaged.database.execute("grant select on app.careless to authenticated")
        assert "app.careless read by tenant A" in find_read_leaks(Tenants.on(damaged, damaged.database), "app.careless")


# --- what the catalogue says ------------------------------------------------------------------------------------------


def test_it_forces_row_level_security_on_every_table(database: Database) -> None:
    assert list_unprotected_tables(database) == []


@pytest.mark.parametrize(
    "damage",
    [
        "create table public.careless (user_id uuid)",
        "alter table public.messages no force row level security",
        "alter table public.messages disable row level security",
        "create table public.half (session_id uuid); alter table public.half enable row level security",
    ],
)
def test_it_sees_a_table_without_forced_row_level_security(database: Database, damage: str) -> None:
    for statement in damage.split(";"):
        database.execute(statement)
    assert len(list_unprotected_tables(database)) == 1


def test_it_gives_views_no_more_than_a_staff_check(tenants: Tenants, new_actor: Callable[..., Actor]) -> None:
    staff = new_actor(Role.OPERATOR)
    with transaction(staff) as tx:
        assert tx.exec_driver_sql("select count(*) from app.directory").scalar_one() >= 3
    with transaction(tenants.a.actor) as tx:
        assert tx.exec_driver_sql("select count(*) from app.directory").scalar_one() == 0


def test_it_lets_each_function_be_called_only_by_those_it_is_for(database: Database) -> None:
    assert get_callers_of_functions(database, ("public", "app")) == CALLERS_OF


def test_it_lets_only_the_worker_into_the_jobs(database: Database) -> None:
    for role in ("plushify_console", "plushify_system", "authenticated", "anon"):
        assert not database.one("select has_schema_privilege(%s, 'jobs', 'usage')", role)
    assert database.one("select has_schema_privilege('service_role', 'jobs', 'usage')")


def test_it_lets_security_definer_functions_find_names_in_no_schema_of_others(database: Database) -> None:
    loose = database.execute(
        "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname in ('public', 'app') and p.prosecdef"
        " and p.proconfig is distinct from array['search_path=\"\"']"
        " and p.proconfig is distinct from array['search_path=pg_catalog, pg_temp']"
    )
    assert loose == []


@pytest.mark.parametrize("login", LOGINS)
def test_it_gives_a_login_role_no_power_of_its_own(database: Database, login: str) -> None:
    role = LOGINS[login]
    powers = database.execute(
        "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit"
        " from pg_roles where rolname = %s",
        role,
    )
    assert powers == [(False,) * 6]
    owned = "select count(*) from pg_shdepend where refobjid = %s::regrole and deptype = 'o'"
    assert database.one(owned, role) == 0
    groups = database.execute(
        # Distinct: from PostgreSQL 16 on there is a row for each who granted it, and a cluster serves many databases.
        "select distinct roleid::regrole::text from pg_auth_members where member = %s::regrole and not admin_option",
        role,
    )
    assert groups == [({"console": "authenticated", "system": "service_role"}[login],)]
    assert not database.one("select pg_has_role(%s, %s, 'usage')", role, groups[0][0])  # nothing is inherited
    for schema in SCHEMAS:
        assert not database.one("select has_schema_privilege(%s, %s, 'create')", role, schema)


@pytest.mark.parametrize(
    ("login", "forbidden"),
    [
        ("console", ["service_role", "postgres", "plushify_system", "anon", "pg_read_all_data"]),
        ("system", ["authenticated", "postgres", "plushify_console", "anon", "pg_write_all_data"]),
    ],
)
@pytest.mark.parametrize("first", ["none", "own group"])
def test_it_lets_a_login_become_nobody_else(database: Database, login: str, forbidden: list[str], first: str) -> None:
    group = {"console": "authenticated", "system": "service_role"}[login]
    with psycopg.connect(login_url(database, login), autocommit=True) as connection:
        if first == "own group":
            connection.execute(f"set role {group}")
        for role in forbidden:
            for statement in (
                f"set role {role}",
                f"select set_config('role', '{role}', false)",
                f"set session authorization {role}",
                f"grant {role} to {LOGINS[login]}",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"alter role {LOGINS[login]} bypassrls")
        for change in (
            "alter table public.messages disable row level security",
            "drop policy messages_of_owner on public.messages",
            "create policy mine on public.messages using (true)",
            "create or replace function app.is_staff() returns boolean language sql as 'select true'",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(change)


def test_it_cannot_be_talked_out_of_row_level_security(tenants: Tenants) -> None:
    caller = list_callers(tenants)[0]
    with caller.connection(tenants.database) as connection, caller.transaction(connection):
        connection.execute("set local row_security = off")
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute("select * from public.messages")


@pytest.mark.parametrize("role", ["none", "authenticated"])
def test_it_shows_auth_users_to_no_page(tenants: Tenants, role: str) -> None:
    caller = Caller("page", "console", role, json.dumps(tenants.a.actor.claims()))
    with caller.connection(tenants.database) as connection:
        for column in ("*", "id", "email", "encrypted_password", "count(*)"):
            with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                connection.execute(f"select {column} from auth.users")


@pytest.mark.parametrize("role", [Role.USER, Role.OPERATOR, Role.ADMIN])
def test_it_shows_webhook_secret_hashes_to_no_person(
    tenants: Tenants, new_actor: Callable[..., Actor], role: Role
) -> None:
    actor = tenants.a.actor if role is Role.USER else new_actor(role)
    caller = Caller("person", "console", "authenticated", json.dumps(actor.claims()))
    with caller.connection(tenants.database) as connection:
        for column in ("webhook_secret_hash", "webhook_secret_previous_hash", "webhook_secret_used_at"):
            for statement in (
                f"select {column} from public.whatsapp_sessions",
                f"select 1 from public.whatsapp_sessions where {column} is null",
                f"select 1 from public.whatsapp_sessions order by {column}",
                f"update public.whatsapp_sessions set failure = {column}::text",
                f"update public.whatsapp_sessions set failure = null returning {column}",
            ):
                with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                    connection.execute(statement)


def test_it_keeps_messages_from_staff_too(tenants: Tenants, new_actor: Callable[..., Actor]) -> None:
    for role in (Role.OPERATOR, Role.ADMIN):
        with transaction(new_actor(role)) as tx:
            assert tx.exec_driver_sql("select count(*) from messages").scalar_one() == 0
            assert tx.exec_driver_sql("select count(*) from whatsapp_sessions").scalar_one() == 3


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_it_lets_staff_send_from_nobodys_whatsapp(
    tenants: Tenants, new_actor: Callable[..., Actor], role: Role
) -> None:
    """Staff see every session, so that only the policy on messages stands in the way."""
    staff = new_actor(role)
    caller = Caller("staff", "console", "authenticated", json.dumps(staff.claims()))
    queue = (
        "insert into messages (session_id, user_id, direction, state, phone, body)"
        " values (%s, %s, 'out', 'queued', '5511987654321', 'x')"
    )
    with caller.connection(tenants.database) as connection:
        for sender in (staff.user_id, tenants.b.actor.user_id):
            with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                connection.execute(queue, [tenants.b.session_id, sender])


def test_it_revokes_nobody_elses_tokens(tenants: Tenants) -> None:
    caller = list_callers(tenants)[0]
    with caller.connection(tenants.database) as connection:
        for statement in ("select app.revoke_tokens(%s)", "select app.get_sign_in(%s)"):
            with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                connection.execute(statement, [tenants.b.actor.user_id])
    with pytest.raises(Forbidden):
        sign_in.sign_out_everywhere(tenants.a.actor, tenants.b.actor.user_id)
    assert tenants.database.one("select token_version from accounts where user_id = %s", tenants.b.actor.user_id) == 1


def test_it_has_no_truncate_references_or_trigger_right_for_anybody(database: Database) -> None:
    """Row level security binds none of the three."""
    found = database.execute(
        """
        select c.oid::regclass::text, r.role, k.kind
          from pg_class c, unnest(array['plushify_console', 'plushify_system', 'authenticated', 'anon']) as r (role),
               unnest(array['truncate', 'references', 'trigger']) as k (kind)
         where c.relnamespace in ('public'::regnamespace, 'app'::regnamespace, 'jobs'::regnamespace)
           and c.relkind in ('r', 'p', 'v') and has_table_privilege(r.role, c.oid, k.kind)
        """
    )
    assert found == []


# --- the services -----------------------------------------------------------------------------------------------------


def test_it_answers_a_tenants_services_with_their_own_only(tenants: Tenants) -> None:
    a, b = tenants.a.actor, tenants.b.actor
    mine = session.get(a)
    assert mine is not None
    assert mine.user_id == a.user_id
    assert [one.body in tenants.a.marks for one in outbox.list_recent(a)] == [True]
    assert overview.get_counts(a) == overview.StatusCounts(1, 0, 0, 1, 0)
    # B's key is nothing to A: neither B's message comes back nor is A's refused.
    sent = outbox.queue(a, "11987654321", "de A", "a-key-of-a")
    theirs = outbox.queue(b, "11987654321", "de B", "a-key-of-a")
    assert (sent.body, theirs.body) == ("de A", "de B")
    assert {one.body for one in outbox.list_recent(a)} == {"de A", tenants.a.marks[2]}
    assert tenants.database.one("select session_id from messages where id = %s", sent.id) == tenants.a.session_id


@pytest.mark.parametrize("call", [session.get, commands.connect, commands.reconnect, commands.disconnect])
def test_it_refuses_a_tenant_another_tenants_session(tenants: Tenants, call: Callable[..., Any]) -> None:
    before = fingerprint(tenants, next(one for one in tenants.relations if one.name == "public.whatsapp_sessions"))
    with pytest.raises(Forbidden):
        call(tenants.a.actor, tenants.b.actor.user_id)
    after = fingerprint(tenants, next(one for one in tenants.relations if one.name == "public.whatsapp_sessions"))
    assert after == before


def test_it_refuses_a_tenant_the_fleet(tenants: Tenants) -> None:
    with pytest.raises(Forbidden):
        overview.list_rows(tenants.a.actor)


def test_it_still_isolates_when_a_service_forgets_to_ask(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is the wall; the services' own checks only make the refusal kinder."""
    for module in (session, commands):
        monkeypatch.setattr(module, "require_owner", lambda actor, user_id: user_id or actor.user_id)
    other = tenants.b.actor.user_id
    assert session.get(tenants.a.actor, other) is None
    with pytest.raises(NotFound):
        commands.disconnect(tenants.a.actor, other)
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        _raise_driver_error(lambda: commands.connect(tenants.a.actor, other))
    assert "row-level security" in str(refused.value)


def _raise_driver_error(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:  # the outermost layer of this check: it only unwraps
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


def test_it_lets_the_worker_see_every_tenant(tenants: Tenants) -> None:
    """The counterpart: what runs as `service_role` must find everybody's work."""
    with transaction(SYSTEM) as tx:
        queued = tx.exec_driver_sql("select count(*) from messages where state = %s", (State.QUEUED.value,))
        assert queued.scalar_one() == 2


def test_it_connects_each_process_with_its_own_login(database: Database) -> None:
    configured = configuration.get()
    assert LOGINS["console"] in configured.database.console_url.get_secret_value()
    assert LOGINS["system"] in configured.database.system_url.get_secret_value()
