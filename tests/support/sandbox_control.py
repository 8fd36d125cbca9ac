"""What a person, a phone or a fault does to the sandbox while a test runs."""

from typing import Any

import httpx


class SandboxControl:
    """The sandbox's own routes under `/_sandbox`. Each call raises httpx.HTTPStatusError where the route refuses."""

    def __init__(self, sandbox_url: str) -> None:
        self._http = httpx.Client(base_url=f"{sandbox_url}/_sandbox", timeout=15)

    def state(self) -> dict[str, Any]:
        """Sessions, messages sent and not sent, faults, posts."""
        found: dict[str, Any] = self._get("/state")
        return found

    def session(self, name: str) -> dict[str, Any] | None:
        """One session as the server has it, or None where it was never started."""
        return next((one for one in self.state()["sessions"] if one["name"] == name), None)

    def sent(self, session: str | None = None) -> list[dict[str, Any]]:
        """Every message that really went out, oldest first."""
        found: list[dict[str, Any]] = self._get("/sent", **({"session": session} if session else {}))
        return found

    def scan(self, session: str, phone: str | None = None) -> Any:
        """A phone reads the QR, or types the code."""
        return self._post(f"/sessions/{session}/scan", phone=phone)

    def inbound(self, session: str, phone: str, text: str = "", **message: Any) -> Any:
        """Somebody writes to the session."""
        return self._post(f"/sessions/{session}/inbound", phone=phone, text=text, **message)

    def ack(self, session: str, message_id: str, ack: int) -> Any:
        """Any ack for any id."""
        return self._post(f"/sessions/{session}/ack", id=message_id, ack=ack)

    def event(self, session: str, body: dict[str, Any]) -> Any:
        """Post this body to the session's webhook."""
        return self._post(f"/sessions/{session}/event", **body)

    def kill(self, session: str, *, page_gone: bool = False) -> Any:
        """Make a zombie of it: it says CONNECTED and is dead."""
        return self._post(f"/sessions/{session}/kill", page_gone=page_gone)

    def whatsapp_away(self, session: str, *, away: bool = True) -> Any:
        """WhatsApp goes out of the reach of the session's page, or comes back."""
        return self._post(f"/sessions/{session}/whatsapp-away", away=away)

    def address_book(self, session: str, phone: str) -> Any:
        """The phone's owner saves a contact."""
        return self._post(f"/sessions/{session}/address-book", phone=phone)

    def phone_logout(self, session: str) -> Any:
        """The user removes the linked device on the phone."""
        return self._post(f"/sessions/{session}/phone-logout")

    def fault(self, name: str, session: str | None = None, *, on: bool = True, **options: Any) -> Any:
        """Switch one fault, for one session or for all."""
        return self._post(f"/faults/{name}", on=on, session=session, **options)

    def clear_faults(self) -> Any:
        """Everything works again."""
        return self._post("/faults")

    def reset(self) -> Any:
        """The server as it first started: no session, nothing sent, no fault."""
        return self._post("/reset")

    def number(self, phone: str, **known: Any) -> Any:
        """What WhatsApp knows of a number: `exists`, `ninth_digit`, `address`."""
        return self._post(f"/numbers/{phone}", **known)

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, **query: str) -> Any:
        return self._http.get(path, params=query).raise_for_status().json()

    def _post(self, path: str, **body: Any) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()
