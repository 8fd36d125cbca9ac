"""The procrastinate app and its tasks. Each task only calls a service.

Sending messages is no job: `messaging.dispatcher` does that.
"""

import functools

import psycopg
from procrastinate import App, PsycopgConnector, RetryStrategy

from services import failure_log, settings
from services.db.actor import SYSTEM
from services.db.engine import psycopg_url
from services.fleet import health_sweep, server_health
from services.inbound import automations, outages
from services.integrations import webhook_delivery
from services.messaging import overdue, reconciliation
from services.operations import retention
from services.platform import rate_limits
from services.reporting import weekly_summary

# procrastinate opens its own transactions, so role and search path come with its connections.
CONNECTION_OPTIONS = f"-c role={SYSTEM.database_role} -c search_path=jobs"


@functools.cache
def get_app() -> App:
    """The job app of this process, with every task registered."""
    url = psycopg_url(settings.get().database.system_url.get_secret_value())
    connector = PsycopgConnector(
        conninfo=url, min_size=1, max_size=4, kwargs={"options": CONNECTION_OPTIONS}, configure=_note_connected
    )
    made = App(connector=connector)
    # The sixth field of a cron line is seconds (croniter's form, which procrastinate takes).
    made.periodic(cron="* * * * * */5")(
        made.task(name="reconcile_uncertain", queueing_lock="reconcile")(_reconcile_uncertain)
    )
    made.periodic(cron="* * * * *")(made.task(name="ask_owners", queueing_lock="ask_owners")(_ask_owners))
    made.periodic(cron="* * * * * */20")(made.task(name="look_at_servers", queueing_lock="servers")(_check_servers))
    # Mondays at noon UTC: morning where most of these screens are.
    weekly = made.task(
        name="weekly_summary", queueing_lock="weekly_summary", retry=RetryStrategy(max_attempts=8, exponential_wait=4)
    )
    made.periodic(cron="0 12 * * 1")(weekly(_post_weekly_summary))
    made.periodic(cron="7 * * * *")(made.task(name="cleanup", queueing_lock="cleanup")(_purge_expired))
    return made


async def _note_connected(_connection: psycopg.AsyncConnection) -> None:
    """procrastinate says when it loses the database and never when it has it again; a new connection does."""
    failure_log.get_jobs_log().worked()


def _reconcile_uncertain(timestamp: int) -> int:  # noqa: ARG001
    """Settle uncertain messages whose chat is due to be read."""
    return reconciliation.reconcile()


def _ask_owners(timestamp: int) -> int:  # noqa: ARG001
    """Ask the owners of what waited too long."""
    return overdue.ask_owners()


def _check_servers(timestamp: int) -> None:  # noqa: ARG001
    """Ask every WPPConnect server how it is."""
    server_health.update_health(SYSTEM)


def _post_weekly_summary(timestamp: int) -> None:  # noqa: ARG001
    """Post the last week's summary to the alert address."""
    weekly_summary.post_last_week()


def _purge_expired(timestamp: int) -> None:  # noqa: ARG001
    """Ask for the hourly clean-up, which the worker's own loop carries out; drop old counters and figures."""
    retention.request_hourly_run()
    rate_limits.purge_expired()
    health_sweep.purge_expired()
    webhook_delivery.purge_expired()
    automations.purge_expired()
    outages.purge_expired()
