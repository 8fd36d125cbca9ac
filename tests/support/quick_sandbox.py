"""`python -m sandbox` with a phone and a WhatsApp that take no time: for pages that show what comes of it, not when."""

import uvicorn

from sandbox.app import create_app
from sandbox.server import uvicorn_config
from sandbox.state import Config
from services import settings


def main() -> None:
    """Serve until stopped. When a code comes, and how long it is valid, stays as it is."""
    wppconnect = settings.get().wppconnect
    config = Config(
        secret=wppconnect.server_token.get_secret_value(),
        chat_delay=0.1,
        settle_delay=0.2,
        ack_delays=(0.05, 0.1, 0.15),
    )
    uvicorn.Server(uvicorn_config(create_app(config), port=wppconnect.sandbox_port)).run()


if __name__ == "__main__":
    main()
