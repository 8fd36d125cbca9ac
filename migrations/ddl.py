"""What the migrations share: run SQL as it is, install functions, views and triggers by name, close a tenant's table.

A function, a view or a trigger is the file `migrations/sql/<name>.sql`, which always holds its newest text; a migration
says by `install` where it comes in. A later migration that changes it installs it again.
"""

from pathlib import Path
from typing import Literal, LiteralString

from alembic import op
from psycopg import Connection, sql
from sqlalchemy.engine import make_url

from services import settings

SQL = Path(__file__).parent / "sql"

Readers = Literal["owner", "owner_or_staff", "staff", "nobody"]

_READERS: dict[Readers, LiteralString] = {
    "owner": "(select auth.uid()) = user_id",
    "owner_or_staff": "(select auth.uid()) = user_id or (select app.is_staff())",
    "staff": "(select app.is_staff())",
}
_DEFINER_POLICIES: dict[str, LiteralString] = {
    "all": "create policy {policy} on {table} to current_user using (true) with check (true)",
    "read": "create policy {policy} on {table} for select to current_user using (true)",
}
_TABLE = """
alter table {table} enable row level security;
alter table {table} force row level security;
revoke all on {table} from public, anon, authenticated, service_role;
grant {system} on {table} to service_role;
create policy {of_system} on {table} to service_role using (true) with check (true);
"""


def execute(statements: LiteralString | sql.Composed) -> None:
    """Run one or more statements as they are: no character in them is a parameter."""
    _connection().execute(statements)


def install(*names: str) -> None:
    """Make, or make anew, the functions, views and triggers of `migrations/sql/<name>.sql`, in this order.

    Bodies may name tables that come later. Nobody may call a new function until its file grants it: PostgreSQL would
    give that to everybody.
    """
    connection = _connection()
    connection.execute("set local check_function_bodies = off")
    for name in names:
        connection.execute(sql.SQL((SQL / f"{name}.sql").read_text(encoding="utf-8")))


def tenant_table(
    name: str,
    *,
    read_by: Readers = "owner",
    system: LiteralString = "select, insert, update, delete",
    definer: Literal["all", "read"] | None = None,
) -> None:
    """Close `public.<name>` by row-level security, also against its owner.

    The system has the rights `system` on every row; who else may read it is `read_by`, by its column `user_id`.
    What people may write is granted by the migration itself, column by column. `definer` says what functions that
    run as the owner of the database may do with every row: they are bound by row-level security, too.
    """
    table = sql.Identifier("public", name)
    execute(sql.SQL(_TABLE).format(table=table, system=sql.SQL(system), of_system=sql.Identifier(f"{name}_of_system")))
    if definer is not None:
        policy = sql.Identifier(f"{name}_of_database_owner")
        execute(sql.SQL(_DEFINER_POLICIES[definer]).format(policy=policy, table=table))
    if read_by != "nobody":
        execute(
            sql.SQL(
                "grant select on {table} to authenticated;"
                "create policy {policy} on {table} for select to authenticated using ({readers})"
            ).format(table=table, policy=sql.Identifier(f"{name}_of_{read_by}"), readers=sql.SQL(_READERS[read_by]))
        )


def console_login() -> sql.Identifier:
    """The role by which the console and the API enter the database."""
    return _login(settings.get().database.console_url.get_secret_value())


def system_login() -> sql.Identifier:
    """The role by which the receiver and the worker enter the database."""
    return _login(settings.get().database.system_url.get_secret_value())


def _login(url: str) -> sql.Identifier:
    return sql.Identifier(make_url(url).username or "")


def _connection() -> Connection:
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, Connection)
    return connection
