"""The stand-in WPPConnect server as one Starlette application. It only holds routes; other modules do the work."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox import control, pairing, read_routes, send_routes, session_routes, socket_routes
from sandbox.calls import world_of
from sandbox.express import HEADERS, RAW_SEND, BodyRefused, DroppedConnection, error_page, reply, route_not_found
from sandbox.state import Config, World

OnUnhealthy = Callable[[], None]
# What a careful proxy keeps from everybody outside.
BLOCKABLE_PATHS = ("/unhealthy", "/socket.io")


def exit_process() -> None:
    """What `/unhealthy` does to the real server: the process is gone, with no farewell."""
    os._exit(0)


class SandboxApp(Starlette):
    """Starlette that keeps the server's own `send`, so that a fault can close the connection under an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[RAW_SEND] = send
        await super().__call__(scope, receive, send)


class ServerFaults:
    """The faults of the server as a whole. They touch the API and never the control page that turns them off."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        broken = self._broken(scope)
        await (broken or self.app)(scope, receive, send)

    def _broken(self, scope: Scope) -> Response | None:
        if scope["type"] != "http" or scope["path"].startswith(control.PREFIX):
            return None
        session = [*scope["path"].split("/"), "", "", ""][2].partition(":")[0]
        down = self.world.faults.strike("server_down", session)
        if down is not None:
            return Response(status_code=int(down["status"])) if down["status"] else DroppedConnection()
        other = self.world.faults.options("other_answer", session)
        if other is not None and scope["path"].endswith(f"/{other['route']}"):
            self.world.faults.strike("other_answer", session)
            return JSONResponse(other["body"], int(other["status"]))
        if scope["path"].startswith(BLOCKABLE_PATHS) and self.world.faults.strike("paths_blocked") is not None:
            return Response("<html><body><h1>403 Forbidden</h1></body></html>", 403, media_type="text/html")
        if self.world.faults.strike("server_hangs", session) is not None:
            return DroppedConnection(hang=self.world.config.seconds(self.world.config.hang))
        return None


async def healthz(request: Request) -> Response:
    """No authentication."""
    uptime = round(time.monotonic() - world_of(request).born, 3)
    return reply(request, 200, {"uptime": uptime, "message": "OK", "timestamp": int(time.time() * 1000)})


async def metrics(request: Request) -> Response:
    """No authentication. Prometheus text."""
    world = world_of(request)
    up = sum(session.status == "CONNECTED" for session in world.sessions.values())
    lines = [
        "# HELP process_uptime_seconds Seconds since the start.",
        "# TYPE process_uptime_seconds gauge",
        f"process_uptime_seconds {time.monotonic() - world.born:.3f}",
        "# HELP sandbox_sessions_connected Sessions that say CONNECTED.",
        "# TYPE sandbox_sessions_connected gauge",
        f"sandbox_sessions_connected {up}",
    ]
    return Response("\n".join(lines) + "\n", 200, HEADERS, "text/plain; version=0.0.4; charset=utf-8")


async def unhealthy(request: Request) -> Response:
    """No authentication, and it kills the server: on the real one too."""
    return Response(status_code=503, headers=HEADERS, background=BackgroundTask(request.app.state.exit))


async def _not_found(request: Request, _error: Exception) -> Response:
    return route_not_found(request)


async def _body_refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BodyRefused)
    return error_page(error.status, error.text)


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    world: World = app.state.world
    world.open()
    # A server that starts brings its stored sessions back by itself.
    pairing.start_all_sessions(world)
    yield
    await world.close()


def create_app(config: Config, world: World | None = None, on_unhealthy: OnUnhealthy = exit_process) -> SandboxApp:
    """The application. Pass the `world` of an earlier one to start again with its stored sessions."""
    world = world or World(config)
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        404: _not_found,
        405: _not_found,
        BodyRefused: _body_refused,
    }
    routes = [
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        Route("/unhealthy", unhealthy),
        *socket_routes.ROUTES,
        *session_routes.ROUTES,
        *send_routes.ROUTES,
        *read_routes.ROUTES,
        *control.ROUTES,
    ]
    app = SandboxApp(
        routes=routes,
        middleware=[Middleware(ServerFaults, world=world)],
        exception_handlers=handlers,
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.world, app.state.exit = world, on_unhealthy
    return app
