"""Files of messages over real ASGI requests: to whom the database gives them, and in a form that runs nothing."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from services.accounts import cookie_tokens, sign_in
from services.db.actor import Actor
from services.platform import media_store
from services.platform.media_store import Media
from services.security import break_glass
from services.security.break_glass import Scope
from ui.components import media
from ui.shell import cookie, headers

SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
CONTENT = bytes(range(100))


@pytest.fixture
def browser() -> Callable[[Actor | None], TestClient]:
    def make(actor: Actor | None) -> TestClient:
        app = Starlette(routes=media.routes(), middleware=[Middleware(headers.SecurityHeaders)])
        made = TestClient(app, base_url="http://console.example.com", headers=SAME_ORIGIN)
        if actor is not None:
            assert actor.user_id is not None
            made.cookies.set(cookie.COOKIE_NAME, cookie_tokens.encode_token(sign_in.open_sign_in(actor.user_id)))
        return made

    return make


def address(kept: Media, name: str = "") -> str:
    return f"{media.PATH}/{kept.user_id}/{kept.sha256.hex()}" + (f"?name={name}" if name else "")


def test_it_gives_a_file_to_its_owner_and_to_nobody_else(
    browser: Callable[..., TestClient], user: Actor, staff: Actor, new_actor: Callable[..., Actor]
) -> None:
    kept = media_store.save(user, CONTENT, "image/png")
    answer = browser(user).get(address(kept))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, CONTENT, "image/png")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["cache-control"].startswith("private")
    assert browser(None).get(address(kept)).status_code == 401
    assert browser(user).get(address(kept), headers={"sec-fetch-site": "cross-site"}).status_code == 403
    for stranger in (new_actor(), staff):
        assert browser(stranger).get(address(kept)).status_code == 404
    assert user.user_id is not None
    break_glass.grant_access(staff, user.user_id, Scope.CHATS, "chamado 4711, a pessoa pediu ajuda")
    assert browser(staff).get(address(kept)).content == CONTENT


@pytest.mark.parametrize("mimetype", ["text/html", "image/svg+xml", "application/pdf", "application/xhtml+xml"])
def test_it_gives_what_a_browser_might_run_only_for_saving(
    browser: Callable[..., TestClient], user: Actor, mimetype: str
) -> None:
    kept = media_store.save(user, b"<script>alert(1)</script>", mimetype)
    answer = browser(user).get(address(kept, "nota.html%0d%0ax: y"))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''nota.html%0D%0Ax%3A%20y"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=10-19", 206, CONTENT[10:20]),
        ("bytes=90-", 206, CONTENT[90:]),
        ("bytes=0-9999", 206, CONTENT),
        ("bytes=100-", 416, b""),
        ("bytes=20-10", 416, b""),
        ("lines=1-2", 200, CONTENT),
    ],
)
def test_it_gives_the_part_that_a_player_jumps_to(
    browser: Callable[..., TestClient], user: Actor, asked: str, status: int, part: bytes
) -> None:
    answer = browser(user).get(
        address(media_store.save(user, CONTENT, "audio/ogg; codecs=opus")), headers={"range": asked}
    )
    assert (answer.status_code, answer.content) == (status, part)


def test_it_knows_no_file_by_a_broken_address(browser: Callable[..., TestClient], user: Actor) -> None:
    for path in (f"/files/{user.user_id}/zz", f"/files/{user.user_id}/{'ab' * 32}", f"/files/{uuid4()}/{'ab' * 32}"):
        assert browser(user).get(path).status_code == 404
