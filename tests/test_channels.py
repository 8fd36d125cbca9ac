"""What is notified is listened to: the channels of SQL and code, and the topics of pages that redraw."""

import re
from typing import get_args

import worker
from services.platform import pubsub
from tests.support.paths import ROOT
from ui.shell import live

SOURCES = [*(ROOT / "migrations" / "sql").glob("*.sql"), *(ROOT / "services").rglob("*.py")]
SOURCES += (ROOT / "services").rglob("*.sql")
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)


def test_the_worker_listens_to_every_channel_that_is_notified() -> None:
    notified = set(re.findall(r"pg_notify\(\s*'(\w+)'", TEXT))
    assert notified == {*worker.CHANNELS, "live"}


def test_every_topic_of_a_user_is_one_that_pages_know() -> None:
    topics = set(re.findall(r"pg_notify\('live', '(\w+):'", TEXT))
    assert {"session", "message", "campaign", "webhook"} <= topics, "the search finds nothing any more"
    assert topics <= {*pubsub.USER_TOPICS, "account", "cleanup"}


def test_every_page_listens_to_a_topic_that_there_is() -> None:
    pages = [*(ROOT / "pages").glob("*.py"), *(ROOT / "ui").rglob("*.py")]
    heard = {scope for path in pages for scope in re.findall(r"live\.listen\(\s*\"(\w+)\"", path.read_text())}
    assert heard
    assert heard <= set(get_args(live.Scope))
