"""How long one page takes to draw: reruns asked for over Streamlit's WebSocket, each until its last drawing."""

import statistics
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.installation import BenchInstallation
from ui.shell.cookie import COOKIE_NAME

RERUNS = 9


def drawn_in(installation: BenchInstallation, token: str, page: str, pause: float = 0.1) -> float:
    """Seconds that a rerun of `page` takes, the median of nine; before each a `pause` in which caches may run out."""
    headers = {"Cookie": f"{COOKIE_NAME}={token}", "Origin": installation.console}
    url = installation.console.replace("http", "ws", 1) + "/_stcore/stream"
    protocols = [Subprotocol("streamlit")]
    with connect(url, additional_headers=headers, subprotocols=protocols, max_size=None) as stream:
        _rerun(stream, page, pause)
        return statistics.median(_rerun(stream, page, pause) for _ in range(RERUNS))


def _rerun(stream: ClientConnection, page: str, pause: float) -> float:
    """Seconds from asking for a run of the page to its end."""
    time.sleep(pause)
    asked = BackMsg()
    asked.rerun_script.page_name = page
    started = time.perf_counter()
    stream.send(asked.SerializeToString())
    drawn = 0
    for data in stream:
        message = ForwardMsg()
        message.ParseFromString(data if isinstance(data, bytes) else data.encode())
        drawn += message.WhichOneof("type") == "delta"
        if message.WhichOneof("type") == "script_finished":
            break
    assert drawn > 10, "the page drew nothing"
    return time.perf_counter() - started
