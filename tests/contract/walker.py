"""Walks through every recorded situation, against a sandbox of its own each: what is not asked without a phone.

What a person or a phone does, and what breaks, is behind `Phone`: a real server has no such buttons.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from sandbox.server import running_sandbox
from sandbox.state import Config
from services.wppconnect import check, contract, contract_facts
from services.wppconnect.check_http import Caller, Listener
from services.wppconnect.check_run import ContractRun
from services.wppconnect.contract import Answer
from services.wppconnect.contract_facts import Difference
from services.wppconnect.contract_shapes import Part
from tests.contract.conftest import DEADLINE_SECONDS, SECRET, eventually

# Seconds after what was awaited in which nothing more may come, and for which a call hangs before it is given up.
SETTLE = 0.5
HANGS = 1.0

MINE = "5511988887777"
CARLA = "5511999990001"
ABSENT = "5511999990000"
UNKNOWN = "5511900000001"
NINTH_DIGIT, WITHOUT_IT = "5547999990001", "554799990001@c.us"
HIDDEN = "5511999990005"  # known by a @lid
GROUP = "120363000000000001"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PIXEL}"
NO_BASE64 = "data:image/png;base64,isto não é"
PDF = "data:application/pdf;base64,JVBERi0xLjQKJSVFT0YK"
VOICE = "data:audio/ogg;base64,T2dnUwACAAAAAAAAAAA="


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


@dataclass(frozen=True)
class Scenario:
    """One walk: which situations it meets, on a sandbox of which settings."""

    name: str
    meets: tuple[str, ...]
    walk: Callable[[ContractRun, Phone], None]
    config: Mapping[str, Any] = field(default_factory=dict)

    def differences(self) -> list[Difference]:
        """Walk; a situation that was not met is a difference too."""
        with _at_the_start(self.config) as (walk, phone):
            why = ""
            try:
                self.walk(walk, phone)
            except NoSuchButton as missing:
                why = f"no button {str(missing).rpartition('/')[2]}"
            foreign = set(walk.facts) - set(self.meets) - {contract_facts.WEBHOOK_CREDENTIALS}
            assert not foreign, f"{self.name}: say that it meets {foreign}"
            unreached = [one for one in self.meets if one not in walk.facts]
            return [*walk.differences(), *(Difference(one, "", Part.UNREACHED, "", why) for one in unreached)]


@contextmanager
def _at_the_start(config: Mapping[str, Any]) -> Iterator[tuple[ContractRun, Phone]]:
    settings = {"clock_scale": 1.0, "auto_close": 600.0, "hang": 600.0, **config}
    with (
        running_sandbox(Config(secret=SECRET, **settings)) as server,
        Caller(server.url, SECRET, "contract_a") as caller,
        Listener() as listener,
    ):
        walk = ContractRun(caller, listener, settings["clock_scale"], strict=True, settle=SETTLE)
        yield walk, SandboxPhone(server.url, caller.session)


# --- steps ------------------------------------------------------------------------------------------------------------


def says(walk: ContractRun) -> Any:
    """The word that the server has for the session now."""
    return contract.get_value_at(walk.caller.api("GET", "status-session").body, "status")


def until(walk: ContractRun, status: str) -> None:
    eventually(lambda: says(walk) == status, status)


def start(walk: ContractRun, **more: Any) -> Answer:
    return walk.caller.api("POST", "start-session", {**walk.start_body, **more})


def pass_over(walk: ContractRun) -> None:
    """What was posted so far belongs to what was done before."""
    assert walk.listener is not None
    walk.taken += len(walk.listener.wait(lambda posts: False, SETTLE, walk.taken))


def pair(walk: ContractRun, phone: Phone) -> None:
    """A connected session, of which all is announced."""
    start(walk)
    until(walk, "QRCODE")
    phone.scan()
    until(walk, "CONNECTED")
    assert walk.listener is not None
    walk.listener.wait(lambda posts: any(post.kind.endswith("inChat") for post in posts), DEADLINE_SECONDS, walk.taken)
    pass_over(walk)


def ask(
    walk: ContractRun, situation: str, method: str, route: str, body: Mapping[str, Any] | None = None, **more: Any
) -> Answer:
    """A call of the session's, held against the one recorded in a situation."""
    return walk.hold(situation, walk.caller.api(method, route, body, **more))


