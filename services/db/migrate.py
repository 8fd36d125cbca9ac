"""Brings a database up to the newest schema."""

import re
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.exc import SQLAlchemyError

from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.errors import ConfigurationError

SCRIPTS = Path(__file__).parents[2] / "migrations"

# Before the first release the migrations were written anew, once. Until then they were called by four digits.
_EARLIER_REVISION = re.compile(r"\d{4}")


def migrate(database_url: str, revision: str = "head") -> None:
    """Run the migrations up to `revision` as the owner in `database_url`; nothing happens where all have run.

    Raises: ConfigurationError, in one line, where the database refuses (rights that the owner lacks, a newer schema)
        or was made before the first release: nothing is changed there.
    """
    _refuse_earlier(database_url)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["database_url"] = database_url
    try:
        command.upgrade(config, revision)
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        # The first line only: the others quote SQL, with the roles' passwords in it.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"DATABASE_URL: the schema cannot be brought up to date: {reason}") from error


def _refuse_earlier(database_url: str) -> None:
    try:
        revision, _newest = revisions(database_url)
    except psycopg.Error:
        return  # whatever is wrong with it, the migrations say
    if revision is not None and _EARLIER_REVISION.fullmatch(revision):
        raise ConfigurationError(
            f"DATABASE_URL: this database was made by a version before the first release (revision {revision}), which"
            " cannot be brought up to date: use an empty database."
        )


def revisions(database_url: str) -> tuple[str | None, str]:
    """The revision that the database is at (None before the first), and the newest one.

    Raises: psycopg.Error.
    """
    with psycopg.connect(psycopg_url(database_url), connect_timeout=CONNECT_TIMEOUT_SECONDS) as owner:
        known = owner.execute("select to_regclass('public.alembic_version') is not null").fetchone()
        row = owner.execute("select version_num from public.alembic_version").fetchone() if known and known[0] else None
    newest = ScriptDirectory(str(SCRIPTS)).get_current_head()
    assert newest is not None
    return row[0] if row else None, newest


def known_revisions() -> set[str]:
    """Every revision that this release knows."""
    return {one.revision for one in ScriptDirectory(str(SCRIPTS)).walk_revisions()}


def align_passwords(database_url: str, *login_urls: str) -> None:
    """Give each login role the password of its address: where roles stood before, the migrations did not make them.

    Raises: psycopg.Error.
    """
    with psycopg.connect(psycopg_url(database_url), connect_timeout=CONNECT_TIMEOUT_SECONDS) as owner:
        for url in login_urls:
            login = conninfo_to_dict(url)
            owner.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(str(login["user"])), sql.Literal(login.get("password"))
                )
            )
