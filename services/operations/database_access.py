"""Gives a process its database: the configured one, or the embedded server."""

import contextlib
import os
from collections.abc import Iterator

import psycopg

from services import settings
from services.db.embedded import EmbeddedPostgres
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.errors import ConfigurationError


@contextlib.contextmanager
def open_database() -> Iterator[EmbeddedPostgres | None]:
    """A database for the block: the configured one (None), or our own, whose URL becomes this process's DATABASE_URL.

    Raises: ConfigurationError where none can be had, or another process already supervises ours.
    """
    configured = settings.get()
    if configured.database.url is not None:
        _check_reachable(configured.database.url.get_secret_value())
        yield None
        return
    with EmbeddedPostgres(configured.storage.data_dir) as embedded:
        _set_database_url(embedded.url())
        yield embedded


@contextlib.contextmanager
def open_running_or_own_database() -> Iterator[None]:
    """As `open_database`, for a command beside a running installation, whose embedded server is used where it runs."""
    configured = settings.get()
    if configured.database.url is None and (running := EmbeddedPostgres(configured.storage.data_dir)).alive():
        _set_database_url(running.url())
        yield
        return
    with open_database():
        yield


def use_running_database() -> None:
    """Point this process at our own embedded server where it runs and none is configured; start nothing."""
    configured = settings.get()
    if configured.database.url is None and (running := EmbeddedPostgres(configured.storage.data_dir)).alive():
        _set_database_url(running.url())


def _set_database_url(url: str) -> None:
    os.environ["DATABASE_URL"] = url
    settings.get.cache_clear()


def _check_reachable(url: str) -> None:
    try:
        psycopg.connect(psycopg_url(url), connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
    except psycopg.OperationalError as error:
        # libpq's text names host and port and never the password.
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"DATABASE_URL: the database does not answer: {reason}") from None
