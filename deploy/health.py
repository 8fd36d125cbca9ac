"""A container's health: `health.py URL [PART]` is well while URL answers 200, or calls PART (of /healthz) well."""

import json
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 4


def well(url: str, part: str = "") -> bool:
    """Whether what answers there is well."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:  # /healthz says 503 while any part is ill
        status, body = error.code, error.read()
    except OSError:
        return False
    if not part:
        return bool(status == 200)
    try:
        return bool(json.loads(body)["parts"][part]["ok"])
    except (ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if well(*sys.argv[1:3]) else 1)
