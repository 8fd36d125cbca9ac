"""The question that must leave the browser: whether WhatsApp still answers for a session.

All other reads are answered out of the browser's storage, also where WhatsApp is out of reach (a zombie), and the page
says CONNECTED. So a session is proved by what WhatsApp alone can have said, an acknowledgement or a message that came
in, and where nothing of that comes, by `check-number-status`: it never answers in a zombie (measured on
wppconnect-server 2.10.4). The browser answers it by itself for a contact and for a number asked about within five
minutes; so no number is asked about again within `health_same_number_seconds`.

About whom. WhatsApp minds questions about strangers, so nobody's number is made up or bought:
1. `HEALTH_NUMBERS`: the operator's own, saved in nobody's phone.
2. Other sessions of this installation: they exist and are ours. Who has talked with one is not asked about it, because
   it may be a contact. Their owners see nothing of it, and nobody but the worker reads the table.
3. A number whose question or check went unanswered before: the browser did not answer it, so it is no contact's.
4. Whom the session itself has written to, with an acknowledgement. They may be contacts: silence convicts, an answer
   proves nothing.

How often. A quiet session is asked `health_asks_per_day` times a day and no oftener. The questions of one server are
spread evenly: with n quiet sessions there is one each day ÷ (n × asks), so that a server which has lost WhatsApp is
found within that time, for 100 sessions and 3 asks 288 s, and one that died alone at its own next question. Whoever is
suspect is asked at once, beyond that budget, within bounds of their own: a send, a number check or an acknowledgement
that hangs; a neighbour of one found dead, until three neighbours have answered; one found dead, ever more seldom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services import findings, sessions, settings
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.models import Record
from services.errors import ConfigurationError, InvalidPhone, WppDisconnected, WppError, WppUnreachable
from services.wppconnect.connection import client

log = structlog.get_logger(__name__)

DAY_SECONDS = 86_400.0
# A suspect is asked again no sooner than this, however much of its hangs.
SUSPECT_SECONDS = 60.0
# A number check that has not come back after this hangs: a client gives up after 13 s (`wppconnect.client.Timeouts`).
HANGS_SECONDS = 14.0
# One found dead is asked again after this, and then ever later: after a quarter of the time since it was found.
AGAIN_SECONDS = 600.0
# So many neighbours that answer show that a server's way to WhatsApp is open.
NEIGHBOURS = 3
# Sends that ran into their time-out since the last proof, where no number may be asked about.
HUNG_SENDS = 2


class Reason(StrEnum):
    """Why it is asked."""

    QUIET = "quiet"  # nothing came for long, of it or of its whole server
    SUSPECT = "suspect"  # something of its hangs, or it came up unannounced
    NEIGHBOUR = "neighbour"  # another session of its server was found dead
    AGAIN = "again"  # it was found dead: is it back?


class Sight(StrEnum):
    """What was seen of a session."""

    ALIVE = "alive"  # WhatsApp answered
    ANSWERED = "answered"  # an answer that the browser may have given by itself: it proves nothing
    GONE = "gone"  # the server itself says that it is not up
    DEAD = "dead"  # the server says CONNECTED, WhatsApp does not answer
    UNREACHABLE = "unreachable"  # the server does not answer
    UNCLEAR = "unclear"  # it refuses, or is still starting, or nobody could be asked about


@dataclass(frozen=True)
class Question:
    """One question as it is to be put. `phone` is None where there is nobody to ask about; `hung` counts the sends that
    have run into their time-out since the last proof."""

    session_id: UUID
    name: str
    server_url: str
    attempt: datetime | None
    reason: Reason
    hung: int
    id: int | None = None
    phone: str | None = None
    certain: bool = False


def due() -> list[Question]:
    """Claim the sessions that are to be asked now, each with a number to ask about. One worker claims at a time."""
    configured = settings.get()
    asks = configured.health_asks_per_day
    if not asks:
        return []
    with transaction(SYSTEM) as tx:
        if not tx.execute(_TURN).scalar_one():
            return []
        wanted = tx.execute(
            _WANTED,
            {
                "gap": DAY_SECONDS / asks,
                "cap": configured.health_probes_per_server,
                "unacked": configured.health_unacked_seconds,
                "suspect": SUSPECT_SECONDS,
                "hangs": HANGS_SECONDS,
                "again": AGAIN_SECONDS,
                "neighbours": NEIGHBOURS,
            },
        ).all()
        return _with_numbers(tx, [_question(row, Reason(row.reason), row.hung) for row in wanted])


def about(session_id: UUID) -> Question | None:
    """Claim one session that was found dead, whenever it was asked last; None where it is up no longer."""
    with transaction(SYSTEM) as tx:
        row = tx.execute(_ONE, {"id": session_id}).one_or_none()
        return _with_numbers(tx, [_question(row, Reason.AGAIN, 0)])[0] if row else None


def put(question: Question) -> Sight:
    """Ask WhatsApp. Takes as long as the client's time-out for a query where it does not answer."""
    try:
        if question.phone is None:
            return _where_nobody_can_be_asked_about(question)
        client().check_number(question.server_url, question.name, question.phone)
    except WppDisconnected:
        return server_says(question.server_url, question.name)
    except WppUnreachable:
        sight = server_says(question.server_url, question.name)
        return Sight.DEAD if sight is Sight.ANSWERED else sight
    except (WppError, ConfigurationError, InvalidPhone) as error:
        log.warning("question_refused", session=question.name, error=type(error).__name__)
        return Sight.UNCLEAR
    if question.certain:
        return Sight.ALIVE
    return Sight.DEAD if question.hung >= HUNG_SENDS else Sight.ANSWERED


