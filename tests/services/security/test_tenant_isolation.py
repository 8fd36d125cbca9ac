"""The live proof of isolation: it passes on a sound database, finds each leak, and changes nothing."""

import pytest

from services.db.actor import Actor
from services.errors import Forbidden
from services.security import tenant_isolation
from services.security.tenant_isolation import Operation, Outcome, Report
from tests.support.databases import Database
from tests.support.tenants import Tenants


def leaks(report: Report) -> set[tuple[str, Operation]]:
    return {(one.target, one.operation) for one in report.of(Outcome.LEAK)}


def everything(database: Database) -> list[tuple[object, ...]]:
    """Every row of every table but those that the run itself is recorded in."""
    tables = database.execute(
        "select c.oid::regclass::text from pg_class c where c.relnamespace in ('public'::regnamespace,"
        " 'auth'::regnamespace) and c.relkind = 'r' and c.relname not in ('audit_log', 'audit_head', 'security_events')"
    )
    return [row for (table,) in tables for row in database.execute(f"select xmin::text, t::text from {table} t")]


def test_it_proves_a_sound_database_and_changes_nothing(tenants: Tenants, staff: Actor) -> None:
    before = everything(tenants.database)
    steps: list[tuple[int, int]] = []
    report = tenant_isolation.run_isolation_test(staff, lambda done, of: steps.append((done, of)))
    assert [one for one in report.attempts if one.outcome is not Outcome.REFUSED and one.rows != 0] == []
    assert everything(tenants.database) == before
    assert steps[-1] == (len(report.attempts), len(report.attempts))
    tables = tenants.database.execute("select relname from pg_class where relnamespace = 'public'::regnamespace"
                                    " and relkind = 'r' and relrowsecurity")  # fmt: skip
    tried = {(one.target, one.operation) for one in report.attempts}
    operations = (Operation.READ, Operation.INSERT, Operation.UPDATE, Operation.DELETE)
    assert {(f"public.{name}", operation) for (name,) in tables for operation in operations} <= tried
    assert {("auth.users", Operation.READ), ("service_role", Operation.BECOME)} <= tried
    assert ("app.begin_sign_in", Operation.CALL) in tried
    run = tenant_isolation.get_last_run(staff)
    assert run is not None
    assert (run.leaks, run.refused) == (0, len(report.of(Outcome.REFUSED)))
    assert tenants.database.one("select count(*) from security_events where kind = 'isolation_leak'") == 0


def test_it_claims_no_proof_about_an_empty_table(database: Database, staff: Actor) -> None:
    """People may read this one, so that only rows of others could show whether they are kept apart."""
    report = tenant_isolation.run_isolation_test(staff)
    outcomes = {one.operation: one.outcome for one in report.attempts if one.target == "public.whatsapp_sessions"}
    assert outcomes[Operation.READ] is Outcome.UNPROVABLE
    assert outcomes[Operation.UPDATE] is Outcome.UNPROVABLE
    assert outcomes[Operation.INSERT] is Outcome.REFUSED
    assert leaks(report) == set()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            "alter table whatsapp_sessions disable row level security",
            {
                ("public.whatsapp_sessions", Operation.READ),
                ("public.whatsapp_sessions", Operation.INSERT),
                ("public.whatsapp_sessions", Operation.UPDATE),
                # Whose lane it is is asked of that table.
                ("public.lanes", Operation.READ),
            },
        ),
        ("create policy careless on messages for select to authenticated using (true)",
         {("public.messages", Operation.READ)}),
        ("create policy careless on messages for insert to authenticated with check (true)",
         {("public.messages", Operation.INSERT)}),
        ("grant delete on accounts to authenticated; create policy careless on accounts for delete to authenticated"
         " using (true)", {("public.accounts", Operation.DELETE)}),
        ("grant service_role to plushify_console", {("service_role", Operation.BECOME)}),
        ("grant usage on schema auth to authenticated; grant select (id) on auth.users to authenticated",
         {("auth.users", Operation.READ)}),
        ("grant execute on function app.locked_until(bytea, text), app.get_sign_in(uuid, uuid) to authenticated",
         {("app.get_sign_in", Operation.CALL)}),
        ("create table others (user_id uuid); insert into others values (gen_random_uuid());"
         " grant select on others to authenticated", {("public.others", Operation.READ)}),
        ("create view app.careless as select user_id from messages; grant select on app.careless to authenticated",
         {("app.careless", Operation.READ)}),
    ],
)  # fmt: skip
def test_it_finds_a_leak_and_writes_it_down(
    tenants: Tenants, staff: Actor, damage: str, expected: set[tuple[str, Operation]]
) -> None:
    for statement in damage.split(";"):
        tenants.database.execute(statement)
    try:
        before = everything(tenants.database)
        report = tenant_isolation.run_isolation_test(staff)
        assert expected <= leaks(report)
        assert {target for target, _operation in leaks(report)} == {target for target, _operation in expected}
        assert everything(tenants.database) == before
    finally:
        # Memberships belong to the whole server.
        tenants.database.execute("revoke service_role from plushify_console")
    events = tenants.database.execute("select subject, actor_id from security_events where kind = 'isolation_leak'")
    assert {subject for subject, _actor in events} == {
        f"{one.target}:{one.operation}" for one in report.of(Outcome.LEAK)
    }
    assert {actor for _subject, actor in events} == {staff.user_id}


def test_it_is_for_staff_alone(user: Actor) -> None:
    for call in (tenant_isolation.run_isolation_test, tenant_isolation.get_last_run):
        with pytest.raises(Forbidden):
            call(user)