def id_of(answer: Answer) -> str:
    sent = answer.body.get("response") if isinstance(answer.body, dict) else None
    first = sent[0] if isinstance(sent, list) and sent else {}
    return str(first.get("id", "none")) if isinstance(first, dict) else "none"


TEXT = {"phone": CARLA, "message": "olá", "isGroup": False}


# --- scenarios --------------------------------------------------------------------------------------------------------


def without_a_phone(walk: ContractRun, phone: Phone) -> None:
    check.check_without_phone(walk)


def anybody(walk: ContractRun, phone: Phone) -> None:
    caller = walk.caller
    walk.hold("unhealthy by POST", caller.ask("POST", "/unhealthy"))
    walk.hold("metrics", caller.ask("GET", "/metrics"))
    walk.hold("bad json", caller.api("POST", "send-message", raw=b"{"))
    walk.hold("start-all", caller.with_secret("POST", "", "start-all"))
    walk.hold("start-all, wrong secret", caller.with_secret("POST", "", "start-all", "another"))
    before = f"{caller.session}/"
    walk.hold("clear-session-data, wrong secret", caller.with_secret("POST", before, "clear-session-data", "another"))


def starting(walk: ContractRun, phone: Phone) -> None:
    start(walk)
    ask(walk, "starting: status-session", "GET", "status-session")
    ask(walk, "starting: start-session", "POST", "start-session", walk.start_body)
    waiting = {**walk.start_body, "waitQrCode": True}
    ask(walk, "starting: start-session, waitQrCode", "POST", "start-session", waiting, seconds=HANGS)
    ask(walk, "starting: qrcode-session", "GET", "qrcode-session")
    ask(walk, "starting: check-connection", "GET", "check-connection-session")
    ask(walk, "starting: send-message", "POST", "send-message", TEXT)
    ask(walk, "starting: logout-session", "POST", "logout-session")
    ask(walk, "starting: get-phone-number", "GET", "get-phone-number")
    ask(walk, "starting: close-session", "POST", "close-session")
    ask(walk, "closed while starting: status-session", "GET", "status-session")
    ask(walk, "closed while starting: check-connection", "GET", "check-connection-session")
    ask(walk, "closed while starting: start-session", "POST", "start-session", walk.start_body)
    again = time.monotonic()
    ask(walk, "started again at once: status-session", "GET", "status-session")
    # Not a QR within the time in which every other start has shown one: Chrome's profile is locked.
    eventually(lambda: time.monotonic() - again > 4.0 or says(walk) == "QRCODE")
    ask(walk, "started again at once: status-session, later", "GET", "status-session")


def a_life(walk: ContractRun, phone: Phone) -> None:
    start(walk)
    until(walk, "QRCODE")
    pass_over(walk)
    phone.scan()
    assert walk.listener is not None
    walk.listener.wait(lambda posts: any(post.kind.endswith("inChat") for post in posts), DEADLINE_SECONDS, walk.taken)
    ask(walk, "scanned, inChat posted: status-session", "GET", "status-session")
    ask(walk, "scanned, inChat posted: get-phone-number", "GET", "get-phone-number")
    walk.hold_posts("a QR is read")
    until(walk, "CONNECTED")
    ask(walk, "connected: status-session", "GET", "status-session")
    ask(walk, "connected: start-session", "POST", "start-session", walk.start_body)
    ask(walk, "connected: check-connection", "GET", "check-connection-session")
    ask(walk, "connected: qrcode-session", "GET", "qrcode-session")
    ask(walk, "connected: host-device", "GET", "host-device")
    ask(walk, "connected: get-phone-number", "GET", "get-phone-number")
    ask(walk, "connected: get-battery-level", "GET", "get-battery-level")
    pass_over(walk)
    ask(walk, "connected: close-session", "POST", "close-session")
    walk.hold_posts("a connected session is closed")
    ask(walk, "closed: status-session", "GET", "status-session")
    ask(walk, "closed: close-session", "POST", "close-session")
    ask(walk, "closed: logout-session", "POST", "logout-session")
    ask(walk, "closed: qrcode-session", "GET", "qrcode-session")
    ask(walk, "closed: check-connection", "GET", "check-connection-session")
    _restarts(walk)
    _logs_out(walk)