def server_says(server_url: str, name: str) -> Sight:
    """What the server knows by itself, for free: GONE, UNREACHABLE, UNCLEAR, or ANSWERED where it calls the session up,
    which says nothing of WhatsApp."""
    try:
        if client().check_connection(server_url, name):
            return Sight.ANSWERED
        state = client().status_session(server_url, name).status
        # It may have come up between the two questions.
        if state == "CONNECTED" and client().check_connection(server_url, name):
            return Sight.ANSWERED
    except WppUnreachable:
        return Sight.UNREACHABLE
    except (WppError, ConfigurationError) as error:
        log.warning("probe_refused", session=name, error=type(error).__name__)
        return Sight.UNCLEAR
    # It goes on calling one CONNECTED whose page or Chrome has died. While it starts again it is not up yet: no loss.
    return Sight.GONE if state in ("CONNECTED", "CLOSED") else Sight.UNCLEAR


def record(tx: Connection, asked: Sequence[tuple[Question, Sight]]) -> None:
    """Write down what the questions came to, but for the servers that did not answer."""
    answered = [one.id for one, sight in asked if sight in (Sight.ALIVE, Sight.ANSWERED)]
    tx.execute(_ANSWERED, {"ids": [one for one in answered if one is not None]})
    alive = [one for one, sight in asked if sight is Sight.ALIVE]
    if alive:
        ids, attempts = [one.session_id for one in alive], [one.attempt for one in alive]
        tx.execute(_ALIVE, {"ids": ids, "attempts": attempts, "kind": sessions.Proof.QUESTION})
    for one, sight in asked:
        if sight is Sight.GONE:
            sessions.lose(tx, one.name, one.attempt)
    findings.found(tx, findings.Kind.ZOMBIE, [one.session_id for one, sight in asked if sight is Sight.DEAD])


def next_due_in() -> float | None:
    """Seconds until some server's next quiet question has its turn, below 0 where one has; None without any."""
    asks = settings.get().health_asks_per_day
    if not asks:
        return None
    with transaction(SYSTEM) as tx:
        seconds: float | None = tx.execute(_NEXT, {"gap": DAY_SECONDS / asks}).scalar_one()
    return seconds


def forget_old(tx: Connection) -> None:
    """Drop the questions of which nothing depends any more."""
    tx.execute(_FORGOTTEN)


def _where_nobody_can_be_asked_about(question: Question) -> Sight:
    """Two sends that ran into their time-out say as much as a question would."""
    if question.hung < HUNG_SENDS:
        return Sight.UNCLEAR
    sight = server_says(question.server_url, question.name)
    return Sight.DEAD if sight is Sight.ANSWERED else sight


def _with_numbers(tx: Connection, wanted: Sequence[Question]) -> list[Question]:
    if not wanted:
        return []
    configured = settings.get()
    rows = tx.execute(
        _NUMBERS,
        {
            "ids": [one.session_id for one in wanted],
            "reasons": [one.reason for one in wanted],
            "own": configured.own_numbers(),
            "same": configured.health_same_number_seconds,
            "hangs": HANGS_SECONDS,
        },
    ).all()
    by_session = {row.session_id: row for row in rows}
    return [_about(one, by_session.get(one.session_id)) for one in wanted]


def _about(one: Question, row: Record | None) -> Question:
    if row is None:
        return one
    return Question(
        one.session_id, one.name, one.server_url, one.attempt, one.reason, one.hung, row.id, row.phone, row.certain
    )


