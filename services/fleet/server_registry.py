"""Which WPPConnect servers there are: the configuration and its rows.

The configuration (`WPP_SERVER_URL`, `WPP_SERVER_TOKEN`) says which servers there are, and it alone knows their secrets.
Each server has one row in `wpp_servers`; who works with the rows first registers those that are missing.
"""

from typing import Any

from sqlalchemy import Connection, select, text, update

from services import settings
from services.db.actor import Actor
from services.db.tables.fleet import wpp_servers
from services.errors import (
    NotFound,
)


def is_configured(url: str | None) -> bool:
    """Whether an address may be called at all."""
    return url in settings.get().wppconnect.servers()


def register_servers(tx: Connection, urls: list[str]) -> None:
    """Adds a row for each server address that has none."""
    tx.execute(text("select app.register_servers(:urls)"), {"urls": urls})


def change_server(tx: Connection, actor: Actor, url: str, **values: Any) -> None:
    """Registers a configured server and sets columns of its row.

    Raises: Forbidden for anybody but an admin; NotFound for a server that is not configured.
    """
    actor.require_admin("servers")
    if not is_configured(url):
        raise NotFound("a server that is not configured")
    register_servers(tx, [url])
    if values:
        tx.execute(update(wpp_servers).where(wpp_servers.c.url == url).values(**values))


def get_number(tx: Connection, url: str) -> str:
    """What the record calls a server by: addresses stay out of it."""
    return str(tx.execute(select(wpp_servers.c.number).where(wpp_servers.c.url == url)).scalar_one())
