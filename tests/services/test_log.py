"""What reaches the log, and what never does."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from services import log, settings

SECRETS = {
    "WPP_SERVER_TOKEN": "THISISMYSECURETOKEN",
    "QR_WEBHOOK_VERIFY_TOKEN": "verify/me+please=",
    "AUTH_COOKIE_KEY": "a-cookie-key-of-more-than-32-bytes!!",
    "ADMIN_PASSWORD": 'aspas " e \\ barra',
    "DATABASE_URL": "postgresql://owner:p%40ss%2Fword@db.example.com/x",
}


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[settings.Settings]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WPP_SERVER_URL", "https://wpp.example.com")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    settings.get.cache_clear()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield settings.get()
    root.handlers[:], root.level = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    settings.get.cache_clear()


@pytest.fixture
def lines(configured: settings.Settings, capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    log.configure("receiver")

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def test_it_writes_one_json_object_a_line_with_the_process_and_the_request_id(lines: Any) -> None:
    request_id = log.bind_request_id()
    structlog.get_logger("services.inbound.event_processing").info("event_stored", kind="onmessage", count=2)
    logging.getLogger("anything").warning("from %s", "stdlib")
    ours, theirs = lines()
    assert ours["event"] == "event_stored"
    assert (ours["process"], ours["request_id"], ours["logger"]) == (
        "receiver",
        request_id,
        "services.inbound.event_processing",
    )
    assert (ours["kind"], ours["count"], ours["level"]) == ("onmessage", 2, "info")
    assert (theirs["event"], theirs["process"], theirs["request_id"]) == ("from stdlib", "receiver", request_id)


def test_it_keeps_a_request_id_that_travels_and_makes_a_new_one_otherwise(lines: Any) -> None:
    assert log.bind_request_id("abc") == log.get_request_id() == "abc"
    assert log.bind_request_id() != "abc"


def test_it_masks_every_secret_wherever_it_stands(lines: Any, configured: settings.Settings) -> None:
    values = configured.secret_values()
    assert len(values) >= 5
    logger = structlog.get_logger("x")
    for value in values:
        for form in (value, quote(value, safe="")):
            logger.info(f"in the event {form}", harmless=f"in a value {form}", nested={"a": [form, {"b": form}]})
            logger.info("typed", url=PathLike(form), raw=form.encode(), error=ValueError(form))
            logging.getLogger("y").error("as an argument %s and %r", form, form)
            try:
                raise RuntimeError(form)
            except RuntimeError:
                logger.exception("failed")
                logging.getLogger("y").exception("failed")
    text = json.dumps(lines(), ensure_ascii=False)
    assert text.count(log.MASK) > 50
    for value in values:
        for form in (value, quote(value, safe=""), repr(value)[1:-1]):
            assert form not in text
            assert json.dumps(form, ensure_ascii=False)[1:-1] not in text


class PathLike:
    def __init__(self, value: str) -> None:
        self.value = value

    def __str__(self) -> str:
        return f"https://wpp.example.com/{self.value}/x"


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "ADMIN_PASSWORD",
        "token",
        "wppToken",
        "client_secret",
        "qrcode",
        "qr_code",
        "urlcode",
        "body",
        "message_text",
        "Authorization",
        "cookie",
    ],
)
def test_it_masks_what_stands_under_a_telling_key(lines: Any, key: str) -> None:
    structlog.get_logger("x").info("x", **{key: "algo privado"}, deep={"list": [{key: ["algo privado"]}]})
    (line,) = lines()
    assert "algo privado" not in json.dumps(line)
    assert line[key] == log.MASK


def test_it_leaves_the_rest_readable(lines: Any) -> None:
    structlog.get_logger("x").info("sent", message_id="abc", count=3, ok=True, nothing=None, body_bytes=12)
    (line,) = lines()
    assert (line["message_id"], line["count"], line["ok"], line["nothing"]) == ("abc", 3, True, None)
    assert line["body_bytes"] == 12


def test_it_drops_rows_and_parameters_that_a_database_error_quotes(lines: Any) -> None:
    error = 'violates check\nDETAIL:  Failing row contains (1, oi amor).\n[SQL: insert]\n[parameters: {"b": "oi amor"}]'
    structlog.get_logger("x").error("failed", exc_info=RuntimeError(error))
    logging.getLogger("y").error(error)
    found = lines()
    assert len(found) == 2
    assert "oi amor" not in json.dumps(found)
    assert "violates check" in json.dumps(found)


def test_it_takes_over_libraries_that_print_by_themselves(lines: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False
    logger.setLevel(logging.INFO)
    log.configure("receiver")
    logger.warning("shutting down with %s", SECRETS["WPP_SERVER_TOKEN"])
    logging.getLogger("httpx").info("HTTP Request: POST https://wpp.example.com/api/secret")
    captured = capsys.readouterr()
    (line,) = [json.loads(text) for text in captured.out.splitlines()]
    assert line["event"] == f"shutting down with {log.MASK}"
    assert captured.err == ""
