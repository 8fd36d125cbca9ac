"""`python -m sandbox`: the stand-in on 127.0.0.1, for as long as no real WPPConnect server is configured."""

import sys

import uvicorn

from sandbox.app import create_app
from sandbox.server import uvicorn_config
from sandbox.state import Config
from services import settings
from services.errors import ConfigurationError


def main() -> str | None:
    """Serve until stopped. Answers the one line to fail with, or None."""
    try:
        current = settings.get()
    except ConfigurationError as error:
        return f"sandbox: {error.detail}"
    if not current.wppconnect.sandboxed:
        return "sandbox: WPP_SERVER_URL is set, so a real WPPConnect server is in use; unset it to use the sandbox"
    config = Config(secret=current.wppconnect.server_token.get_secret_value())
    uvicorn.Server(uvicorn_config(create_app(config), port=current.wppconnect.sandbox_port)).run()
    return None


if __name__ == "__main__":
    sys.exit(main())
