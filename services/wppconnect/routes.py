"""The routes of WPPConnect servers that the client calls, as measured against wppconnect-server 2.10.4."""

from dataclasses import dataclass
from typing import Final, Literal

from services.wppconnect import errors

# Measured: to a number that it believes not to be on WhatsApp the server answers 400, and sends.
SENDS_ALL_THE_SAME: Final = frozenset({400})


@dataclass(frozen=True)
class Route:
    name: str
    method: Literal["GET", "POST"]
    wait: Literal["status", "query", "start", "send", "upload", "logout"]
    changes: bool = False
    secret_in_url: bool = False
    tolerates: frozenset[int] = frozenset()  # statuses that count as success if the body is JSON
    does_it_all_the_same: frozenset[int] = frozenset()  # refusals after which the server went on nevertheless
    bare: bool = False  # beside /api: no token, and whatever it answers is an answer

    @property
    def sends(self) -> bool:
        """Whether it sends a message."""
        return self.does_it_all_the_same == SENDS_ALL_THE_SAME

    def broken(self, why: str) -> errors.WppError:
        """The error for a request that left and whose answer never came, or tells nothing."""
        kind = errors.WppOutcomeUnknown if self.changes else errors.WppNoAnswer
        return kind(f"{self.name}: {why}")


START: Final = Route("start-session", "POST", "start", changes=True)
STATUS: Final = Route("status-session", "GET", "status")
CHECK: Final = Route("check-connection-session", "GET", "status")
CLOSE: Final = Route("close-session", "POST", "logout", changes=True, tolerates=frozenset({500}))
LOGOUT: Final = Route("logout-session", "POST", "logout", changes=True)
HOST: Final = Route("host-device", "GET", "query")
PHONE: Final = Route("get-phone-number", "GET", "query")
NUMBER: Final = Route("check-number-status", "GET", "query")
SEND: Final = Route("send-message", "POST", "send", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
REPLY: Final = Route("send-reply", "POST", "send", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
SEND_IMAGE: Final = Route("send-image", "POST", "upload", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
SEND_FILE: Final = Route("send-file-base64", "POST", "upload", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
SEND_VOICE: Final = Route("send-voice-base64", "POST", "upload", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
SEND_STICKER: Final = Route("send-sticker", "POST", "upload", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
SEND_MOVING_STICKER: Final = Route(
    "send-sticker-gif", "POST", "upload", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME
)
SEND_LOCATION: Final = Route("send-location", "POST", "send", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
SEND_CONTACT: Final = Route("contact-vcard", "POST", "send", changes=True, does_it_all_the_same=SENDS_ALL_THE_SAME)
MESSAGES: Final = Route("get-messages", "GET", "query")
MEDIA: Final = Route("get-media-by-message", "GET", "send")
REACT: Final = Route("react-message", "POST", "send", changes=True)
CHATS: Final = Route("list-chats", "POST", "query")
CONTACTS: Final = Route("all-contacts", "GET", "query")
UNREAD: Final = Route("all-unread-messages", "GET", "query")
PN_LID: Final = Route("contact/pn-lid", "GET", "query")
CLEAR: Final = Route("clear-session-data", "POST", "logout", changes=True, secret_in_url=True)
ALL: Final = Route("show-all-sessions", "GET", "query", secret_in_url=True)
HEALTH: Final = Route("healthz", "GET", "status", bare=True)
# A GET (or HEAD) of it ends the server. Only that method is routed there, so a POST is answered by Express itself.
UNHEALTHY: Final = Route("unhealthy", "POST", "status", bare=True)
# clear-session-data of nobody, with nobody's secret, and by a method for which it is not routed: nothing is deleted.
CLEAR_ASKED: Final = Route("api/nobody/nothing/clear-session-data", "GET", "status", bare=True)
SOCKET: Final = Route("socket.io/", "GET", "status", bare=True)
SOCKET_SEND: Final = Route("socket.io/", "POST", "status", bare=True)
