"""Posts alerts to the operator's own address, ALERT_WEBHOOK_URL: a chat's incoming webhook, or a program."""

import json
from collections.abc import Mapping
from typing import Any

import structlog

from services import settings
from services.platform import safe_http

log = structlog.get_logger(__name__)

POST_TIMEOUT_SECONDS = 5.0


def post(body: Mapping[str, Any]) -> bool:
    """Post `body` as JSON to ALERT_WEBHOOK_URL; chat tools show its `text`. False where that did not work."""
    address = settings.get().alerts.webhook_url.get_secret_value()
    content = json.dumps(body, ensure_ascii=False).encode()
    # Whoever set the address may reach their own networks with it.
    answer = safe_http.post(
        address, content, {"Content-Type": "application/json"}, private=True, seconds=POST_TIMEOUT_SECONDS
    )
    if not answer.well:
        # Without the address, which holds a token.
        log.warning("alert_not_posted", status=answer.status, error=answer.failure)
    return answer.well
