"""From every earlier revision to the newest with data in it: one way up, rows added at each step, all of them kept."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic.script import ScriptDirectory

from services.db.actor import SYSTEM
from services.db.migrate import SCRIPTS
from services.security import audit_chain
from tests.support.empty_databases import EmptyDatabase, owned_by_a_plain_role

# How a row of each table looked from the revision on that made it. `%(user)s`, `%(session)s` and `%(mark)s` are new at
# each revision; the order is that in which they refer to each other. A new table needs its line here.
SEEDS = {
    "auth.users": "(id, email) values (%(user)s, %(mark)s || '@example.com')",
    "accounts": "(user_id, token_version) values (%(user)s, 3)",
    "sign_in_attempts": "(key) values (sha256(%(mark)s::text::bytea))",
    "signed_out": "(sign_in_id, expires_at) values (%(session)s, now() + interval '1 day')",
    "security_events": "(kind, subject) values ('sign_in_locked', %(mark)s)",
    "audit_log": "(actor_id, actor_role, action, subject) values (%(user)s, 'operator', 'session.restart', %(mark)s)",
    "whatsapp_sessions": "(id, user_id, session_id, status, server_url, phone_number, webhook_secret_hash) values"
                         " (%(session)s, %(user)s, 'user_' || %(user)s::text, 'conectado', 'http://10.0.0.5:21465',"
                         " '5511987654321', sha256(%(mark)s::text::bytea))",
    "lanes": "(session_id, due_at) values (%(session)s, now())",
    "events": "(session, kind, verdict, request_id, body) values ('user_' || %(user)s::text, 'onack', 'handled',"
              " %(session)s, %(mark)s)",
    "heartbeats": "(process, instance) values ('worker', %(mark)s)",
    "messages": "(session_id, user_id, direction, state, phone, body, wpp_id, ack) values"
                " (%(session)s, %(user)s, 'out', 'read', '5511987654321', %(mark)s, %(mark)s, 3)",
    "pending_acks": "(session_id, wpp_id, ack) values (%(session)s, %(mark)s, 2)",
    "api_keys": "(user_id, name, scopes, prefix, secret_hash) values"
                " (%(user)s, 'ERP', '{read}', 'plk_', sha256(%(mark)s::text::bytea))",
    "rate_limits": "(key, hits, expires_at) values (sha256(%(mark)s::text::bytea), 1, now())",
    "cleanup_runs": "(kinds, counts, finished_at) values ('{codes}', '{\"codes\": 1}', now())",
    "session_numbers": "(session_id, user_id, phone, until) values (%(session)s, %(user)s, '5511987650000', now())",
    "session_timeline": "(session_id, user_id, kind, action) values (%(session)s, %(user)s, 'state', 'conectado')",
    "incidents": "(session_id, user_id, kind) values (%(session)s, %(user)s, 'zombie')",
    "session_hours": "(session, hour, events, last_at) values ('user_' || %(user)s::text, now(), 3, now())",
    "fleet_samples": "(sampled_at, figures) values (clock_timestamp(), '{\"conectado\": 1}')",
    "rolling_restarts": "(actor_id, ended_at) values (%(user)s, now())",
    "rolling_restart_items": "(rolling_restart_id, session_id, user_id, server_url, state) select max(id), %(session)s,"
                             " %(user)s, 'x', 'done'"
                  " from rolling_restarts",
    "event_dry_runs": "(event_id, actor_id) select max(id), %(user)s from events",
    "wpp_servers": "(url, capacity) values ('http://' || %(mark)s, 7)",
    "server_checks": "(url, steps, finished_at, version) select max(url), 31, now(), %(mark)s from wpp_servers",
    "one_time_links": "(token_hash, user_id, purpose, created_by, expires_at) values"
                      " (sha256(%(mark)s::text::bytea), %(user)s, 'reset', %(user)s, now())",
    "break_glass_grants": "(actor_id, user_id, scope, reason, expires_at) values"
                    " (%(user)s, %(user)s, 'qr', 'chamado 4711', now() + interval '15 minutes')",
    "media": "(user_id, sha256, mimetype, size) values (%(user)s, sha256(%(mark)s::text::bytea), 'image/png', 1)",
    "contacts": "(session_id, user_id, address, name) values (%(session)s, %(user)s, '5511@c.us', %(mark)s)",
    "contact_addresses": "(session_id, address, contact_id, user_id) select %(session)s, %(mark)s || '@lid',"
                         " max(id::text)::uuid, %(user)s from contacts where session_id = %(session)s",
    "opt_outs": "(user_id, phone) values (%(user)s, '5511987654321')",
    "webhook_endpoints": "(user_id, url, secret, kinds) values"
                 " (%(user)s, 'https://' || %(mark)s, 'whsec_' || %(mark)s, '{session.status}')",
    "webhook_deliveries": "(endpoint_id, user_id, kind, session_id, state) select id, user_id, 'session.status',"
                          " %(session)s,"
                  " 'dead' from webhook_endpoints where user_id = %(user)s",
    "automations": "(user_id, kind, words, label) values (%(user)s, 'label', array[%(mark)s], %(mark)s)",
    "automation_uses": "(automation_id, user_id, contact_id, day, action) select r.id, r.user_id, c.id, now(),"
                       " 'labelled' from"
                 " automations r join contacts c on c.user_id = r.user_id where r.user_id = %(user)s",
    "outages": "(session_id, user_id, from_at, to_at, reason) values (%(session)s, %(user)s, now(), now(), 'session')",
    "outage_chats": "(outage_id, address, user_id) select id, '5511@c.us', user_id from outages"
                    " where user_id = %(user)s",
    "number_checks": "(session_id, user_id, phone, on_whatsapp) values (%(session)s, %(user)s, '5511987654321', true)",
    "proof_questions": "(session_id, server_url, phone, reason, certain) values"
                       " (%(session)s, 'http://10.0.0.5:21465', '5511987654321', 'quiet', true)",
    "templates": "(user_id, name) values (%(user)s, %(mark)s)",
    "template_versions": "(template_id, version, user_id, kind, body, created_by) select id, 1, user_id, 'chat', name,"
                         " user_id from templates where user_id = %(user)s",
    "schedules": "(user_id, name, time_zone, first_local_time, recipients) values (%(user)s, %(mark)s, 'UTC', now(),"
                 " '[]')",
    "schedule_runs": "(schedule_id, user_id, local_time, due_at, state) select id, user_id, now(), now(), 'skipped'"
                     " from schedules where user_id = %(user)s",
    "campaigns": "(user_id, name, template_id, template_version, opens, closes, cap, cold_share, pace) values"
                 " (%(user)s, %(mark)s, %(session)s, 1, '08:00', '20:00', 1, 1, 1)",
    "campaign_recipients": "(campaign_id, user_id, seq, phone) select id, user_id, 1, '5511987654321' from campaigns"
                           " where user_id = %(user)s",
    "cold_outcomes": "(user_id, message_id, outcome) select user_id, id, 'refused' from messages"
                     " where user_id = %(user)s",
    "campaign_lanes": "(user_id, time_zone, waiting_reason) values (%(user)s, 'UTC', %(mark)s)",
    "message_annotations": "(session_id, wpp_id, kind, author, user_id, occurred_at) values"
                     " (%(session)s, %(mark)s, 'edit', 'them', %(user)s, now())",
}  # fmt: skip
# Made and moved by triggers or by alembic itself, and what is counted anew from messages or by running processes.
BY_THEMSELVES = {
    "audit_head",
    "alembic_version",
    "report_dirty_buckets",
    "report_buckets",
    "report_times",
    "process_metrics",
}
REVISIONS = [one.revision for one in reversed(list(ScriptDirectory(str(SCRIPTS)).walk_revisions()))]


@dataclass
class Upgrade:
    """The rows as they were when they were written, each table's apart."""

    database: EmptyDatabase
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def tables(self) -> set[str]:
        return {
            name for (name,) in self.database.execute("select tablename from pg_tables where schemaname = 'public'")
        }

    def seed(self) -> None:
        """One more row of every table that there is by now."""
        there = self.tables() | {"auth.users"}
        given: dict[str, UUID | str] = {"user": uuid4(), "session": uuid4(), "mark": uuid4().hex}
        for table, row in SEEDS.items():
            if table in there:
                self.kept.setdefault(table, []).append(self._insert(table, row, given))

    def _insert(self, table: str, row: str, given: dict[str, UUID | str]) -> dict[str, Any]:
        with psycopg.connect(self.database.url, autocommit=True) as owner:
            made = owner.execute(
                f"with made as (insert into {table} {row} returning *) select to_jsonb(made) from made", given
            ).fetchone()
        assert made is not None
        found: dict[str, Any] = made[0]
        return found

    def lost(self) -> list[str]:
        """Rows that are not there any more as they were; columns may have been added since, and gaps filled in."""
        missing = []
        for table, rows in self.kept.items():
            now = self.database.one(f"select coalesce(jsonb_agg(to_jsonb(t)), '[]') from {table} t")
            columns = set(now[0]) if now else set()
            for row in rows:
                wanted = {name: value for name, value in row.items() if name in columns}
                if not any(all(value in (one[name], None) for name, value in wanted.items()) for one in now):
                    missing.append(f"{table}: {row}")
        return missing


