"""`GET /metrics` for Prometheus, with the token. While no token is set, only this machine itself may read it."""

import hmac
from ipaddress import ip_address

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services import settings
from services.errors import NotFound
from services.operations import metrics

# What proxies add: behind one that runs on this machine the whole world comes from here.
FORWARDING_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


async def serve_metrics(request: Request) -> Response:
    """Raises NotFound for whoever may not ask, as if there were nothing."""
    if not _is_allowed(request):
        raise NotFound("metrics")
    return Response(
        await run_in_threadpool(metrics.get_exposition),
        media_type=CONTENT_TYPE_PLAIN_0_0_4,
        headers={"Cache-Control": "no-store"},
    )


def _is_allowed(request: Request) -> bool:
    token = settings.get().monitoring.metrics_token.get_secret_value()
    if token:
        kind, _, offered = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(offered.strip().encode(), token.encode())
    return _is_local(request) and not any(name in request.headers for name in FORWARDING_HEADERS)


def _is_local(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


routes = [Route("/metrics", serve_metrics)]
