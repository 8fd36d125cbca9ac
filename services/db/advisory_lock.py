"""A lock that one process of the installation holds while it works, and loses at once when it dies."""

import psycopg

from services.db.engine import get_keepalive_conninfo
from services.errors import DatabaseUnavailable


class ProcessLock:
    """An advisory lock on a connection of its own. It keeps others from working beside us; what must be right even when
    that connection breaks has to be right without it.
    """

    def __init__(self, url: str, name: str) -> None:
        self._conninfo = get_keepalive_conninfo(url)
        self._name = name
        self._connection: psycopg.Connection | None = None

    def acquire(self) -> bool:
        """Take the lock, or find that it is still ours; False where somebody else has it.

        Raises: DatabaseUnavailable.
        """
        try:
            if self._connection is not None:
                self._connection.execute("select 1")
                return True
            self._connection = psycopg.connect(self._conninfo, autocommit=True)
            row = self._connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [self._name])
            taken = row.fetchone() == (True,)
        except psycopg.OperationalError as error:
            self.release()
            raise DatabaseUnavailable(type(error).__name__) from error
        if not taken:
            self.release()
        return taken

    def release(self) -> None:
        """Give the lock back; it is the connection's, so it ends with it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
