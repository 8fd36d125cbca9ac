"""What a person can do with their own session on a page, a program can do through the same service call."""

import ast
from pathlib import Path

from web.api import OPERATIONS

ROOT = Path(__file__).parents[2]
# The pages of a user's own session, with what they draw with.
OWN = ("pages/my_whatsapp.py", "pages/send.py", "ui/session_card.py", "ui/compose.py")
SERVICES = ("sessions", "messages")

# The service call of a page → the operation of the API that makes the same one.
PAIRS = {
    "sessions.get": "session",
    "sessions.connect": "connect",
    "sessions.reconnect": "reconnect",
    "sessions.disconnect": "disconnect",
    "messages.queue": "send",
    "messages.recent": "messages",
}


def calls_of(*paths: str) -> set[str]:
    """Every function of the two services that these files name."""
    return {
        f"{node.value.id}.{node.attr}"
        for path in paths
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in SERVICES
        and node.attr.islower()
    }


def test_it_offers_programs_what_the_pages_offer_people() -> None:
    assert calls_of(*OWN) == set(PAIRS)
    assert set(PAIRS) <= calls_of("web/api.py")
    assert set(PAIRS.values()) <= {operation.name for operation in OPERATIONS}