def _question(row: Record, reason: Reason, hung: int) -> Question:
    return Question(row.id, row.session_id, row.server_url, row.pairing_started_at, reason, hung)


# --- statements -------------------------------------------------------------------------------------------------------

# Two workers at once would spend a budget twice.
_TURN = text("select pg_try_advisory_xact_lock(hashtextextended('proof_questions', 0))")

# `up` is read once. A signal older than the last proof or the last question has had its answer. Nine tenths of a pace,
# because the last question's answer came a moment after it.
_WANTED = text("""
with up as materialized (
  select s.id, s.server_url, s.connected_at, s.last_proof_at, s.questioned_at, z.found_at as dead_since,
         greatest(s.last_proof_at, s.questioned_at) as heard_at,
         max(s.last_proof_at) over server as server_proof_at
    from public.whatsapp_sessions s
    left join public.findings z on z.session_id = s.id and z.kind = 'zombie' and z.ended_at is null
   where s.status = 'conectado' and coalesce(s.cleaning_until < clock_timestamp(), true)
     and not exists (select from public.findings d where d.session_id is null and d.server_url = s.server_url
       and d.ended_at is null)
  window server as (partition by s.server_url)
), signals (session_id, at, timed_out, came_up) as (
  select session_id, uncertain_at, uncertain_at > sending_at + interval '20 seconds', false from public.messages
   where state = 'uncertain' and uncertain_at > clock_timestamp() - interval '1 hour'
  union all
  select session_id, accepted_at + make_interval(secs => :unacked), false, false from public.messages
   where state = 'accepted' and accepted_at > clock_timestamp() - interval '1 hour'
     and accepted_at < clock_timestamp() - make_interval(secs => :unacked)
  union all
  select session_id, asked_at, false, false from public.number_checks
   where (checked_at is null or checked_at < asked_at) and asked_at > clock_timestamp() - interval '1 hour'
     and asked_at < clock_timestamp() - make_interval(secs => :hangs)
  union all
  select id, connected_at, false, true from up
   where connected_at > clock_timestamp() - interval '1 hour' and coalesce(last_proof_at < connected_at, true)
), suspects as (
  select up.id, count(*) filter (where signals.timed_out) as hung
    from up join signals on signals.session_id = up.id
   where (up.dead_since is null or coalesce(up.dead_since < up.connected_at, false))
     and coalesce(signals.at > up.last_proof_at, true)
     and (signals.came_up or coalesce(up.questioned_at < clock_timestamp() - make_interval(secs => :suspect), true))
   group by up.id, up.questioned_at
  having coalesce(max(signals.at) > up.questioned_at, true)
), troubled as (
  select server_url, max(dead_since) as since, count(*) as dead from up
   where dead_since > clock_timestamp() - interval '15 minutes' group by server_url
), neighbours as (
  select up.id, row_number() over (partition by up.server_url order by up.heard_at nulls first) as place, t.dead
    from up join troubled t using (server_url)
   where up.dead_since is null and coalesce(up.last_proof_at < t.since, true)
     and coalesce(up.questioned_at < t.since, true)
     and :neighbours > (select count(*) from up o where o.server_url = up.server_url and o.dead_since is null
       and o.last_proof_at > t.since)
), revived as (
  select server_url, max(ended_at) as at from public.findings
   where kind = 'zombie' and state = 'healed' and ended_at > clock_timestamp() - interval '1 hour' group by server_url
), again as (
  select up.id from up left join revived r using (server_url)
   where up.dead_since is not null
     and (coalesce(up.questioned_at, up.dead_since) < clock_timestamp()
            - greatest(make_interval(secs => :again), (clock_timestamp() - up.dead_since) / 4)
          or up.questioned_at < r.at)
), servers as (
  select server_url, max(server_proof_at) as proof_at, cast(:gap as float) / count(*) as pace
    from up group by server_url
), quiet as (
  select distinct on (v.server_url) up.id
    from servers v join up using (server_url)
   where coalesce((select max(q.asked_at) from public.proof_questions q
           where q.server_url = v.server_url and q.reason = 'quiet')
         <= clock_timestamp() - make_interval(secs => v.pace), true)
     and up.dead_since is null
     and coalesce(up.heard_at < clock_timestamp() - make_interval(secs => 0.9 * v.pace), true)
     and (coalesce(v.proof_at < clock_timestamp() - make_interval(secs => 0.9 * v.pace), true)
          or coalesce(up.heard_at < clock_timestamp() - make_interval(secs => :gap), true))
     and not exists (select from public.proof_questions q where q.session_id = up.id and q.reason = 'quiet'
       and q.asked_at > clock_timestamp() - make_interval(secs => :gap))
   order by v.server_url, up.heard_at nulls first, up.id
), wanted as (
  select distinct on (id) * from (
    select id, 1 as urgency, 'suspect' as reason, hung from suspects
    union all select id, 2, 'quiet', 0 from quiet
    union all select id, 3, 'neighbour', 0 from neighbours where place <= greatest(:neighbours, dead)
    union all select id, 4, 'again', 0 from again
  ) w order by id, urgency
), chosen as (
  select wanted.*, row_number() over (partition by up.server_url order by urgency, up.heard_at nulls first) as place
    from wanted join up using (id)
)
update public.whatsapp_sessions s set questioned_at = clock_timestamp()
  from chosen c where c.id = s.id and c.place <= :cap
returning s.id, s.session_id, s.server_url, s.pairing_started_at, c.reason, c.hung
""")