def _restarts(walk: ContractRun) -> None:
    pass_over(walk)
    ask(walk, "paired, closed: start-session", "POST", "start-session", walk.start_body)
    if says(walk) != "CONNECTED":
        ask(walk, "paired, restarting: status-session", "GET", "status-session")
    walk.hold_posts("a paired session restarts")
    until(walk, "CONNECTED")
    ask(walk, "paired, restarted: status-session", "GET", "status-session")
    walk.caller.api("POST", "close-session")
    pass_over(walk)
    waiting = {**walk.start_body, "waitQrCode": True}
    ask(walk, "closed: start-session, waitQrCode", "POST", "start-session", waiting, seconds=HANGS)
    until(walk, "CONNECTED")
    pass_over(walk)


def _logs_out(walk: ContractRun) -> None:
    caller = walk.caller
    ask(walk, "connected: logout-session", "POST", "logout-session")
    ask(walk, "logged out: status-session", "GET", "status-session")
    _still_listed(walk, "logged out: show-all")
    walk.hold_posts("a connected session is logged out")
    walk.hold("clear-session-data", caller.with_secret("POST", f"{caller.session}/", "clear-session-data"))
    _still_listed(walk, "cleared: show-all")


def _still_listed(walk: ContractRun, situation: str) -> None:
    """A session's token file stays, and by it the name."""
    listed = walk.hold(situation, walk.caller.with_secret("GET", "", "show-all-sessions"))
    names = listed.body.get("response", []) if isinstance(listed.body, dict) else []
    if walk.caller.session not in names:
        walk.note(situation, "", "", [Difference(situation, "response[]", Part.MISSING, "the session's name")])


def by_code(walk: ContractRun, phone: Phone) -> None:
    start(walk, phone=MINE)
    until(walk, "PHONECODE")
    pass_over(walk)
    phone.scan()
    walk.hold_posts("a code is typed")


def by_code_again(walk: ContractRun, phone: Phone) -> None:
    """A code that nobody typed has ended its start: the next one answers at once, also where it is to wait."""
    start(walk, phone=MINE)
    until(walk, "PHONECODE")
    walk.hold_posts("a start shows its code")
    until(walk, "CLOSED")
    pass_over(walk)
    waiting = {**walk.start_body, "phone": MINE, "waitQrCode": True}
    ask(walk, "by code: start-session, waitQrCode", "POST", "start-session", waiting, seconds=HANGS)
    ask(walk, "by code, starting: status-session", "GET", "status-session")
    ask(walk, "by code, starting: qrcode-session", "GET", "qrcode-session")
    ask(walk, "by code, starting: close-session", "POST", "close-session")


