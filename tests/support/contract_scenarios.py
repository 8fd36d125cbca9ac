"""Every recorded situation, in scenarios that have a sandbox of their own each."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sandbox.server import running_sandbox
from sandbox.state import Config
from services.wppconnect import check, contract, contract_facts
from services.wppconnect.check_http import Caller, Listener
from services.wppconnect.check_run import ContractRun
from services.wppconnect.contract_facts import Difference
from services.wppconnect.contract_shapes import Part
from tests.support.contract_phone import MINE, NoSuchButton, Phone, SandboxPhone
from tests.support.contract_sandbox import DEADLINE_SECONDS, SECRET, eventually
from tests.support.contract_steps import SETTLE, ask, id_of, pair, pass_over, says, start, until

HANGS = 1.0

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
TEXT = {"phone": CARLA, "message": "olá", "isGroup": False}
VOICE = "data:audio/ogg;base64,T2dnUwACAAAAAAAAAAA="


@dataclass(frozen=True)
class Scenario:
    """Steps that meet situations, on a sandbox of these settings."""

    name: str
    meets: tuple[str, ...]
    steps: Callable[[ContractRun, Phone], None]
    config: Mapping[str, Any] = field(default_factory=dict)

    def differences(self) -> list[Difference]:
        """What is not as it was recorded; a situation that was not met is a difference too."""
        with _at_the_start(self.config) as (run, phone):
            why = ""
            try:
                self.steps(run, phone)
            except NoSuchButton as missing:
                why = f"no button {str(missing).rpartition('/')[2]}"
            foreign = set(run.facts) - set(self.meets) - {contract_facts.WEBHOOK_CREDENTIALS}
            assert not foreign, f"{self.name}: say that it meets {foreign}"
            unreached = [one for one in self.meets if one not in run.facts]
            return [*run.differences(), *(Difference(one, "", Part.UNREACHED, "", why) for one in unreached)]


@contextmanager
def _at_the_start(config: Mapping[str, Any]) -> Iterator[tuple[ContractRun, Phone]]:
    settings = {"clock_scale": 1.0, "auto_close": 600.0, "hang": 600.0, **config}
    with (
        running_sandbox(Config(secret=SECRET, **settings)) as server,
        Caller(server.url, SECRET, "contract_a") as caller,
        Listener() as listener,
    ):
        run = ContractRun(caller, listener, settings["clock_scale"], strict=True, settle=SETTLE)
        yield run, SandboxPhone(server.url, caller.session)


# --- scenarios --------------------------------------------------------------------------------------------------------


def without_a_phone(run: ContractRun, phone: Phone) -> None:
    check.check_without_phone(run)


def anybody(run: ContractRun, phone: Phone) -> None:
    caller = run.caller
    run.hold("unhealthy by POST", caller.ask("POST", "/unhealthy"))
    run.hold("metrics", caller.ask("GET", "/metrics"))
    run.hold("bad json", caller.api("POST", "send-message", raw=b"{"))
    run.hold("start-all", caller.with_secret("POST", "", "start-all"))
    run.hold("start-all, wrong secret", caller.with_secret("POST", "", "start-all", "another"))
    before = f"{caller.session}/"
    run.hold("clear-session-data, wrong secret", caller.with_secret("POST", before, "clear-session-data", "another"))


def starting(run: ContractRun, phone: Phone) -> None:
    start(run)
    ask(run, "starting: status-session", "GET", "status-session")
    ask(run, "starting: start-session", "POST", "start-session", run.start_body)
    waiting = {**run.start_body, "waitQrCode": True}
    ask(run, "starting: start-session, waitQrCode", "POST", "start-session", waiting, seconds=HANGS)
    ask(run, "starting: qrcode-session", "GET", "qrcode-session")
    ask(run, "starting: check-connection", "GET", "check-connection-session")
    ask(run, "starting: send-message", "POST", "send-message", TEXT)
    ask(run, "starting: logout-session", "POST", "logout-session")
    ask(run, "starting: get-phone-number", "GET", "get-phone-number")
    ask(run, "starting: close-session", "POST", "close-session")
    ask(run, "closed while starting: status-session", "GET", "status-session")
    ask(run, "closed while starting: check-connection", "GET", "check-connection-session")
    ask(run, "closed while starting: start-session", "POST", "start-session", run.start_body)
    again = time.monotonic()
    ask(run, "started again at once: status-session", "GET", "status-session")
    # Not a QR within the time in which every other start has shown one: Chrome's profile is locked.
    eventually(lambda: time.monotonic() - again > 4.0 or says(run) == "QRCODE")
    ask(run, "started again at once: status-session, later", "GET", "status-session")


def a_life(run: ContractRun, phone: Phone) -> None:
    start(run)
    until(run, "QRCODE")
    pass_over(run)
    phone.scan()
    assert run.listener is not None
    run.listener.wait(lambda posts: any(post.kind.endswith("inChat") for post in posts), DEADLINE_SECONDS, run.taken)
    ask(run, "scanned, inChat posted: status-session", "GET", "status-session")
    ask(run, "scanned, inChat posted: get-phone-number", "GET", "get-phone-number")
    run.hold_posts("a QR is read")
    until(run, "CONNECTED")
    ask(run, "connected: status-session", "GET", "status-session")
    ask(run, "connected: start-session", "POST", "start-session", run.start_body)
    ask(run, "connected: check-connection", "GET", "check-connection-session")
    ask(run, "connected: qrcode-session", "GET", "qrcode-session")
    ask(run, "connected: host-device", "GET", "host-device")
    ask(run, "connected: get-phone-number", "GET", "get-phone-number")
    ask(run, "connected: get-battery-level", "GET", "get-battery-level")
    pass_over(run)
    ask(run, "connected: close-session", "POST", "close-session")
    run.hold_posts("a connected session is closed")
    ask(run, "closed: status-session", "GET", "status-session")
    ask(run, "closed: close-session", "POST", "close-session")
    ask(run, "closed: logout-session", "POST", "logout-session")
    ask(run, "closed: qrcode-session", "GET", "qrcode-session")
    ask(run, "closed: check-connection", "GET", "check-connection-session")
    _restarts(run)
    _logs_out(run)


def _restarts(run: ContractRun) -> None:
    pass_over(run)
    ask(run, "paired, closed: start-session", "POST", "start-session", run.start_body)
    if says(run) != "CONNECTED":
        ask(run, "paired, restarting: status-session", "GET", "status-session")
    run.hold_posts("a paired session restarts")
    until(run, "CONNECTED")
    ask(run, "paired, restarted: status-session", "GET", "status-session")
    run.caller.api("POST", "close-session")
    pass_over(run)
    waiting = {**run.start_body, "waitQrCode": True}
    ask(run, "closed: start-session, waitQrCode", "POST", "start-session", waiting, seconds=HANGS)
    until(run, "CONNECTED")
    pass_over(run)


def _logs_out(run: ContractRun) -> None:
    caller = run.caller
    ask(run, "connected: logout-session", "POST", "logout-session")
    ask(run, "logged out: status-session", "GET", "status-session")
    _still_listed(run, "logged out: show-all")
    run.hold_posts("a connected session is logged out")
    run.hold("clear-session-data", caller.with_secret("POST", f"{caller.session}/", "clear-session-data"))
    _still_listed(run, "cleared: show-all")


def _still_listed(run: ContractRun, situation: str) -> None:
    """A session's token file stays, and by it the name."""
    listed = run.hold(situation, run.caller.with_secret("GET", "", "show-all-sessions"))
    names = listed.body.get("response", []) if isinstance(listed.body, dict) else []
    if run.caller.session not in names:
        run.note(situation, "", "", [Difference(situation, "response[]", Part.MISSING, "the session's name")])


