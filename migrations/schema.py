"""Writes `migrations/schema.sql`: what the migrations make, table by table, for people to read.

It is a description and no script: what the functions do stands in `migrations/sql`. `make schema` renews it; a test
compares it with a database that the migrations made.
"""

from pathlib import Path

import psycopg

SCHEMA = Path(__file__).parent / "schema.sql"

_HEAD = "-- Made by `make schema` from a migrated database: read it, do not edit it.\n"

_TABLES = """
select c.oid::bigint, format('%I.%I', n.nspname, c.relname), obj_description(c.oid, 'pg_class')
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname in ('public', 'app') and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
 order by 2
"""
_COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       a.attidentity::text, a.attgenerated::text, col_description(a.attrelid, a.attnum)
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = %(table)s::oid and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
# PostgreSQL 18 also lists what is not null as constraints; the columns say that.
_CONSTRAINTS = """
select pg_get_constraintdef(oid) from pg_constraint
 where conrelid = %(table)s::oid and contype in ('p', 'u', 'f', 'c', 'x') order by contype::text, 1
"""
_INDEXES = """
select pg_get_indexdef(i.indexrelid) from pg_index i
 where i.indrelid = %(table)s::oid
   and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u', 'x'))
 order by 1
"""
_POLICIES = """
select p.polname,
       case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
                     else 'all' end,
       (select string_agg(case when r.rolname = current_user then 'owner of the database' else r.rolname end, ', '
                          order by r.rolname)
          from pg_roles r where r.oid = any(p.polroles)),
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
  from pg_policy p where p.polrelid = %(table)s::oid order by 1
"""
_GRANTS = """
select grantee::regrole::text, string_agg(lower(right_of.privilege_type), ', ' order by right_of.privilege_type), null
  from pg_class c cross join aclexplode(c.relacl) right_of
 where c.oid = %(table)s::oid and right_of.grantee <> c.relowner and right_of.privilege_type <> 'MAINTAIN'
 group by grantee
union all
select grantee::regrole::text, lower(right_of.privilege_type), string_agg(a.attname, ', ' order by a.attname)
  from pg_class c join pg_attribute a on a.attrelid = c.oid cross join aclexplode(a.attacl) right_of
 where c.oid = %(table)s::oid and right_of.grantee <> c.relowner
 group by grantee, right_of.privilege_type
order by 1, 2, 3
"""
_TRIGGERS = (
    "select pg_get_triggerdef(oid) from pg_trigger where tgrelid = %(table)s::oid and not tgisinternal order by 1"
)
_ROUTINES = """
select format('%I.%I(%s) returns %s', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
              pg_get_function_result(p.oid)),
       (select string_agg(right_of.grantee::regrole::text, ', ' order by right_of.grantee::regrole::text)
          from aclexplode(p.proacl) right_of where right_of.grantee <> p.proowner and right_of.grantee <> 0)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'app' order by 1
"""
_VIEWS = """
select format('%I.%I', n.nspname, c.relname),
       (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'app' and c.relkind = 'v' order by 1
"""


def describe(url: str) -> str:
    """The text of `schema.sql` for the migrated database at `url`, read as its owner.

    Raises: psycopg.Error.
    """
    with psycopg.connect(url) as owner:
        tables = owner.execute(_TABLES).fetchall()
        parts = [_HEAD, *(_table(owner, *table) for table in tables)]
        views = "".join(f"-- {name} ({columns})\n" for name, columns in owner.execute(_VIEWS))
        routines = "".join(
            f"-- {routine}{f', called by {callers}' if callers else ''}\n"
            for routine, callers in owner.execute(_ROUTINES)
        )
    return "\n".join([*parts, f"-- Views\n{views}", f"-- Functions\n{routines}"])


def _table(owner: psycopg.Connection, oid: int, name: str, comment: str | None) -> str:
    table = {"table": oid}
    columns = [(_column(*row[:6]), row[6]) for row in owner.execute(_COLUMNS, table)]
    constraints = [(definition, None) for (definition,) in owner.execute(_CONSTRAINTS, table)]
    lines = [*columns, *constraints]
    body = "".join(
        f"  {text}{',' if number < len(lines) else ''}{f'  -- {note}' if note else ''}\n"
        for number, (text, note) in enumerate(lines, start=1)
    )
    rest = [f"{definition};" for query in (_INDEXES, _TRIGGERS) for (definition,) in owner.execute(query, table)]
    rest += [_policy(name, *row) for row in owner.execute(_POLICIES, table)]
    rest += [_grant(name, *row) for row in owner.execute(_GRANTS, table)]
    head = f"-- {comment}\n" if comment else ""
    return f"{head}create table {name} (\n{body});\n" + "".join(f"{line}\n" for line in rest)


def _column(name: str, type_: str, not_null: bool, default: str | None, identity: str, generated: str) -> str:
    if generated:
        value = f" generated always as ({default}) stored"
    elif identity:
        value = " generated always as identity"
    else:
        value = f" default {default}" if default else ""
    return f"{name} {type_}{' not null' if not_null else ''}{value}"


def _policy(table: str, name: str, command: str, roles: str | None, using: str | None, check: str | None) -> str:
    conditions = (f" using ({using})" if using else "") + (f" with check ({check})" if check else "")
    return f"create policy {name} on {table} for {command} to {roles or 'public'}{conditions};"


def _grant(table: str, role: str, rights: str, columns: str | None) -> str:
    return f"grant {rights}{f' ({columns})' if columns else ''} on {table} to {role};"
