"""Somebody who uses the console in a browser, against all the real processes."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from playwright.sync_api import Page

from tests.support.installation import Installation


@dataclass(frozen=True)
class BrowserUser:
    """A signed-in person with a browser of their own."""

    user_id: UUID
    page: Page
    installation: Installation

    @property
    def session(self) -> str:
        return f"user_{self.user_id}"

    def go(self, path: str) -> None:
        self.page.goto(self.installation.processes.console_url + path)


NewBrowserUser = Callable[..., BrowserUser]