def numbers(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    phone.number(ABSENT, exists=False)
    phone.number(NINTH_DIGIT, ninth_digit=False)
    ask(walk, "check-number-status", "GET", f"check-number-status/{CARLA}")
    ask(walk, "check-number-status, absent", "GET", f"check-number-status/{ABSENT}")
    digits = ask(walk, "check-number-status, ninth digit", "GET", f"check-number-status/{NINTH_DIGIT}")
    assert contract.get_value_at(digits.body, "response.id._serialized") == WITHOUT_IT
    ask(walk, "check-number-status, @c.us", "GET", f"check-number-status/{CARLA}@c.us")
    ask(walk, "check-number-status, short", "GET", "check-number-status/123")
    phone.hides(True)
    phone.receives(HIDDEN, text="oi")
    phone.hides(False)
    phone.receives(CARLA, text="oi")
    ask(walk, "pn-lid, a phone", "GET", f"contact/pn-lid/{CARLA}@c.us")
    ask(walk, "pn-lid, a lid", "GET", f"contact/pn-lid/{_lid(walk)}@lid")
    ask(walk, "pn-lid, an unknown lid", "GET", "contact/pn-lid/99999999999999@lid")
    ask(walk, "pn-lid, a group", "GET", f"contact/pn-lid/{GROUP}@g.us")


def _lid(walk: ContractRun) -> str:
    answer = walk.caller.api("GET", f"contact/pn-lid/{HIDDEN}@c.us")
    return str(contract.get_value_at(answer.body, "lid._serialized")).removesuffix("@lid")


def sends(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    sent = ask(walk, "send-message", "POST", "send-message", TEXT)
    answered = time.monotonic()
    acks = walk.hold_posts("a text is sent")
    if acks and acks[0].at > answered:
        late = Difference("a text is sent", "onack chat 1", Part.ORDER, "before the answer", "after it")
        walk.note("a text is sent", "", "", [late])
    picture = {"phone": CARLA, "filename": "a.png", "caption": "legenda"}
    ask(walk, "send-image", "POST", "send-image", {**picture, "base64": PICTURE})
    walk.hold_posts("an image is sent")
    place = {"phone": CARLA, "lat": "-23.5", "lng": "-46.6", "title": "Sé", "address": "Praça da Sé"}
    ask(walk, "send-location", "POST", "send-location", place)
    walk.hold_posts("a place is sent")
    charset = "application/json; charset=utf-8"
    ask(
        walk, "send-message (with a charset)", "POST", "send-message",
        raw=b'{"phone":"%s","message":"b"}' % CARLA.encode(), content_type=charset,
    )  # fmt: skip
    ask(walk, "send-reply", "POST", "send-reply", {**TEXT, "messageId": id_of(sent)})
    unknown = f"true_{CARLA}@c.us_3EB000000000000000_out"
    ask(walk, "send-reply, to unknown", "POST", "send-reply", {**TEXT, "messageId": unknown})
    file = {"phone": CARLA, "filename": "a.pdf", "base64": PDF}
    ask(walk, "send-file-base64, pdf", "POST", "send-file-base64", file)
    quoting = {**file, "quotedMessageId": id_of(sent)}
    ask(walk, "send-file-base64, quoting", "POST", "send-file-base64", quoting)
    ask(walk, "send-image, without file", "POST", "send-image", picture)
    ask(walk, "send-image, not base64", "POST", "send-image", {**picture, "base64": NO_BASE64})
    ask(walk, "send-image, a path", "POST", "send-image", {**picture, "base64": "/tmp/nothing.png"})
    ask(walk, "send-voice-base64", "POST", "send-voice-base64", {"phone": CARLA, "base64Ptt": VOICE})
    ask(walk, "send-sticker", "POST", "send-sticker", {"phone": CARLA, "path": PICTURE})
    ask(walk, "send-sticker, a pdf", "POST", "send-sticker", {"phone": CARLA, "path": PDF})


def sends_to(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    phone.number(ABSENT, exists=False)
    phone.number(NINTH_DIGIT, ninth_digit=False)
    card = {"phone": CARLA, "name": "Bruna", "contactsId": ["5511977776666@c.us"]}
    ask(walk, "contact-vcard", "POST", "contact-vcard", card)
    ask(walk, "contact-vcard, absent number", "POST", "contact-vcard", {**card, "phone": ABSENT})
    ask(walk, "contact-vcard, empty phone", "POST", "contact-vcard", {**card, "phone": ""})
    ask(walk, "send-message, absent number", "POST", "send-message", {**TEXT, "phone": ABSENT})
    ask(walk, "send-message, empty phone", "POST", "send-message", {**TEXT, "phone": ""})
    ask(walk, "send-message, phone as number", "POST", "send-message", {**TEXT, "phone": int(CARLA)})
    ask(walk, "send-message, without text", "POST", "send-message", {"phone": CARLA})
    ask(walk, "send-message, formatted phone", "POST", "send-message", {**TEXT, "phone": "+55 (11) 99999-0001"})
    ask(walk, "send-message, ninth digit", "POST", "send-message", {**TEXT, "phone": NINTH_DIGIT})
    phone.receives(CARLA, text="oi", group=f"{GROUP}@g.us")
    to_group = {"phone": GROUP, "isGroup": True}
    ask(walk, "send-message, to group", "POST", "send-message", {**TEXT, **to_group})
    ask(walk, "contact-vcard, to group", "POST", "contact-vcard", {**card, **to_group})
    phone.hides(True)
    phone.receives(HIDDEN, text="oi")
    phone.hides(False)
    to_lid = {"phone": _lid(walk), "isLid": True}
    ask(walk, "send-message, to lid", "POST", "send-message", {**TEXT, **to_lid})
    ask(walk, "contact-vcard, to lid", "POST", "contact-vcard", {**card, **to_lid})


def reads(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    mine = walk.caller.api("POST", "send-message", TEXT)
    picture = walk.caller.api("POST", "send-image", {"phone": CARLA, "filename": "a.png", "base64": PICTURE})
    theirs = phone.receives(CARLA, type="image", base64=PICTURE, mimetype="image/png")
    received = phone.receives(CARLA, text="recebida")
    phone.receives(CARLA, text="oi", group=f"{GROUP}@g.us")
    phone.hides(True)
    phone.receives(HIDDEN, text="oi")
    phone.hides(False)
    lid = _lid(walk)
    ask(walk, "get-messages", "GET", f"get-messages/{CARLA}")
    ask(walk, "get-messages, @c.us", "GET", f"get-messages/{CARLA}@c.us")
    before = f"get-messages/{CARLA}?count=3&direction=before&id="
    ask(walk, "get-messages, before an id", "GET", before + received)
    ask(walk, "get-messages, before an unknown id", "GET", f"{before}true_{CARLA}@c.us_3EB0000000")
    ask(walk, "get-messages, unknown chat", "GET", f"get-messages/{UNKNOWN}")
    ask(walk, "get-messages, a group", "GET", f"get-messages/{GROUP}@g.us")
    ask(walk, "get-messages, a lid", "GET", f"get-messages/{lid}@lid")
    ask(walk, "all-unread-messages", "GET", "all-unread-messages")
    ask(walk, "list-chats", "POST", "list-chats", {})
    ask(walk, "all-contacts", "GET", "all-contacts")
    ask(walk, "get-media-by-message", "GET", f"get-media-by-message/{theirs}")
    ask(walk, "get-media-by-message, own", "GET", f"get-media-by-message/{id_of(picture)}")
    ask(walk, "get-media-by-message, a text", "GET", f"get-media-by-message/{received}")
    unknown = f"false_{CARLA}@c.us_3EB00000000000000000"
    ask(walk, "get-media-by-message, unknown", "GET", f"get-media-by-message/{unknown}")
    ask(walk, "message-by-id", "GET", f"message-by-id/{id_of(mine)}")
    ask(walk, "message-by-id, unknown", "GET", f"message-by-id/{unknown}")
    ask(walk, "react-message", "POST", "react-message", {"msgId": received, "reaction": "👍"})
    ask(walk, "react-message, taken back", "POST", "react-message", {"msgId": received, "reaction": False})
    ask(walk, "react-message, unknown", "POST", "react-message", {"msgId": unknown, "reaction": "👍"})


ARRIVING: Mapping[str, Mapping[str, Any]] = {
    "a text arrives": {"text": "recebida"},
    "an image arrives": {"type": "image", "base64": PICTURE, "mimetype": "image/png"},
    "a document arrives": {"type": "document", "base64": PDF, "mimetype": "application/pdf", "filename": "a.pdf"},
    "a voice note arrives": {"type": "ptt", "base64": VOICE, "mimetype": "audio/ogg; codecs=opus"},
    "a video arrives": {"type": "video", "base64": "AAAA", "mimetype": "video/mp4"},
    "a sticker arrives": {"type": "sticker", "base64": PICTURE, "mimetype": "image/webp"},
    "a place arrives": {"type": "location", "lat": -23.5, "lng": -46.6, "loc": "Sé"},
    "a contact's card arrives": {"type": "vcard", "text": "BEGIN:VCARD\nVERSION:3.0\nFN:B\nEND:VCARD"},
}


def arrivals(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    for situation, content in ARRIVING.items():
        phone.receives(CARLA, **content)
        walk.hold_posts(situation)


def whatsapp_away(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    phone.receives(CARLA, text="oi")
    pass_over(walk)
    phone.whatsapp(away=True)
    ask(walk, "WhatsApp away: status-session", "GET", "status-session")
    ask(walk, "WhatsApp away: check-connection", "GET", "check-connection-session")
    ask(walk, "WhatsApp away: get-phone-number", "GET", "get-phone-number")
    ask(walk, "WhatsApp away: host-device", "GET", "host-device")
    ask(walk, "WhatsApp away: get-battery-level", "GET", "get-battery-level")
    ask(walk, "WhatsApp away: check-number-status", "GET", f"check-number-status/{UNKNOWN}", seconds=HANGS)
    ask(walk, "WhatsApp away: get-messages", "GET", f"get-messages/{CARLA}")
    ask(walk, "WhatsApp away: list-chats", "POST", "list-chats", {})
    ask(walk, "WhatsApp away: send-message", "POST", "send-message", TEXT, seconds=HANGS)
    phone.whatsapp(away=False)
    walk.hold_posts("WhatsApp comes back: the hung send leaves")


def page_crashes(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    phone.page_crashes()
    ask(walk, "page crashed: status-session", "GET", "status-session")
    ask(walk, "page crashed: check-connection", "GET", "check-connection-session")
    ask(walk, "page crashed: get-phone-number", "GET", "get-phone-number")
    ask(walk, "page crashed: send-message", "POST", "send-message", TEXT)
    ask(walk, "page crashed: logout-session", "POST", "logout-session")
    ask(walk, "page crashed: get-media-by-message", "GET", f"get-media-by-message/{check.UNKNOWN_MESSAGE}")
    ask(walk, "page crashed: close-session", "POST", "close-session")
    walk.hold_posts("a crashed page is closed")
    ask(walk, "page crashed, closed: status-session", "GET", "status-session")


def chrome_dies(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    phone.chrome_dies()
    walk.hold_posts("Chrome dies")
    ask(walk, "Chrome died: status-session", "GET", "status-session")
    ask(walk, "Chrome died: check-connection", "GET", "check-connection-session")
    ask(walk, "Chrome died: get-phone-number", "GET", "get-phone-number")
    ask(walk, "Chrome died: start-session", "POST", "start-session", walk.start_body)
    ask(walk, "Chrome died: close-session", "POST", "close-session")
    ask(walk, "Chrome died: status-session, closed", "GET", "status-session")


def device_removed(walk: ContractRun, phone: Phone) -> None:
    pair(walk, phone)
    phone.removes_device()
    walk.hold_posts("the phone removes the device")


def _met(*names: str) -> tuple[str, ...]:
    """The recorded situations of these names; a name that is none stands for all that begin so."""
    recorded = [*contract.get_recorded_answers(), *contract.get_recorded_posts()]
    beginnings = tuple(name for name in names if name not in recorded)
    return tuple(name for name in recorded if name in names or (beginnings and name.startswith(beginnings)))


SCENARIOS = (
    Scenario("without a phone", tuple(contract_facts.FACTS), without_a_phone, {"clock_scale": 0.05,
    "auto_close": 60.0}),
    Scenario("anybody", _met("unhealthy", "metrics", "bad json", "start-all", "start-all, ", "clear-session-data, "),
             anybody),
    # A browser takes a while until it shows the first QR.
    Scenario("starting", _met("starting: ", "closed while starting", "started again"), starting,
             {"first_qr_delay": 2.5}),
    Scenario("a life", _met("scanned", "connected: ", "closed: ", "paired, ", "logged out", "cleared", "a QR is read",
                            "a connected session", "a paired session", "clear-session-data"), a_life),
    Scenario("by code", _met("a code is typed"), by_code),
    Scenario("by code again", _met("by code", "a start shows its code"), by_code_again,
             {"clock_scale": 0.05, "first_qr_delay": 30.0, "auto_close": 60.0}),
    Scenario("numbers", _met("check-number-status", "check-number-status, ", "pn-lid"), numbers),
    Scenario("sends", _met("send-message", "send-message (", "send-reply", "send-reply, ", "send-image", "send-image, ",
                           "send-file", "send-voice", "send-sticker", "send-sticker, ", "send-location",
                           "a text is sent", "an image is sent", "a place is sent"), sends),
    Scenario("sends to", _met("contact-vcard", "contact-vcard, ", "send-message, "), sends_to),
    Scenario("reads", _met("get-messages", "get-messages, ", "all-unread", "list-chats", "all-contacts",
                           "get-media-by-message", "get-media-by-message, ", "message-by-id", "message-by-id, ",
                           "react-message", "react-message, "), reads),
    Scenario("arrivals", tuple(ARRIVING), arrivals),
    Scenario("WhatsApp away", _met("WhatsApp "), whatsapp_away),
    Scenario("a page crashes", _met("page crashed", "a crashed page"), page_crashes),
    Scenario("Chrome dies", _met("Chrome die"), chrome_dies),
    Scenario("the device is removed", _met("the phone removes"), device_removed),
)  # fmt: skip
