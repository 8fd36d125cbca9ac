"""Logs as JSON lines on stdout, with a request id that travels and with secrets masked.

Every line of the process, ours and the libraries', passes one processor. It masks the values of the secret settings
wherever they stand, and everything under a key that names a secret or a private text.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from services import failure_log, settings

MASK = "***"

# Parts of a key's name, in lower case and without separators, under which nothing is ever written.
SECRET_KEYS = (
    "password",
    "passwd",
    "token",
    "secret",
    "qrcode",
    "urlcode",
    "authorization",
    "cookie",
    "messagetext",
    "apikey",
)
# Whole names: too short to be looked for inside others.
PRIVATE_KEYS = frozenset({"body", "qr", "code", "phonecode", "caption", "base64"})

# A PostgreSQL error quotes whole rows and SQLAlchemy quotes parameters: message texts and hashes among them.
QUOTED_DATA = re.compile(r"(?m)(^DETAIL:|^CONTEXT:|\[parameters:|Failing row contains).*$")

NOISY_LIBRARIES = (
    "uvicorn",
    "sqlalchemy",
    "streamlit",
    "httpx",
    "httpcore",
    "alembic",
    "procrastinate",
    "websockets",
    "watchdog",
)

_secrets: tuple[str, ...] = ()


class _StdoutHandler(logging.Handler):
    """Writes to the standard output of the moment, which may be replaced while the process runs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):
            self.handleError(record)


def configure(process: str) -> None:
    """Send all logging of this process to stdout as JSON lines that carry `process`. May be called again.

    Called again after a library has set up handlers of its own (uvicorn does when it starts), it takes them back.
    """
    global _secrets
    configured = settings.get()
    _secrets = _get_spellings(configured.secret_values())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process_name(process),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _StdoutHandler()
    handler.addFilter(failure_log.filter_record)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(configured.monitoring.log_level.upper())
    _route_library_loggers()


def _route_library_loggers() -> None:
    """Libraries log through the root handler only, and only what deserves attention."""
    for name in [*NOISY_LIBRARIES, *logging.Logger.manager.loggerDict]:
        if name.partition(".")[0] in NOISY_LIBRARIES:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.WARNING if name in NOISY_LIBRARIES else logging.NOTSET)


def bind_request_id(request_id: str | None = None) -> str:
    """Start a unit of work: its id (made here unless one travels along) goes on every line from now on."""
    chosen = request_id or uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=chosen)
    return chosen


def get_request_id() -> str | None:
    """The id of the unit of work under way."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return str(found) if found else None


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that no line gets around."""
    return {key: _mask_value(key, value) for key, value in event.items()}


def mask_values(detail: Mapping[str, Any]) -> dict[str, Any]:
    """`detail` as it may be kept: for what is written to tables as well as to logs."""
    return {key: _mask_value(key, value) for key, value in detail.items()}


def _mask_value(key: str, value: Any) -> Any:
    if _is_secret_key(key):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _mask_value(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mask_value("", inner) for inner in value]
    if isinstance(value, bytes):
        return _mask_text(value.decode(errors="replace"))
    return _mask_text(str(value))


def _is_secret_key(key: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    return plain in PRIVATE_KEYS or any(part in plain for part in SECRET_KEYS)


def _mask_text(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return QUOTED_DATA.sub(rf"\1 {MASK}", text)


def _get_spellings(values: list[str]) -> tuple[str, ...]:
    """Each secret as it is, as a URL spells it and as `repr` does; longest first: no part of one stays behind."""
    spelled = {form for value in values for form in (value, quote(value, safe=""), repr(value)[1:-1])}
    return tuple(sorted(spelled, key=len, reverse=True))


def _add_process_name(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add
