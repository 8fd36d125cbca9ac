"""Real Chromium, and a whole installation for it to look at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from bench.browser import chromium as machine_chromium
from bench.browser import sign_in
from services import identity
from services.db.actor import Role
from services.db.embedded import EmbeddedPostgres
from tests.conftest import Database, fresh_database
from tests.installation import Installation, running_installation

TIMEOUT_MS = 20_000
# Clocks that nobody wants to watch in real time.
QUICK = {"SEND_PACE_SECONDS": "0", "HEALTH_SWEEP_SECONDS": "1", "HEALTH_STEP_SECONDS": "3"}
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            with machine_chromium(playwright) as browser:
                yield browser
        except Error as error:
            pytest.skip(f"NO CHROMIUM: browser tests prove nothing here ({str(error).splitlines()[0]})")


@pytest.fixture
def new_context(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Opens browsers that know nothing of each other."""
    opened: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = chromium.new_context(**{"locale": "pt-BR", "timezone_id": "America/Sao_Paulo", **options})
        context.set_default_timeout(TIMEOUT_MS)
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


@dataclass(frozen=True)
class House:
    """One running installation with its database."""

    database: Database
    processes: Installation


@pytest.fixture(scope="module")
def house(cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """All processes, shared by a module's tests; each test brings people of its own."""
    folder = tmp_path_factory.mktemp("house")
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh_database(cluster, template, patch, folder) as database,
        running_installation(database.url, folder, **QUICK) as processes,
    ):
        for name, value in processes.environment.items():
            patch.setenv(name, value)
        yield House(database, processes)


@dataclass(frozen=True)
class Visitor:
    """A signed-in person at their browser."""

    user_id: UUID
    page: Page
    house: House

    @property
    def session(self) -> str:
        return f"user_{self.user_id}"

    def go(self, path: str) -> None:
        self.page.goto(self.house.processes.console_url + path)


@pytest.fixture
def visit(house: House, new_context: Callable[..., BrowserContext]) -> Iterator[Callable[..., Visitor]]:
    """Signs a new person in, in a browser of their own: `visit()`, `visit(Role.ADMIN, color_scheme="dark")`."""

    def make(role: Role = Role.USER, **options: Any) -> Visitor:
        number = house.database.one("select count(*) from auth.users")
        user_id = identity.create_user(f"pessoa{number}@example.com", "uma senha bem longa", role, f"Pessoa {number}")
        page = new_context(**options).new_page()
        token = identity.token_of(identity.open_sign_in(user_id))
        sign_in(page, house.processes.console_url, token)
        return Visitor(user_id, page, house)

    yield make
    house.processes.control.clear_faults()
