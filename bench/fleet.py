"""How the page "Sessões" grows: a rerun with 10,000 sessions and 1,000,000 messages against one with 100 and 1,000.

A rerun is asked for over Streamlit's own WebSocket and ends with its last drawing. Between two of them the figures'
cache runs out, so that each counts the fleet anew.
"""

import statistics
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.stage import Stage, figure, stage
from services import identity
from services.db.actor import Role
from ui.cookie import COOKIE_NAME
from ui.fleet import FIGURES_SECONDS

SMALL = (100, 1_000)
LARGE = (10_000, 1_000_000)
RERUNS = 9


def run() -> None:
    """The small fleet first, then the same database grown."""
    with stage() as on, on.running("console"):
        chief = identity.create_user("chefe@example.com", "uma senha longa", Role.ADMIN)
        token = identity.token_of(identity.open_sign_in(chief))
        small = _measured(on, token, *SMALL)
        large = _measured(on, token, *LARGE)
    figure("sessions_page_small_ms", small * 1000, "ms")
    figure("sessions_page_large_ms", large * 1000, "ms")
    figure("sessions_page_growth", large / small, "ratio")


def _measured(on: Stage, token: str, sessions: int, messages: int) -> float:
    _furnish(on, sessions, messages)
    headers = {"Cookie": f"{COOKIE_NAME}={token}", "Origin": on.console}
    url = on.console.replace("http", "ws", 1) + "/_stcore/stream"
    protocols = [Subprotocol("streamlit")]
    with connect(url, additional_headers=headers, subprotocols=protocols, max_size=None) as stream:
        _rerun(stream)
        return statistics.median(_rerun(stream) for _ in range(RERUNS))


def _rerun(stream: ClientConnection) -> float:
    """Seconds from asking for a run of the page to its end."""
    time.sleep(FIGURES_SECONDS + 0.1)
    asked = BackMsg()
    asked.rerun_script.page_name = "sessions"
    started = time.perf_counter()
    stream.send(asked.SerializeToString())
    drawn = 0
    for data in stream:
        message = ForwardMsg()
        message.ParseFromString(data if isinstance(data, bytes) else data.encode())
        drawn += message.WhichOneof("type") == "delta"
        if message.WhichOneof("type") == "script_finished":
            break
    assert drawn > 10, "the page drew nothing"
    return time.perf_counter() - started


def _furnish(on: Stage, sessions: int, messages: int) -> None:
    """Grow the database to these numbers: a few sessions pair, fail or are in trouble."""
    on.execute(
        "insert into auth.users (id, email, raw_app_meta_data)"
        " select gen_random_uuid(), 'pessoa' || n || '@example.com', '{\"role\": \"user\"}'"
        " from generate_series((select count(*) from auth.users), %s) n",
        sessions,
    )
    on.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, last_proof_at, last_proof_kind)"
        " select id, 'user_' || id, case when n %% 10 = 0 then 'desconectado' else 'conectado' end, %s, now(), 'ack'"
        " from (select id, row_number() over () as n from auth.users where email like 'pessoa%%') u"
        " on conflict do nothing",
        on.sandbox,
    )
    on.execute(
        "insert into findings (session_id, user_id, kind) select id, user_id, 'zombie' from whatsapp_sessions"
        " order by id limit 20 on conflict do nothing"
    )
    on.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body)"
        " select s.id, s.user_id, 'out', 'read', '5511987654321', 'x'"
        " from (select id, user_id from whatsapp_sessions) s,"
        " generate_series(1, (%s - (select count(*) from messages)) / (select count(*) from whatsapp_sessions)) n",
        messages,
    )
    on.execute("analyze")


if __name__ == "__main__":
    run()