def test_it_keeps_what_was_written_at_every_earlier_revision(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an owner whom row level security binds: a migration that moves rows must see them all the same."""
    database = owned_by_a_plain_role(empty_database, monkeypatch)
    upgrade = Upgrade(database)
    for revision in REVISIONS:
        database.migrate(revision)
        upgrade.seed()
    assert upgrade.tables() - set(SEEDS) - BY_THEMSELVES == set(), "say in SEEDS how a row of these looks"
    # At least one revision each that the rows had to survive, except for the newest tables.
    assert len(upgrade.kept["auth.users"]) == len(REVISIONS)
    assert upgrade.lost() == []
    assert audit_chain.verify(SYSTEM).sound
    assert audit_chain.verify(SYSTEM).records == len(upgrade.kept["audit_log"])


def test_it_notices_a_row_that_a_migration_would_lose_or_change(empty_database: EmptyDatabase) -> None:
    upgrade = Upgrade(empty_database)
    for revision in ("0007_messaging", REVISIONS[-1]):
        empty_database.migrate(revision)
        upgrade.seed()
    assert upgrade.lost() == []
    empty_database.execute("update messages set body = 'another' where seq = 1")
    (changed,) = upgrade.lost()
    assert changed.startswith("messages: ")
    empty_database.execute("delete from messages where seq = 1")
    (gone,) = upgrade.lost()
    assert gone.startswith("messages: ")


def test_it_makes_one_opt_out_of_each_line_and_gives_it_to_the_whole_contact(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = owned_by_a_plain_role(empty_database, monkeypatch)
    database.migrate("0013_identity")
    given: dict[str, UUID | str] = {"user": uuid4(), "session": uuid4(), "mark": uuid4().hex}
    for table in ("auth.users", "whatsapp_sessions"):
        Upgrade(database)._insert(table, SEEDS[table], given)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute(
            "insert into contacts (session_id, user_id, address, phone, lid)"
            " values (%(session)s, %(user)s, '1@lid', '5511987654321', '1@lid')",
            given,
        )
        owner.execute(
            "insert into opt_outs (user_id, phone, trigger_word, created_at) values"
            " (%(user)s, '5511987654321', 'PARAR', now() - interval '1 day'), (%(user)s, '551187654321', 'SAIR',"
            " now() - interval '2 days'), (%(user)s, '5215512345678', null, now())",
            given,
        )
    database.migrate(REVISIONS[-1])
    asked = "select phone, trigger_word, copied, said_at = created_at or copied from opt_outs where ended_at is null"
    assert database.execute(f"{asked} order by address_key") == [
        ("1@lid", "SAIR", True, True),
        ("5215512345678", None, False, True),
        ("551187654321", "SAIR", False, True),
    ]
