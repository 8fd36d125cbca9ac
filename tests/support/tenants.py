"""Tenants with something in every table, to try whether one reaches another's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from psycopg import sql

from services.db.actor import Actor
from tests.support.databases import Database
from tests.support.sessions import connected

SCHEMAS = ("public", "app", "jobs", "auth")


@dataclass(frozen=True)
class Tenant:
    """A person and everything by which a row can name them."""

    actor: Actor
    session_id: UUID | None
    marks: tuple[str, ...]

    def named_in(self, row: object) -> bool:
        return any(mark in str(row) for mark in self.marks)


@dataclass(frozen=True)
class Relation:
    """A table or view, with its columns' names and types."""

    oid: int
    name: str
    kind: str
    columns: tuple[tuple[str, str], ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))


@dataclass
class Tenants:
    """The tenants of one test: `a` attacks, `b` has something of everything, `c` nothing yet, `d` only a session."""

    database: Database
    a: Tenant
    b: Tenant
    c: Tenant
    d: Tenant
    relations: list[Relation] = field(default_factory=list, repr=False)

    def on(self, database: Database) -> "Tenants":
        """The same tenants in a clone of their database."""
        return Tenants(database, self.a, self.b, self.c, self.d, list_relations(database))


def list_relations(database: Database) -> list[Relation]:
    rows = database.execute(
        """
        select c.oid::integer, n.nspname || '.' || c.relname, c.relkind::text,
               json_agg(json_build_array(a.attname, format_type(a.atttypid, null)) order by a.attnum)
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
          join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where n.nspname = any(%s) and c.relkind = any('{r,p,v,m,f}') group by 1, 2, 3 order by 2
        """,
        list(SCHEMAS),
    )
    return [Relation(oid, name, kind, tuple(map(tuple, columns))) for oid, name, kind, columns in rows]


def create_tenants(database: Database, new_actor: Callable[[], Actor]) -> Tenants:
    """Two tenants with something in every table, and two whom no unique key protects yet."""
    a, b = (_create_tenant(database, new_actor()) for _ in range(2))
    c, d = new_actor(), new_actor()
    session_id = connected(database, d)
    database.execute("delete from lanes where session_id = %s", session_id)
    database.execute("insert into rolling_restarts (actor_id) values (%s)", b.actor.user_id)
    database.execute(
        "insert into rolling_restart_items (rolling_restart_id, session_id, user_id, server_url)"
        " select w.id, s.id, s.user_id, s.server_url from rolling_restarts w, whatsapp_sessions s"
    )
    database.execute("insert into fleet_samples values (now(), '{}')")
    database.execute("insert into heartbeats (process, instance) values ('worker', 'here:1')")
    database.execute("insert into cleanup_runs (actor_id, kinds) values (%s, '{codes}')", b.actor.user_id)
    database.execute("insert into wpp_servers (url) values ('http://127.0.0.1:9')")
    database.execute("insert into server_checks (url, steps) values ('http://127.0.0.1:9', 31)")
    database.execute("insert into process_metrics (process, instance, samples) values ('worker', 'here:1', '[]')")
    database.execute("insert into sign_in_attempts (key) values ('\\x00')")
    database.execute("insert into signed_out (sign_in_id, expires_at) values (gen_random_uuid(), now())")
    fourth = Tenant(d, session_id, (str(d.user_id), str(session_id)))
    return Tenants(database, a, b, Tenant(c, None, (str(c.user_id),)), fourth).on(database)


