"""The job worker's process: handles events, tends pairing sessions, sends from the lanes, cleans up, runs the jobs."""

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from datetime import timedelta

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException
from psycopg_pool import PoolTimeout

from services import failure_log, log, settings
from services.db.notify import Listener
from services.fleet import checks, health_sweep, rolling_restart
from services.inbound import backfill, enrichment, event_dry_run, event_processing
from services.integrations import webhook_delivery
from services.messaging.dispatcher import Dispatcher
from services.messaging.pace import Pace
from services.operations import jobs, metrics, retention_worker
from services.outreach import campaign_release, schedule_runner
from services.platform import heartbeats
from services.platform.worker_loop import WorkerLoop
from services.reporting import rollups

logger = structlog.get_logger(__name__)

RESTART_SECONDS = 2.0
# A job under way at the end may take this long; what is cut off later is done by its next period.
JOB_SECONDS = 20
# NOTIFY channel → the loop that it wakes.
CHANNELS = {
    "inbox": "inbox",
    "lookups": "lookups",
    "lanes": "send",
    "checks": "checks",
    "health": "health",
    "cleanup": "cleanup",
    "rolling_restarts": "rolling_restarts",
    "dry_runs": "dry_runs",
    "webhooks": "webhooks",
    "backfill": "backfill",
    "schedules": "schedules",
    "campaigns": "campaigns",
}


def main() -> None:
    """Work until told to stop; what is under way is finished first."""
    configured = settings.get()
    log.configure("worker")
    dispatcher = Dispatcher(
        configured.sending.concurrency,
        Pace(configured.sending.pace_seconds),
        timedelta(seconds=configured.sending.lease_seconds),
        on_free=lambda: loops["send"].wake(),
    )
    forwarder = webhook_delivery.build_sender(on_free=lambda: loops["webhooks"].wake())
    reader = backfill.build_reader(on_free=lambda: loops["backfill"].wake())
    cleaner, sweeper, counting = retention_worker.RetentionWorker(), health_sweep.build_rounds(), rollups.build_rounds()
    loops = {
        "inbox": WorkerLoop("inbox", event_processing.process),
        "lookups": WorkerLoop("lookups", enrichment.step, enrichment.next_due_in),
        "checks": WorkerLoop("checks", checks.run_due_checks, checks.next_check_in),
        "send": WorkerLoop("send", dispatcher.step, dispatcher.idle_seconds),
        "webhooks": WorkerLoop("webhooks", forwarder.step, webhook_delivery.next_due_in),
        "backfill": WorkerLoop("backfill", reader.step),
        "cleanup": WorkerLoop("cleanup", cleaner.step),
        "health": WorkerLoop("health", sweeper.step, sweeper.idle_seconds),
        "rolling_restarts": WorkerLoop("rolling_restarts", rolling_restart.restart_next),
        "dry_runs": WorkerLoop("dry_runs", event_dry_run.run_pending_dry_runs),
        "rollups": WorkerLoop("rollups", counting.step, counting.idle_seconds),
        "metrics": WorkerLoop("metrics", lambda: metrics.save_counters("worker"), lambda: metrics.SAVE_SECONDS),
        "schedules": WorkerLoop("schedules", schedule_runner.step, schedule_runner.next_due_in),
        "campaigns": WorkerLoop("campaigns", campaign_release.step, campaign_release.next_due_in),
        "heartbeat": WorkerLoop("heartbeat", lambda: heartbeats.beat("worker")),
    }

    def notified(channel: str, _payload: str) -> None:
        if channel == "health":
            sweeper.hurry()
        loops[CHANNELS[channel]].wake()

    listener = Listener(
        configured.database.system_url.get_secret_value(),
        tuple(CHANNELS),
        on_notify=notified,
        on_catch_up=lambda: _wake_all(loops.values()),
    )
    for loop in loops.values():
        loop.start()
    listener.start()
    logger.info("worker_started", send_concurrency=configured.sending.concurrency)
    try:
        asyncio.run(_until_told_to_stop())
    finally:
        listener.stop()
        for loop in loops.values():
            loop.stop()
        dispatcher.drain()
        forwarder.drain()
        reader.drain()
        cleaner.close()
        logger.info("worker_stopped")


def _wake_all(loops: Iterable[WorkerLoop]) -> None:
    for loop in loops:
        loop.wake()


async def _until_told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(_run_jobs())
    await stop.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _run_jobs() -> None:
    """Run procrastinate for as long as the process lives; a database that is away only delays the jobs."""
    while True:
        try:
            async with jobs.get_app().open_async():
                await jobs.get_app().run_worker_async(
                    concurrency=2,
                    delete_jobs="successful",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=JOB_SECONDS,
                )
        except (ConnectorException, psycopg.Error, PoolTimeout) as error:
            failure_log.get_jobs_log().failed(error)
        await asyncio.sleep(RESTART_SECONDS)


if __name__ == "__main__":
    main()
