"""The companion process: receives what WPPConnect servers post and serves the API. Composed of web/'s routes."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from services import log, settings
from services.inbound import outages
from services.inbound.event_store import Inbox
from services.operations import metrics
from services.platform import pubsub
from services.platform.worker_loop import WorkerLoop
from web.api import openapi, registry, responses
from web.api.operation import routes
from web.ops import health
from web.ops import metrics as metrics_route
from web.receiver import webhook
from web.receiver.connections import CONNECTIONS_LIMIT, GuardedProtocol, GuardedServer

# What supabase-js sends, and what the API reads beside it.
CORS_HEADERS = ("authorization", "x-client-info", "apikey", "content-type", "idempotency-key", "prefer")
CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app() -> ASGIApp:
    """The receiver as an ASGI application, from this process's settings."""
    configured = settings.get()
    inbox = Inbox(configured.database.system_url.get_secret_value())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.inbox, app.state.proxies = inbox, configured.http.proxies()
        await inbox.start()
        heartbeat = WorkerLoop("heartbeat", outages.HeartbeatMonitor().beat).start()
        # Measured on this path: a full collection among a million live objects costs 20 ms of p99, freezing them none.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        async with pubsub.open_hub() as app.state.hub:
            with metrics.saving_counters("webhook"):
                yield
        await inbox.stop()
        await asyncio.to_thread(heartbeat.stop)

    app = Starlette(
        routes=[*health.routes, *metrics_route.routes, *openapi.routes, *routes(registry.OPERATIONS)],
        middleware=[_cors(configured.api.origins())],
        exception_handlers=responses.HANDLERS,
        lifespan=lifespan,
    )
    return webhook.Receiver(
        app, inbox, configured.http.qr_webhook_verify_token.get_secret_value(), configured.http.proxies()
    )


def _cors(origins: list[str]) -> Middleware:
    """Lets the owner's own web pages call the API, and no other's."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_HEADERS,
        expose_headers=("location", "retry-after"),
        max_age=600,
    )


def server_config(host: str, port: int) -> uvicorn.Config:
    """How uvicorn serves the companion process."""
    return uvicorn.Config(
        create_app(),
        host=host,
        port=port,
        http=GuardedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # services.platform.client_ip.client_ip does that, where an address is needed
        limit_concurrency=CONNECTIONS_LIMIT,
        timeout_graceful_shutdown=10,
    )


def main() -> None:
    """Serve until told to stop."""
    configured = settings.get().http
    log.configure("webhook")
    GuardedServer(server_config(configured.host, configured.webhook_port), configured.read_seconds).run()


if __name__ == "__main__":
    main()
