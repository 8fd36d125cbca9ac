"""The bearer tokens of sessions, made here so that the secret does not travel."""

import threading
from collections import OrderedDict

import bcrypt

BCRYPT_COST = 4  # the server's check costs what the hash says: 1.8 ms a call, 47.8 ms with generate-token's 10
BCRYPT_BYTES = 72  # bcrypt reads no more; Python's bcrypt 5 raises past it, the server's cuts
MAX_CACHED_TOKENS = 4096


def create_session_token(session: str, secret: str) -> str:
    """The bearer token of one session, made as `generate-token` makes it but at bcrypt cost 4, and here, so
    that the secret does not travel. Different at each call (the salt); every one of them is valid.
    """
    digest = bcrypt.hashpw((session + secret).encode()[:BCRYPT_BYTES], bcrypt.gensalt(BCRYPT_COST)).decode()
    return digest.replace("/", "_").replace("+", "-")


class TokenCache:
    """The most recently used tokens, by server and session."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def token(self, server: str, session: str, secret: str) -> str:
        key = (server, session)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        token = create_session_token(
            session, secret
        )  # outside the lock: if two threads compute it, either one is valid
        with self._lock:
            self._kept[key] = token
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return token

    def __len__(self) -> int:
        return len(self._kept)
