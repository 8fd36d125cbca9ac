"""How long it takes to ask for the pages of 1,000 sessions, against one by one with tokens that the server makes.

Nobody has fresh evidence, so every session is asked: the dearest sweep there is. The other way is measured on a few
sessions, because it takes the same time for each.
"""

import logging
import time
from uuid import uuid4

import httpx
import structlog

from bench.installation import figure, open_installation
from bench.server_process import serving
from services import settings
from services.fleet import probes

SESSIONS = 1000
ONE_BY_ONE = 20
PHONE = "5511999990000"


def run() -> None:
    """Ask some one by one, then sweep all of them."""
    # As the worker of an installation that logs warnings only, like the other measurements' processes.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with open_installation() as installation:
        names = [f"user_{uuid4()}" for _ in range(SESSIONS)]
        ((url, secret),) = settings.get().wppconnect.servers().items()
        with serving(url, secret, dict.fromkeys(names, PHONE)):
            installation.execute(
                "insert into auth.users (id) select right(n, 36)::uuid from unnest(%s::text[]) n", names
            )
            installation.execute(
                "insert into whatsapp_sessions (user_id, session_id, status, server_url, desired_connected)"
                " select right(n, 36)::uuid, n, 'conectado', %s, true from unnest(%s::text[]) n",
                url,
                names,
            )
            one = _one_by_one(url, secret, names[:ONE_BY_ONE])
            swept = _sweep()
        ((probed,),) = installation.execute("select count(*) from whatsapp_sessions where probed_at is not null")
        ((lost,),) = installation.execute("select count(*) from whatsapp_sessions where status <> 'conectado'")
    assert (probed, lost) == (SESSIONS, 0), (probed, lost)
    figure("sweep_seconds", swept, "s")
    figure("one_by_one_seconds", one * SESSIONS, "s")
    figure("sweep_speedup", one * SESSIONS / swept, "ratio")


def _sweep() -> float:
    started = time.perf_counter()
    asked = 0
    while asked < SESSIONS:
        asked += probes.probe_servers()
    return time.perf_counter() - started


def _one_by_one(url: str, secret: str, names: list[str]) -> float:
    """Seconds for one session: its token from the server, then the same question."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        http.get("/healthz")
        started = time.perf_counter()
        for name in names:
            made = http.post(f"/api/{name}/{secret}/generate-token").raise_for_status().json()
            answer = http.get(f"/api/{name}/get-phone-number", headers={"Authorization": f"Bearer {made['token']}"})
            answer.raise_for_status()
        return (time.perf_counter() - started) / len(names)


if __name__ == "__main__":
    run()
