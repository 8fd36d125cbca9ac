"""Brings a database up to the newest schema."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from services.errors import ConfigurationError

SCRIPTS = Path(__file__).parents[2] / "migrations"


def migrate(database_url: str, revision: str = "head") -> None:
    """Run the migrations up to `revision` as the owner in `database_url`; nothing happens where all have run.

    Raises ConfigurationError, in one line, where the database refuses (rights that the owner lacks, a newer schema).
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["database_url"] = database_url
    try:
        command.upgrade(config, revision)
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        # The first line only: the others quote SQL, with the roles' passwords in it.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"DATABASE_URL: the schema cannot be brought up to date: {reason}") from error
