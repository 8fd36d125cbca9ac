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

from services import (
    backfill,
    campaigns,
    cleanup,
    dispatch,
    forwarding,
    healing,
    health,
    inbox,
    jobs,
    log,
    lookups,
    metrics,
    replay,
    rollups,
    schedules,
    sessions,
    settings,
    trouble,
    waves,
)
from services.db.notify import Listener
from services.loop import Loop

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
    "waves": "waves",
    "trials": "trials",
    "forward": "forward",
    "backfill": "backfill",
    "schedules": "schedules",
    "campaigns": "campaigns",
}


def main() -> None:
    """Work until told to stop; what is under way is finished first."""
    configured = settings.get()
    log.configure("worker")
    dispatcher = dispatch.Dispatcher(
        configured.send_concurrency,
        dispatch.Pace(configured.send_pace_seconds),
        timedelta(seconds=configured.send_lease_seconds),
        on_free=lambda: loops["send"].ring(),
    )
    forwarder = forwarding.Forwarder(on_free=lambda: loops["forward"].ring())
    reader = backfill.Reader(on_free=lambda: loops["backfill"].ring())
    cleaner, sweeper, counting = cleanup.Cleaner(), healing.Sweeper(), rollups.Rounds()
    loops = {
        "inbox": Loop("inbox", inbox.process),
        "lookups": Loop("lookups", lookups.step, lookups.idle_seconds),
        "checks": Loop("checks", sessions.tend, sessions.next_check_in),
        "send": Loop("send", dispatcher.step, dispatcher.idle_seconds),
        "forward": Loop("forward", forwarder.step, forwarder.idle_seconds),
        "backfill": Loop("backfill", reader.step),
        "cleanup": Loop("cleanup", cleaner.step),
        "health": Loop("health", sweeper.step, sweeper.idle_seconds),
        "waves": Loop("waves", waves.step),
        "trials": Loop("trials", replay.answer_trials),
        "rollups": Loop("rollups", counting.step, counting.idle_seconds),
        "metrics": Loop("metrics", lambda: metrics.note("worker"), lambda: metrics.NOTE_SECONDS),
        "schedules": Loop("schedules", schedules.step, schedules.next_due_in),
        "campaigns": Loop("campaigns", campaigns.step, campaigns.next_due_in),
        "heartbeat": Loop("heartbeat", lambda: health.beat("worker")),
    }

    def notified(channel: str, _payload: str) -> None:
        if channel == "health":
            sweeper.hurry()
        loops[CHANNELS[channel]].ring()

    listener = Listener(
        configured.system_database_url.get_secret_value(),
        tuple(CHANNELS),
        on_notify=notified,
        on_catch_up=lambda: _ring_all(loops.values()),
    )
    for loop in loops.values():
        loop.start()
    listener.start()
    logger.info("worker_started", send_concurrency=configured.send_concurrency)
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


def _ring_all(loops: Iterable[Loop]) -> None:
    for loop in loops:
        loop.ring()


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
            async with jobs.app().open_async():
                await jobs.app().run_worker_async(
                    concurrency=2,
                    delete_jobs="successful",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=JOB_SECONDS,
                )
        except (ConnectorException, psycopg.Error, PoolTimeout) as error:
            trouble.of_jobs().failed(error)
        await asyncio.sleep(RESTART_SECONDS)


if __name__ == "__main__":
    main()
