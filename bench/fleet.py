"""How the page "Sessões" grows: a rerun with 10,000 sessions and 1,000,000 messages against one with 100 and 1,000.

Between two reruns the figures' cache runs out, so that each counts the fleet anew.
"""

from bench.installation import BenchInstallation, figure, open_installation
from bench.page import drawn_in
from services.accounts import cookie_tokens, provisioning, sign_in
from services.db.actor import Role
from ui.staff.fleet import FIGURES_SECONDS

SMALL = (100, 1_000)
LARGE = (10_000, 1_000_000)


def run() -> None:
    """The small fleet first, then the same database grown."""
    with open_installation() as installation, installation.running("console"):
        chief = provisioning.create_user("chefe@example.com", "uma senha longa", Role.ADMIN)
        token = cookie_tokens.encode_token(sign_in.open_sign_in(chief))
        small = _measured(installation, token, *SMALL)
        large = _measured(installation, token, *LARGE)
    figure("sessions_page_small_ms", small * 1000, "ms")
    figure("sessions_page_large_ms", large * 1000, "ms")
    figure("sessions_page_growth", large / small, "ratio")


def _measured(installation: BenchInstallation, token: str, sessions: int, messages: int) -> float:
    _insert_rows(installation, sessions, messages)
    return drawn_in(installation, token, "sessions", FIGURES_SECONDS + 0.1)


def _insert_rows(installation: BenchInstallation, sessions: int, messages: int) -> None:
    """Grow the database to these numbers: a few sessions pair, fail or are in trouble."""
    installation.execute(
        "insert into auth.users (id, email, raw_app_meta_data)"
        " select gen_random_uuid(), 'pessoa' || n || '@example.com', '{\"role\": \"user\"}'"
        " from generate_series((select count(*) from auth.users), %s) n",
        sessions,
    )
    installation.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, last_proof_at, last_proof_kind)"
        " select id, 'user_' || id, case when n %% 10 = 0 then 'desconectado' else 'conectado' end, %s, now(), 'ack'"
        " from (select id, row_number() over () as n from auth.users where email like 'pessoa%%') u"
        " on conflict do nothing",
        installation.sandbox,
    )
    installation.execute(
        "insert into incidents (session_id, user_id, kind) select id, user_id, 'zombie' from whatsapp_sessions"
        " order by id limit 20 on conflict do nothing"
    )
    installation.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body)"
        " select s.id, s.user_id, 'out', 'read', '5511987654321', 'x'"
        " from (select id, user_id from whatsapp_sessions) s,"
        " generate_series(1, (%s - (select count(*) from messages)) / (select count(*) from whatsapp_sessions)) n",
        messages,
    )
    installation.execute("analyze")


if __name__ == "__main__":
    run()