def by_code(run: ContractRun, phone: Phone) -> None:
    start(run, phone=MINE)
    until(run, "PHONECODE")
    pass_over(run)
    phone.scan()
    run.hold_posts("a code is typed")


def by_code_again(run: ContractRun, phone: Phone) -> None:
    """A code that nobody typed has ended its start: the next one answers at once, also where it is to wait."""
    start(run, phone=MINE)
    until(run, "PHONECODE")
    run.hold_posts("a start shows its code")
    until(run, "CLOSED")
    pass_over(run)
    waiting = {**run.start_body, "phone": MINE, "waitQrCode": True}
    ask(run, "by code: start-session, waitQrCode", "POST", "start-session", waiting, seconds=HANGS)
    ask(run, "by code, starting: status-session", "GET", "status-session")
    ask(run, "by code, starting: qrcode-session", "GET", "qrcode-session")
    ask(run, "by code, starting: close-session", "POST", "close-session")


def numbers(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    phone.number(ABSENT, exists=False)
    phone.number(NINTH_DIGIT, ninth_digit=False)
    ask(run, "check-number-status", "GET", f"check-number-status/{CARLA}")
    ask(run, "check-number-status, absent", "GET", f"check-number-status/{ABSENT}")
    digits = ask(run, "check-number-status, ninth digit", "GET", f"check-number-status/{NINTH_DIGIT}")
    assert contract.get_value_at(digits.body, "response.id._serialized") == WITHOUT_IT
    ask(run, "check-number-status, @c.us", "GET", f"check-number-status/{CARLA}@c.us")
    ask(run, "check-number-status, short", "GET", "check-number-status/123")
    phone.hides(True)
    phone.receives(HIDDEN, text="oi")
    phone.hides(False)
    phone.receives(CARLA, text="oi")
    ask(run, "pn-lid, a phone", "GET", f"contact/pn-lid/{CARLA}@c.us")
    ask(run, "pn-lid, a lid", "GET", f"contact/pn-lid/{_lid(run)}@lid")
    ask(run, "pn-lid, an unknown lid", "GET", "contact/pn-lid/99999999999999@lid")
    ask(run, "pn-lid, a group", "GET", f"contact/pn-lid/{GROUP}@g.us")


def _lid(run: ContractRun) -> str:
    answer = run.caller.api("GET", f"contact/pn-lid/{HIDDEN}@c.us")
    return str(contract.get_value_at(answer.body, "lid._serialized")).removesuffix("@lid")


def sends(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    sent = ask(run, "send-message", "POST", "send-message", TEXT)
    answered = time.monotonic()
    acks = run.hold_posts("a text is sent")
    if acks and acks[0].at > answered:
        late = Difference("a text is sent", "onack chat 1", Part.ORDER, "before the answer", "after it")
        run.note("a text is sent", "", "", [late])
    picture = {"phone": CARLA, "filename": "a.png", "caption": "legenda"}
    ask(run, "send-image", "POST", "send-image", {**picture, "base64": PICTURE})
    run.hold_posts("an image is sent")
    place = {"phone": CARLA, "lat": "-23.5", "lng": "-46.6", "title": "Sé", "address": "Praça da Sé"}
    ask(run, "send-location", "POST", "send-location", place)
    run.hold_posts("a place is sent")
    charset = "application/json; charset=utf-8"
    ask(
        run, "send-message (with a charset)", "POST", "send-message",
        raw=b'{"phone":"%s","message":"b"}' % CARLA.encode(), content_type=charset,
    )  # fmt: skip
    ask(run, "send-reply", "POST", "send-reply", {**TEXT, "messageId": id_of(sent)})
    unknown = f"true_{CARLA}@c.us_3EB000000000000000_out"
    ask(run, "send-reply, to unknown", "POST", "send-reply", {**TEXT, "messageId": unknown})
    file = {"phone": CARLA, "filename": "a.pdf", "base64": PDF}
    ask(run, "send-file-base64, pdf", "POST", "send-file-base64", file)
    quoting = {**file, "quotedMessageId": id_of(sent)}
    ask(run, "send-file-base64, quoting", "POST", "send-file-base64", quoting)
    ask(run, "send-image, without file", "POST", "send-image", picture)
    ask(run, "send-image, not base64", "POST", "send-image", {**picture, "base64": NO_BASE64})
    ask(run, "send-image, a path", "POST", "send-image", {**picture, "base64": "/tmp/nothing.png"})
    ask(run, "send-voice-base64", "POST", "send-voice-base64", {"phone": CARLA, "base64Ptt": VOICE})
    ask(run, "send-sticker", "POST", "send-sticker", {"phone": CARLA, "path": PICTURE})
    ask(run, "send-sticker, a pdf", "POST", "send-sticker", {"phone": CARLA, "path": PDF})


def sends_to(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    phone.number(ABSENT, exists=False)
    phone.number(NINTH_DIGIT, ninth_digit=False)
    card = {"phone": CARLA, "name": "Bruna", "contactsId": ["5511977776666@c.us"]}
    ask(run, "contact-vcard", "POST", "contact-vcard", card)
    ask(run, "contact-vcard, absent number", "POST", "contact-vcard", {**card, "phone": ABSENT})
    ask(run, "contact-vcard, empty phone", "POST", "contact-vcard", {**card, "phone": ""})
    ask(run, "send-message, absent number", "POST", "send-message", {**TEXT, "phone": ABSENT})
    ask(run, "send-message, empty phone", "POST", "send-message", {**TEXT, "phone": ""})
    ask(run, "send-message, phone as number", "POST", "send-message", {**TEXT, "phone": int(CARLA)})
    ask(run, "send-message, without text", "POST", "send-message", {"phone": CARLA})
    ask(run, "send-message, formatted phone", "POST", "send-message", {**TEXT, "phone": "+55 (11) 99999-0001"})
    ask(run, "send-message, ninth digit", "POST", "send-message", {**TEXT, "phone": NINTH_DIGIT})
    phone.receives(CARLA, text="oi", group=f"{GROUP}@g.us")
    to_group = {"phone": GROUP, "isGroup": True}
    ask(run, "send-message, to group", "POST", "send-message", {**TEXT, **to_group})
    ask(run, "contact-vcard, to group", "POST", "contact-vcard", {**card, **to_group})
    phone.hides(True)
    phone.receives(HIDDEN, text="oi")
    phone.hides(False)
    to_lid = {"phone": _lid(run), "isLid": True}
    ask(run, "send-message, to lid", "POST", "send-message", {**TEXT, **to_lid})
    ask(run, "contact-vcard, to lid", "POST", "contact-vcard", {**card, **to_lid})


def reads(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    mine = run.caller.api("POST", "send-message", TEXT)
    picture = run.caller.api("POST", "send-image", {"phone": CARLA, "filename": "a.png", "base64": PICTURE})
    theirs = phone.receives(CARLA, type="image", base64=PICTURE, mimetype="image/png")
    received = phone.receives(CARLA, text="recebida")
    phone.receives(CARLA, text="oi", group=f"{GROUP}@g.us")
    phone.hides(True)
    phone.receives(HIDDEN, text="oi")
    phone.hides(False)
    lid = _lid(run)
    ask(run, "get-messages", "GET", f"get-messages/{CARLA}")
    ask(run, "get-messages, @c.us", "GET", f"get-messages/{CARLA}@c.us")
    before = f"get-messages/{CARLA}?count=3&direction=before&id="
    ask(run, "get-messages, before an id", "GET", before + received)
    ask(run, "get-messages, before an unknown id", "GET", f"{before}true_{CARLA}@c.us_3EB0000000")
    ask(run, "get-messages, unknown chat", "GET", f"get-messages/{UNKNOWN}")
    ask(run, "get-messages, a group", "GET", f"get-messages/{GROUP}@g.us")
    ask(run, "get-messages, a lid", "GET", f"get-messages/{lid}@lid")
    ask(run, "all-unread-messages", "GET", "all-unread-messages")
    ask(run, "list-chats", "POST", "list-chats", {})
    ask(run, "all-contacts", "GET", "all-contacts")
    ask(run, "get-media-by-message", "GET", f"get-media-by-message/{theirs}")
    ask(run, "get-media-by-message, own", "GET", f"get-media-by-message/{id_of(picture)}")
    ask(run, "get-media-by-message, a text", "GET", f"get-media-by-message/{received}")
    unknown = f"false_{CARLA}@c.us_3EB00000000000000000"
    ask(run, "get-media-by-message, unknown", "GET", f"get-media-by-message/{unknown}")
    ask(run, "message-by-id", "GET", f"message-by-id/{id_of(mine)}")
    ask(run, "message-by-id, unknown", "GET", f"message-by-id/{unknown}")
    ask(run, "react-message", "POST", "react-message", {"msgId": received, "reaction": "👍"})
    ask(run, "react-message, taken back", "POST", "react-message", {"msgId": received, "reaction": False})
    ask(run, "react-message, unknown", "POST", "react-message", {"msgId": unknown, "reaction": "👍"})


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


def arrivals(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    for situation, content in ARRIVING.items():
        phone.receives(CARLA, **content)
        run.hold_posts(situation)


def whatsapp_away(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    phone.receives(CARLA, text="oi")
    pass_over(run)
    phone.whatsapp(away=True)
    ask(run, "WhatsApp away: status-session", "GET", "status-session")
    ask(run, "WhatsApp away: check-connection", "GET", "check-connection-session")
    ask(run, "WhatsApp away: get-phone-number", "GET", "get-phone-number")
    ask(run, "WhatsApp away: host-device", "GET", "host-device")
    ask(run, "WhatsApp away: get-battery-level", "GET", "get-battery-level")
    ask(run, "WhatsApp away: check-number-status", "GET", f"check-number-status/{UNKNOWN}", seconds=HANGS)
    ask(run, "WhatsApp away: get-messages", "GET", f"get-messages/{CARLA}")
    ask(run, "WhatsApp away: list-chats", "POST", "list-chats", {})
    ask(run, "WhatsApp away: send-message", "POST", "send-message", TEXT, seconds=HANGS)
    phone.whatsapp(away=False)
    run.hold_posts("WhatsApp comes back: the hung send leaves")


def page_crashes(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    phone.page_crashes()
    ask(run, "page crashed: status-session", "GET", "status-session")
    ask(run, "page crashed: check-connection", "GET", "check-connection-session")
    ask(run, "page crashed: get-phone-number", "GET", "get-phone-number")
    ask(run, "page crashed: send-message", "POST", "send-message", TEXT)
    ask(run, "page crashed: logout-session", "POST", "logout-session")
    ask(run, "page crashed: get-media-by-message", "GET", f"get-media-by-message/{check.UNKNOWN_MESSAGE}")
    ask(run, "page crashed: close-session", "POST", "close-session")
    run.hold_posts("a crashed page is closed")
    ask(run, "page crashed, closed: status-session", "GET", "status-session")


def chrome_dies(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    phone.chrome_dies()
    run.hold_posts("Chrome dies")
    ask(run, "Chrome died: status-session", "GET", "status-session")
    ask(run, "Chrome died: check-connection", "GET", "check-connection-session")
    ask(run, "Chrome died: get-phone-number", "GET", "get-phone-number")
    ask(run, "Chrome died: start-session", "POST", "start-session", run.start_body)
    ask(run, "Chrome died: close-session", "POST", "close-session")
    ask(run, "Chrome died: status-session, closed", "GET", "status-session")


def device_removed(run: ContractRun, phone: Phone) -> None:
    pair(run, phone)
    phone.removes_device()
    run.hold_posts("the phone removes the device")


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
