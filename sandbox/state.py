"""What the stand-in knows: sessions, messages, numbers. All in memory, one `World` per application.

A session has state in four places, as on the real server:

    the phone           `phone`, `chats`: the phone that is paired; kept after logouts and restarts of the server
    its token file      `stored`: with the webhook of the last start; kept after a logout. It brings the session back
                        whenever the server starts
    the server process  `started`, `status`, `urlcode`: what the process believes; lost with the process
    its browser         `browser`: one Chrome, which locks the profile while it runs, whoever drives it

The server drives the browser that it started last (`driven`). If a session is closed while it pairs, nobody drives its
browser. That browser runs on all the same and keeps the next start from opening the profile.
"""

import asyncio
import hashlib
import re
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from sandbox.faults import FaultSwitches

VERSION = "2.10.4"
# The oldest files are forgotten first, so that a long run with huge media cannot fill the memory.
MEDIA_LIMIT = 40
POSTS_LIMIT = 200
REVIVAL_POLL_SECONDS = 0.02
# axios holds no limit; this one only keeps a burst of webhooks from using up the file descriptors.
MAX_CONNECTIONS = 64

BRAZILIAN_MOBILE = re.compile(r"^(55\d{2})9(\d{8})$")
VALID_NUMBER = re.compile(r"^\d{8,14}$")


@dataclass(frozen=True)
class Config:
    """How this stand-in behaves. Times are in seconds and all of them are multiplied by `clock_scale`.

    The times are those measured against wppconnect-server 2.10.4: a first QR of about 60 s, later ones of about 20 s,
    an `autoClose` that ends an unscanned start after 60 s. `chat_delay` passes from a scan (or the return of a paired
    session) to `inChat`, and `settle_delay` from there until the server itself says CONNECTED. A browser that ends says
    so `farewell_delay` later; after a logout it lives on for `logout_farewell`.
    """

    secret: str
    clock_scale: float = 1.0
    first_qr_delay: float = 0.3
    first_qr_lifetime: float = 60.0
    next_qr_lifetime: float = 20.0
    auto_close: float = 60.0
    restart_delay: float = 0.3
    chat_delay: float = 0.7
    settle_delay: float = 1.0
    stuck_timeout: float = 300.0
    logout_delay: float = 0.5
    farewell_delay: float = 0.1
    logout_farewell: float = 1.0
    ack_delays: tuple[float, ...] = (0.1, 0.5, 1.0)
    hang: float = 120.0
    # How long the browser answers for a number out of its own memory, without asking WhatsApp again.
    numbers_remembered: float = 300.0
    max_body: int = 50 * 1024 * 1024
    # The real server compares a token on every call. Only a measurement of somebody else's speed spares that.
    remember_tokens: bool = False

    def seconds(self, value: float) -> float:
        """`value` on this stand-in's clock."""
        return value * self.clock_scale


@dataclass(eq=False)
class Browser:
    """One Chrome. It posts to the webhook of the start that opened it, for as long as it lives.

    `named` says whether its posts carry the session's name: after a `close-session` the server forgets to say it until
    the session is connected again.
    """

    config: dict[str, Any]
    named: bool = True
    task: "asyncio.Task[None] | None" = None
    page_gone: bool = False


@dataclass
class Session:
    """One user's session; see the head of this module. `dead`: a zombie until the next start."""

    name: str
    started: bool = False
    stored: bool = False
    status: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    phone: str | None = None
    urlcode: str | None = None
    qr_png: bytes = b""
    phone_code: str | None = None
    browser: Browser | None = None
    driven: Browser | None = None
    closed: bool = False
    dead: bool = False
    # WhatsApp is out of the page's reach. Unlike `dead` it outlives a restart: the way is broken, not the page.
    away: bool = False
    first_sign: "asyncio.Future[None] | None" = None
    chats: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    media: dict[str, tuple[str, str]] = field(default_factory=dict)
    recent_sends: deque[float] = field(default_factory=deque)
    # The phone's address book: digits. And when WhatsApp last answered for a number, on the monotonic clock.
    address_book: set[str] = field(default_factory=set)
    answered: dict[str, float] = field(default_factory=dict)

    @classmethod
    def up(cls, name: str, phone: str) -> "Session":
        """A session that is up, as after its scan, for those who need many and pair nobody."""
        browser = Browser({})
        return cls(name, started=True, stored=True, status="CONNECTED", phone=phone, browser=browser, driven=browser)

    @property
    def connected(self) -> bool:
        """True when there is a WhatsApp page to talk to: what `statusConnection` asks before a call."""
        browser = self.driven
        living = browser is not None and browser is self.browser and not browser.page_gone
        return self.status == "CONNECTED" and living

    @property
    def scannable(self) -> bool:
        """True while a phone may read the QR, or type the code, that is shown."""
        return self.status in ("QRCODE", "PHONECODE") and self.phone is None and self.driven is not None

    @property
    def address(self) -> str:
        """The paired phone's own address."""
        return f"{self.phone}@c.us"

    def remember(self, chat: str, message: dict[str, Any]) -> None:
        """Put `message` at the end of `chat`."""
        self.chats.setdefault(chat, []).append(message)
        self.messages[str(message["id"])] = message

    def keep_media(self, message_id: str, base64: str, mimetype: str) -> None:
        """Keep a message's file for `get-media-by-message`."""
        self.media[message_id] = (base64, mimetype)
        while len(self.media) > MEDIA_LIMIT:
            del self.media[next(iter(self.media))]


@dataclass
class NumberFacts:
    """What WhatsApp knows of a phone number; `address` is the one that it really uses."""

    exists: bool = True
    address: str | None = None


