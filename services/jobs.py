"""The procrastinate app and its tasks, each a thin call of a service. Sends are not jobs: see `dispatch`."""

import functools

from procrastinate import App, PsycopgConnector

from services import cleanup, healing, limits, messages, servers, settings
from services.db.actor import SYSTEM
from services.db.engine import psycopg_url

# procrastinate opens its own transactions, so role and search path come with its connections.
CONNECTION_OPTIONS = f"-c role={SYSTEM.database_role} -c search_path=jobs"


@functools.cache
def app() -> App:
    """The job app of this process, with every task registered."""
    url = psycopg_url(settings.get().system_database_url.get_secret_value())
    connector = PsycopgConnector(conninfo=url, min_size=1, max_size=4, kwargs={"options": CONNECTION_OPTIONS})
    made = App(connector=connector)
    # The sixth field of a cron line is seconds (croniter's form, which procrastinate takes).
    made.periodic(cron="* * * * * */5")(made.task(name="reconcile_uncertain", queueing_lock="reconcile")(_reconcile))
    made.periodic(cron="* * * * * */20")(made.task(name="look_at_servers", queueing_lock="servers")(_look_at_servers))
    made.periodic(cron="7 * * * *")(made.task(name="cleanup", queueing_lock="cleanup")(_clean_up))
    return made


def _reconcile(timestamp: int) -> int:  # noqa: ARG001
    """Settle uncertain messages whose chat is due to be read."""
    return messages.reconcile()


def _look_at_servers(timestamp: int) -> None:  # noqa: ARG001
    """Ask every WPPConnect server how it is."""
    servers.look(SYSTEM)


def _clean_up(timestamp: int) -> None:  # noqa: ARG001
    """Ask for the hourly clean-up, which the worker's own loop carries out; drop old counters and figures."""
    cleanup.hourly()
    limits.forget_old()
    healing.forget_old()
