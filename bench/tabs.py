"""How many open pairing tabs one console process serves, each update within a second.

A tab is what a browser opens: Streamlit's own WebSocket, over which it asks for runs and gets drawings, and ours at
/live, after each of whose pushes it asks for a run of the fragment. It also rereads slowly, as the page tells it to.
"""

import asyncio
import base64
import contextlib
import json
import time
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import websockets
from streamlit.components.v2.bidi_component.constants import EVENT_DELIM
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.state.session_state import STREAMLIT_INTERNAL_KEY_PREFIX
from websockets.typing import Subprotocol

from bench.installation import BenchInstallation, figure, open_installation
from services.accounts import cookie_tokens
from services.db.actor import Role, person
from ui.shell.cookie import COOKIE_NAME

STEPS = (100, 200, 300, 400, 600)
ACTIVE = 10
ROUNDS = 8
LIMIT_SECONDS = 1.0
OPEN_AT_ONCE = 8
START_SECONDS = 60.0


@dataclass
class Tab:
    """One tab: what it knows of its page, and when it saw which QR."""

    address: str
    user_id: UUID
    secret: str
    cookie: str
    fragment: str = ""
    component: str = ""
    reread_seconds: float = 0.0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    seen: dict[int, float] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self) -> None:
        """Open both sockets, as the page does, and wait for the first drawing."""
        headers = {"Cookie": f"{COOKIE_NAME}={self.cookie}", "Origin": self.address}
        url = self.address.replace("http", "ws", 1)
        stream = await websockets.connect(
            f"{url}/_stcore/stream", additional_headers=headers, subprotocols=[Subprotocol("streamlit")], max_size=None
        )
        self.tasks.append(asyncio.create_task(self._read(stream)))
        first = BackMsg()
        first.rerun_script.query_string = ""
        await stream.send(first.SerializeToString())
        await asyncio.wait_for(self.ready.wait(), START_SECONDS)
        live = await websockets.connect(f"{url}/live?scope=session", additional_headers=headers)
        self.tasks.append(asyncio.create_task(self._listen(live, stream)))
        self.tasks.append(asyncio.create_task(self._reread(stream)))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _read(self, stream: websockets.ClientConnection) -> None:
        async for data in stream:
            message = ForwardMsg()
            message.ParseFromString(data if isinstance(data, bytes) else data.encode())
            kind = message.WhichOneof("type")
            if kind == "auto_rerun":
                self.reread_seconds = message.auto_rerun.interval
            elif kind == "delta":
                self._draw(message)
            elif kind == "script_finished" and self.component:
                self.ready.set()

    def _draw(self, message: ForwardMsg) -> None:
        component = message.delta.new_element.bidi_component
        if component.component_name == "plushify_live":
            self.component, self.fragment = component.id, message.delta.fragment_id
        elif component.component_name == "plushify_qr":
            drawn = json.loads(component.json or component.mixed.json)
            self.seen.setdefault(drawn["number"], time.perf_counter())

    async def _listen(self, live: websockets.ClientConnection, stream: websockets.ClientConnection) -> None:
        async for push in live:
            await self._rerun(stream, str(push))

    async def _reread(self, stream: websockets.ClientConnection) -> None:
        while self.reread_seconds:
            await asyncio.sleep(self.reread_seconds)
            await self._rerun(stream, None)

    async def _rerun(self, stream: websockets.ClientConnection, push: str | None) -> None:
        message = BackMsg()
        message.rerun_script.fragment_id = self.fragment
        if push is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = f"{STREAMLIT_INTERNAL_KEY_PREFIX}_{self.component}{EVENT_DELIM}events"
            state.json_trigger_value = json.dumps([{"event": "tick", "value": push}])
        await stream.send(message.SerializeToString())


def run() -> None:
    """Open ever more tabs; the figure is the largest step whose every update came in time."""
    served, slowest = 0, 0.0
    with open_installation() as installation, installation.running("webhook", "worker", "console"):
        for step in STEPS:
            latencies = asyncio.run(_serve(installation, step))
            worst, wanted = max(latencies, default=99.0), ACTIVE * ROUNDS
            ordered = sorted(latencies)
            p50 = ordered[len(ordered) // 2] * 1000 if ordered else 0.0
            print(f"# {step} tabs: {len(latencies)}/{wanted} updates, p50 {p50:.0f} ms, worst {worst * 1000:.0f} ms")
            if len(latencies) < wanted or worst > LIMIT_SECONDS:
                break
            served, slowest = step, worst
    figure("live_tabs", served, "tabs")
    figure("live_tabs_worst_ms", slowest * 1000, "ms")


async def _serve(installation: BenchInstallation, count: int) -> list[float]:
    tabs = []
    for _ in range(count):
        user_id, secret = installation.session("pareando")
        tabs.append(Tab(installation.console, user_id, secret, cookie_tokens.issue_token(person(user_id, Role.USER))))
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def open_one(tab: Tab) -> None:
        async with gate:
            await tab.open()

    try:
        await asyncio.gather(*(open_one(tab) for tab in tabs))
        return await _drive(installation, tabs[:: max(count // ACTIVE, 1)][:ACTIVE])
    finally:
        await asyncio.gather(*(tab.close() for tab in tabs))


async def _drive(installation: BenchInstallation, active: list[Tab]) -> list[float]:
    """Post one QR a second for each active tab; how long each took to be drawn, in seconds."""
    posted: dict[tuple[UUID, int], float] = {}
    async with httpx.AsyncClient(base_url=installation.webhook, trust_env=False) as http:
        for number in range(1, ROUNDS + 1):
            started = time.perf_counter()
            for tab in active:
                posted[tab.user_id, number] = time.perf_counter()
                await post_qr(http, tab.user_id, tab.secret, f"2@{number}-{tab.user_id}-" + "Q" * 180)
            await asyncio.sleep(max(0.0, started + 1 - time.perf_counter()))
    await asyncio.sleep(2 * LIMIT_SECONDS)
    return [
        tab.seen[number] - posted[tab.user_id, number]
        for tab in active
        for number in range(1, ROUNDS + 1)
        if number in tab.seen
    ]


async def post_qr(http: httpx.AsyncClient, user_id: UUID, secret: str, urlcode: str) -> None:
    """Post a `qrcode` event as the server does."""
    session = f"user_{user_id}"
    credentials = base64.b64encode(f"wpp:{secret}".encode()).decode()
    event = {"event": "qrcode", "session": session, "qrcode": "iVBORw0KGgo=", "urlcode": urlcode}
    path = f"/functions/v1/whatsapp-qr-webhook/{session}"
    answer = await http.post(path, json=event, headers={"Authorization": f"Basic {credentials}"})
    answer.raise_for_status()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        run()