@dataclass
class SendAttempt:
    """One attempt to send. `outcome` is `sent` when it really went out, else why it did not."""

    seq: int
    session: str
    message: dict[str, Any]
    outcome: str
    at: float

    def as_json(self) -> dict[str, Any]:
        """For the control routes."""
        message = self.message
        return {
            "seq": self.seq,
            "session": self.session,
            "id": message["id"],
            "to": message["to"],
            "type": message["type"],
            "body": message.get("caption", "") if message.get("mimetype") else message.get("body", ""),
            "filename": message.get("filename"),
            "quoted": message.get("quotedStanzaID"),
            "moves": message.get("isAnimated", False),
            "ack": message["ack"],
            "outcome": self.outcome,
            "at": self.at,
        }


class World:
    """Everything that one stand-in server knows. It lives in its event loop only, so nothing needs a lock."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.faults = FaultSwitches()
        self.sessions: dict[str, Session] = {}
        self.numbers: dict[str, NumberFacts] = {}
        self.phone_of_lid: dict[str, str] = {}
        self.sendings: list[SendAttempt] = []
        # Which chats `send-seen` marked as read: (session, address).
        self.seen: list[tuple[str, str]] = []
        self.posts: deque[dict[str, Any]] = deque(maxlen=POSTS_LIMIT)
        # Which call brought which X-Request-Id: the real server ignores the header, its proxies log it.
        self.request_ids: deque[tuple[str, str]] = deque(maxlen=POSTS_LIMIT)
        self.connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self.born = time.monotonic()
        self.known_tokens: set[tuple[str, str]] = set()
        self.sockets: dict[str, str] = {}
        # How often a start met a profile that another browser held.
        self.locked_starts = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` beside the requests; it is cancelled when the server stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def open(self) -> None:
        """Begin in a new event loop, when the server starts (again)."""
        self.connections = asyncio.Semaphore(MAX_CONNECTIONS)

    async def close(self) -> None:
        """Cancel what still runs. Stored sessions stay, running ones do not: the process ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self.sessions.values():
            session.started, session.closed, session.status, session.urlcode = False, False, None, None
            session.browser = session.driven = None

    async def forget(self) -> None:
        """Cancel what runs and know nothing any more."""
        await self.close()
        self.faults = FaultSwitches()
        for known in (
            self.sessions,
            self.numbers,
            self.phone_of_lid,
            self.sendings,
            self.posts,
            self.sockets,
            self.seen,
        ):
            known.clear()

    async def sleep(self, seconds: float) -> None:
        """Wait on this stand-in's clock."""
        await asyncio.sleep(self.config.seconds(seconds))

    def session(self, name: str) -> Session:
        """The session of that name; one that was never started is not kept."""
        return self.sessions.get(name) or Session(name)

    def dead(self, session: Session) -> bool:
        """True for a zombie: its page lives and WhatsApp is out of reach."""
        return session.dead or session.away or self.faults.options("zombie", session.name) is not None

    def page_lives(self, session: Session) -> bool:
        """True when the server finds a page to talk to, through whatever faults are on."""
        zombie = self.faults.options("zombie", session.name) or {}
        return session.connected and not zombie.get("page_gone")

    def asks_whatsapp(self, session: Session, digits: str) -> bool:
        """Whether a question about that number must leave the browser: not for a contact's, nor for one just asked."""
        at = session.answered.get(digits)
        remembered = at is not None and time.monotonic() - at < self.config.seconds(self.config.numbers_remembered)
        return digits not in session.address_book and not remembered

    async def revived(self, session: Session) -> bool:
        """Wait until WhatsApp is in reach again. False where the browser that waited has ended meanwhile."""
        browser = session.browser
        while self.dead(session) and session.connected and session.browser is browser:
            await asyncio.sleep(REVIVAL_POLL_SECONDS)
        return session.connected and session.browser is browser

    def whatsapp_address(self, session: Session, address: str) -> str | None:
        """The address that WhatsApp uses for `address` (`<digits>@c.us`), or None when nobody has that number."""
        digits = address.split("@")[0]
        number = self.numbers.get(digits, NumberFacts())
        if not number.exists or not VALID_NUMBER.match(digits):
            return None
        if number.address:
            return number.address
        if self.faults.options("ninth_digit", session.name) is not None:
            return without_ninth_digit(digits) + "@c.us"
        return address

    def lid_of(self, phone: str) -> str:
        """The anonymous id of a phone: always the same one, known to `contact/pn-lid` from then on."""
        digits = int.from_bytes(hashlib.sha256(phone.encode()).digest()[:8]) % 10**14
        lid = f"2{digits:014d}"
        self.phone_of_lid[lid] = phone
        return lid

    def secret_lid_of(self, phone: str) -> str:
        """An anonymous id of which nobody learns the phone, and which can be written to all the same."""
        return f"3{int.from_bytes(hashlib.sha256(phone.encode()).digest()[:8]) % 10**14:014d}"

    def record(self, session: Session, message: dict[str, Any], outcome: str) -> None:
        """Write down an attempt to send, for the tests that compare it with the console's database."""
        self.sendings.append(SendAttempt(len(self.sendings) + 1, session.name, message, outcome, time.time()))


def without_ninth_digit(digits: str) -> str:
    """`5511988887777` → `551188887777`; anything else unchanged."""
    return BRAZILIAN_MOBILE.sub(r"\1\2", digits)


def random_phone() -> str:
    """A São Paulo mobile number: 55 11 9 and eight digits."""
    return f"55119{secrets.randbelow(10**8):08d}"


def phone_of(text: str) -> str:
    """The digits before the `@` of an address, or those of a number as people write it."""
    return re.sub(r"\D", "", text.split("@")[0])