def _create_tenant(database: Database, actor: Actor) -> Tenant:
    session_id = connected(database, actor)
    name = f"user_{actor.user_id}"
    mark = f"private-{uuid4().hex}"
    database.execute(
        "update whatsapp_sessions set webhook_secret_hash = sha256(%s::bytea), qr_urlcode = %s, qr_code = %s,"
        " phone_code = %s, device_name = %s where id = %s",
        mark.encode(), mark, mark, mark, mark, session_id,
    )  # fmt: skip
    database.execute("insert into accounts (user_id, name) values (%s, %s)", actor.user_id, mark)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, idempotency_key, wpp_id)"
        " values (%s, %s, 'out', 'queued', '5511987654321', %s, 'the-same-key', 'the-same-id')",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into media (user_id, sha256, mimetype, size) values (%s, sha256(%s::bytea), 'image/png', 1)",
        actor.user_id, mark.encode(),
    )  # fmt: skip
    database.execute(
        "insert into contacts (session_id, user_id, address, name) values (%s, %s, '5511987654321@c.us', %s)",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into opt_outs (user_id, phone, trigger_word) values (%s, '5511987654321', %s)", actor.user_id, mark
    )
    database.execute(
        "insert into report_buckets select 'quarter', %s, now(), 'out', null, null, null, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
        " 0, 0, 0, 0",
        actor.user_id,
    )
    database.execute("insert into report_times values (%s, now(), 'delivery', 1, 1)", actor.user_id)
    database.execute("insert into report_dirty_buckets (user_id, quarter) values (%s, now())", actor.user_id)
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, address)"
        " values (%s, %s, '5511987654321', true, %s)",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "with made as (insert into templates (user_id, name) values (%s, 'Pedido') returning id, user_id)"
        " insert into template_versions (template_id, version, user_id, kind, body, created_by)"
        " select id, 1, user_id, 'chat', %s, user_id from made",
        actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into api_keys (user_id, name, scopes, prefix, secret_hash)"
        " values (%s, %s, array['read'], 'plk_', sha256(%s::bytea))",
        actor.user_id, mark, mark.encode(),
    )  # fmt: skip
    database.execute(
        "insert into rate_limits (key, hits, expires_at) values (sha256(%s::bytea), 1, now())", mark.encode()
    )
    database.execute(
        "insert into session_timeline (session_id, user_id, kind, action) values (%s, %s, 'staff', 'session.connect')",
        session_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into incidents (session_id, user_id, kind) values (%s, %s, 'zombie')", session_id, actor.user_id
    )
    database.execute(
        "insert into proof_questions (session_id, server_url, phone, reason, certain)"
        " values (%s, 'http://127.0.0.1:9', '5511987654321', 'quiet', true)",
        session_id,
    )
    database.execute(
        "insert into break_glass_grants (actor_id, user_id, scope, reason, expires_at)"
        " values (%s, %s, 'qr', %s, now() + interval '15 minutes')",
        actor.user_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into one_time_links (token_hash, user_id, purpose, created_by, expires_at)"
        " values (sha256(%s::bytea), %s, 'reset', %s, now())",
        mark.encode(), actor.user_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into webhook_endpoints (user_id, url, secret, kinds) values (%s, %s, %s, '{session.status}')",
        actor.user_id, f"https://{mark}.example.com", f"whsec_{mark}",
    )  # fmt: skip
    database.execute(
        "insert into webhook_deliveries (endpoint_id, user_id, kind, session_id, state)"
        " select id, user_id, 'session.status', %s, 'dead' from webhook_endpoints where user_id = %s",
        session_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into automations (user_id, kind, words, label) values (%s, 'label', array[%s], %s)",
        actor.user_id,
        mark,
        mark,
    )
    database.execute(
        "insert into automation_uses (automation_id, user_id, contact_id, day, action)"
        " select r.id, r.user_id, c.id, now(), 'labelled'"
        " from automations r join contacts c on c.user_id = r.user_id where r.user_id = %s",
        actor.user_id,
    )
    database.execute(
        "insert into outages (session_id, user_id, from_at, to_at, reason) values (%s, %s, now(), now(), 'session')",
        session_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into outage_chats (outage_id, address, user_id) select id, %s, user_id from outages"
        " where session_id = %s",
        f"{mark}@c.us", session_id,
    )  # fmt: skip
    database.execute(
        "with made as (insert into schedules (user_id, name, time_zone, first_local_time, recipients)"
        " values (%s, 'x', 'UTC', now(), '[]') returning id, user_id)"
        " insert into schedule_runs (schedule_id, user_id, local_time, due_at, state, reason)"
        " select id, user_id, now(), now() + interval '1 day', 'skipped', %s from made",
        actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "with made as (insert into campaigns (user_id, name, template_id, template_version, opens, closes, cap,"
        " cold_share, pace) values (%s, 'x', gen_random_uuid(), 1, '08:00', '20:00', 1, 1, 1) returning id, user_id)"
        " insert into campaign_recipients (campaign_id, user_id, seq, phone, reason)"
        " select id, user_id, 1, '5511987654321', %s from made",
        actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into campaign_lanes (user_id, time_zone, waiting_reason) values (%s, 'UTC', %s)", actor.user_id, mark
    )
    database.execute(
        "insert into cold_outcomes (user_id, message_id, outcome) select user_id, id, 'refused' from messages"
        " where user_id = %s limit 1", actor.user_id
    )  # fmt: skip
    database.execute("insert into session_hours values (%s, now(), 1, now())", name)
    database.execute(
        "insert into message_annotations (session_id, wpp_id, kind, author, user_id, occurred_at, value)"
        " values (%s, 'the-same-id', 'edit', 'them', %s, now(), jsonb_build_object('body', %s::text))",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute("insert into pending_acks (session_id, wpp_id, ack) values (%s, 'parked', 1)", session_id)
    database.execute(
        "insert into events (session, kind, request_id, body) values (%s, 'onmessage', gen_random_uuid(), %s)",
        name, mark,
    )  # fmt: skip
    database.execute(
        "insert into event_dry_runs (event_id, actor_id) select id, %s from events where session = %s",
        actor.user_id, name,
    )  # fmt: skip
    database.execute(
        "insert into audit_log (actor_id, actor_role, action, subject) values (%s, 'user', 'session.connect', %s)",
        actor.user_id, name,
    )  # fmt: skip
    database.execute(
        "insert into security_events (kind, subject, actor_id) values ('webhook_refused', %s, %s)", name, actor.user_id
    )
    database.execute(
        "set search_path = jobs; insert into procrastinate_jobs (queue_name, task_name, args)"
        f" values ('q', 't', jsonb_build_object('user', '{name}'))"
    )
    return Tenant(actor, session_id, (str(actor.user_id), str(session_id), mark))
