"""The console's own WebSocket: who may listen, and to what."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from services.accounts import cookie_tokens, sign_in
from services.db.actor import Actor, Role
from services.db.embedded import EmbeddedPostgres
from tests.support.databases import Database, unreachable_database
from tests.support.processes import Processes, running_processes
from ui.shell.cookie import COOKIE_NAME
from ui.shell.live import SIGNED_OUT, TRY_AGAIN_LATER

# Long enough for a notification that comes, short enough to wait for one that must not.
HEARD_SECONDS = 5.0
SILENT_SECONDS = 0.5


@pytest.fixture
def console(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    with running_processes(database.url, tmp_path / "live", ("console",)) as installation:
        for name, value in installation.environment.items():
            monkeypatch.setenv(name, value)
        yield installation


@pytest.fixture
def listen(console: Processes) -> Iterator[Callable[..., ClientConnection]]:
    with ExitStack() as opened:

        def make(
            actor: Actor | None, scope: str = "session", origin: str | None = None, token: str = ""
        ) -> ClientConnection:
            token = token or (cookie_tokens.issue_token(actor) if actor else "forged")
            return opened.enter_context(
                connect(
                    f"{console.console_url.replace('http', 'ws', 1)}/live?scope={scope}",
                    additional_headers={"Cookie": f"{COOKIE_NAME}={token}"},
                    origin=Origin(origin or console.console_url),
                )
            )

        yield make


def close_code(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(HEARD_SECONDS)
    return closed.value.rcvd.code if closed.value.rcvd else None


def hears(socket: ClientConnection, seconds: float = HEARD_SECONDS) -> bool:
    try:
        socket.recv(seconds)
    except TimeoutError:
        return False
    return True


def change_session(database: Database, user_id: UUID | None) -> None:
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, server_url) values (%s, 'user_' || %s, 'http://x')"
        " on conflict (user_id) do update set status = 'pareando'",
        user_id,
        str(user_id),
    )


def test_it_rings_once_at_the_start_and_then_for_each_change_of_ones_own(
    database: Database, user: Actor, listen: Callable[..., ClientConnection]
) -> None:
    socket = listen(user)
    assert hears(socket)
    assert not hears(socket, SILENT_SECONDS)
    change_session(database, user.user_id)
    assert hears(socket)


def test_it_never_rings_for_somebody_else(
    database: Database, user: Actor, new_actor: Callable[..., Actor], listen: Callable[..., ClientConnection]
) -> None:
    socket = listen(user)
    assert hears(socket)
    change_session(database, new_actor().user_id)
    assert not hears(socket, SILENT_SECONDS)


def test_it_rings_staff_for_every_session(
    database: Database, user: Actor, staff: Actor, listen: Callable[..., ClientConnection]
) -> None:
    socket = listen(staff, "fleet")
    assert hears(socket)
    change_session(database, user.user_id)
    assert hears(socket)


@pytest.mark.parametrize("scope", ["fleet", "cleanup", "", "everything"])
def test_it_refuses_a_user_what_is_not_theirs(user: Actor, listen: Callable[..., ClientConnection], scope: str) -> None:
    assert close_code(listen(user, scope)) == SIGNED_OUT


def test_it_refuses_a_forged_cookie_and_a_foreign_page(user: Actor, listen: Callable[..., ClientConnection]) -> None:
    assert close_code(listen(None)) == SIGNED_OUT
    assert close_code(listen(user, origin="https://evil.example")) == SIGNED_OUT


def test_it_has_a_tab_come_back_that_comes_while_the_database_is_away(
    database: Database, user: Actor, listen: Callable[..., ClientConnection], cluster: EmbeddedPostgres
) -> None:
    assert hears(listen(user))
    token = cookie_tokens.issue_token(user)
    with unreachable_database(cluster, database.one("select current_database()")):
        assert close_code(listen(user, token=token)) == TRY_AGAIN_LATER
    assert hears(listen(user))


def test_it_rings_at_once_when_the_person_is_shut_out(
    user: Actor, new_actor: Callable[..., Actor], listen: Callable[..., ClientConnection]
) -> None:
    socket = listen(user)
    assert hears(socket)
    sign_in.sign_out_everywhere(new_actor(Role.ADMIN), user.user_id)
    assert hears(socket)


def test_it_rings_everybody_after_the_listener_was_away(
    database: Database, user: Actor, listen: Callable[..., ClientConnection]
) -> None:
    socket = listen(user)
    assert hears(socket)
    listening = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where query = 'listen \"live\"' and datname = current_database()"
    )
    assert database.one(listening) == 1
    assert hears(socket)
