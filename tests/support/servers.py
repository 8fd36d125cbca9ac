"""WPPConnect servers as the console knows them."""

from typing import Any

import pytest

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import servers
from services.fleet.servers import Server
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl

ServerPair = tuple[SandboxServer, SandboxServer]
SERVER_SECRETS = ("the-secret-of-the-first-server", "the-secret-of-the-second-server")


def configure_servers(patch: pytest.MonkeyPatch, urls: tuple[str, ...], secrets: tuple[str, ...]) -> None:
    """This process's settings have these servers, each with its secret."""
    patch.setenv("WPP_SERVER_URL", ",".join(urls))
    patch.setenv("WPP_SERVER_TOKEN", ",".join(secrets))
    patch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
    forget_process_state()


def choose(home: str | None = None) -> str:
    """The address of the server that a start would be sent to; `home` is where the session was paired."""
    with transaction(SYSTEM) as tx:
        return servers.choose_server(tx, home)


def get_server(server: SandboxServer) -> Server:
    """The server as staff see it."""
    return next(one for one in servers.list_servers(SYSTEM) if one.url == server.url)


def insert_sessions(database: Database, url: str, count: int, status: str = "conectado") -> None:
    """People with a session each on that server."""
    database.execute(
        "with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, %s) returning id)"
        " insert into whatsapp_sessions (user_id, session_id, status, server_url)"
        " select id, 'user_' || id, %s, %s from people",
        count,
        status,
        url,
    )


def server_of(database: Database, actor: Actor) -> str:
    """The address of the server that the actor's session is on."""
    return str(database.one("select server_url from whatsapp_sessions where user_id = %s", actor.user_id))


def switch_fault(server: SandboxServer, name: str, **options: Any) -> None:
    """Switch a fault of that server on, for all its sessions."""
    control = SandboxControl(server.url)
    control.fault(name, **options)
    control.close()
