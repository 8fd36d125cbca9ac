"""Brings a database up to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config

SCRIPTS = Path(__file__).parents[2] / "migrations"


def migrate(database_url: str, revision: str = "head") -> None:
    """Run the migrations up to `revision` as the owner in `database_url`; nothing happens where all have run."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["database_url"] = database_url
    command.upgrade(config, revision)
