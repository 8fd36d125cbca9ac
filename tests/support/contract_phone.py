"""What happens to a session that no call to its server does: on a phone, in WhatsApp, to a browser."""

from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from tests.support.contract_sandbox import DEADLINE_SECONDS

MINE = "5511988887777"


class NoSuchButton(Exception):
    """The stand-in cannot do that to a session."""


class Phone(Protocol):
    """What happens to a session that no call to the server does."""

    def scan(self) -> None:
        """A phone reads the QR, or types the code."""

    def chrome_dies(self) -> None:
        """The session's browser is gone, page and all."""

    def page_crashes(self) -> None:
        """The page is gone, its browser lives."""

    def whatsapp(self, away: bool) -> None:
        """WhatsApp is out of the page's reach, or in it again."""

    def removes_device(self) -> None:
        """The person takes the linked device off the phone."""

    def receives(self, sender: str, **content: Any) -> str:
        """Somebody writes to the session; answers the message's id."""

    def number(self, number: str, **known: Any) -> None:
        """What WhatsApp knows of a number."""

    def hides(self, on: bool) -> None:
        """Whether who writes from now on is known by a @lid."""


@dataclass
class SandboxPhone:
    """The sandbox's own buttons."""

    url: str
    session: str

    def _push(self, path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/_sandbox/{path}", json=body, timeout=DEADLINE_SECONDS)
        if answer.status_code == 404 and "json" not in answer.headers["content-type"]:
            raise NoSuchButton(path)
        assert answer.status_code < 300, f"{path}: {answer.text}"
        pushed: dict[str, Any] = answer.json()
        return pushed

    def _of_session(self, button: str, **body: Any) -> dict[str, Any]:
        return self._push(f"sessions/{self.session}/{button}", **body)

    def scan(self) -> None:
        self._of_session("scan", phone=MINE)

    def chrome_dies(self) -> None:
        self._of_session("chrome-dies")

    def page_crashes(self) -> None:
        self._of_session("page-crashes")

    def whatsapp(self, away: bool) -> None:
        self._of_session("whatsapp-away", away=away)

    def removes_device(self) -> None:
        self._of_session("phone-logout")

    def receives(self, sender: str, **content: Any) -> str:
        return str(self._of_session("inbound", phone=sender, name="Carla", **content)["id"])

    def number(self, number: str, **known: Any) -> None:
        self._push(f"numbers/{number}", **known)

    def hides(self, on: bool) -> None:
        self._push("faults/lid_instead_of_phone", on=on)