_ONE = text("""
update public.whatsapp_sessions set questioned_at = clock_timestamp() where id = :id and status = 'conectado'
returning id, session_id, server_url, pairing_started_at
""")

# A sample of the fleet serves a whole round: sorting all of it for each session would not scale.
_NUMBERS = text("""
with fleet as materialized (
  select id, phone_number as phone from public.whatsapp_sessions where phone_number is not null
   order by random() limit 40
), asking as materialized (
  select s.id, s.server_url, s.phone_number, a.reason
    from unnest(cast(:ids as uuid[]), cast(:reasons as text[])) as a (id, reason)
    join public.whatsapp_sessions s on s.id = a.id
)
insert into public.proof_questions (session_id, server_url, phone, reason, certain)
select asking.id, asking.server_url, n.phone, asking.reason, n.certain
  from asking cross join lateral (
    select c.phone, c.certain from (
      select phone, 1 as place, true as certain from unnest(cast(:own as text[])) as o (phone)
      union all
      select fleet.phone, 2, true from fleet
       where fleet.id <> asking.id and not exists (select from public.contacts k
         where k.session_id = asking.id and k.phone = fleet.phone)
      union all
      select u.phone, 3, true from public.proof_questions u
       where u.session_id = asking.id and u.answered_at is null and u.asked_at > clock_timestamp() - interval '1 day'
         and u.asked_at < clock_timestamp() - interval '1 second'
      union all
      select k.phone, 3, true from public.number_checks k
       where k.session_id = asking.id and (k.checked_at is null or k.checked_at < k.asked_at)
         and k.asked_at > clock_timestamp() - interval '1 day'
         and k.asked_at < clock_timestamp() - make_interval(secs => :hangs)
      union all
      (select k.phone, 4, false from public.number_checks k
        where k.session_id = asking.id and k.confirmed_at is not null
          and k.asked_at < clock_timestamp() - make_interval(secs => :same)
          and not exists (select from public.messages m where m.user_id = k.user_id and m.phone = k.phone
            and m.run_at > clock_timestamp() - make_interval(secs => :same))
        order by k.asked_at limit 20)
    ) c
     where c.phone is distinct from asking.phone_number
       and not exists (select from public.proof_questions q where q.session_id = asking.id and q.phone = c.phone
         and q.answered_at > clock_timestamp() - make_interval(secs => :same))
       and not exists (select from public.number_checks q where q.session_id = asking.id and q.phone = c.phone
         and q.checked_at >= q.asked_at and q.asked_at > clock_timestamp() - make_interval(secs => :same))
     order by c.place, random() limit 1) n
returning id, session_id, phone, certain
""")

_ANSWERED = text(
    "update public.proof_questions set answered_at = clock_timestamp() where id = any(cast(:ids as bigint[]))"
)

_ALIVE = text("""
update public.whatsapp_sessions s set last_proof_at = clock_timestamp(), last_proof_kind = :kind
  from unnest(cast(:ids as uuid[]), cast(:attempts as timestamptz[])) as p (id, attempt)
 where s.id = p.id and s.status = 'conectado' and s.pairing_started_at is not distinct from p.attempt
""")

_NEXT = text("""
select min(extract(epoch from (select max(q.asked_at) from public.proof_questions q
         where q.server_url = v.server_url and q.reason = 'quiet') - clock_timestamp())::float + :gap / v.sessions)
  from (select server_url, count(*) as sessions from public.whatsapp_sessions where status = 'conectado'
         group by server_url) v
""")

_FORGOTTEN = text("delete from public.proof_questions where asked_at < clock_timestamp() - interval '3 days'")
