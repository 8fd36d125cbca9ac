"""`GET /healthz`: the state of each part, for people and for whatever restarts processes."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.platform import heartbeats


async def healthz(request: Request) -> JSONResponse:  # noqa: ARG001
    """200 while every part is well, else 503; the body names each part either way."""
    parts = await run_in_threadpool(heartbeats.list_components)
    state = {
        part.name: {"ok": part.ok, "detail": part.detail}
        for part in [heartbeats.ComponentStatus("receiver", True, "answers"), *parts]
    }
    return JSONResponse(
        {"ok": all(part.ok for part in parts), "parts": state}, 200 if all(p.ok for p in parts) else 503
    )


routes = [Route("/healthz", healthz)]
