"""Pages that redraw when their rows change: NOTIFY → this process's one listener → the tab's WebSocket → its fragment.

A push only says that something changed. The fragment reads what it draws behind its own guard. So a lost, doubled or
late push costs a redraw and never shows a wrong picture. Each (re)connection draws once to catch up.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Literal

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.components.v2.types import ComponentRenderer

from services.db.actor import Actor
from services.errors import DatabaseUnavailable
from services.failure_log import FailureLog
from services.platform import pubsub
from services.platform.pubsub import Hub, Subscriber
from ui.shell import cookie, errors

PATH = "/live"
# A burst of changes becomes one push: below what an eye sees as delay, above what a redraw takes.
OWN_GAP_SECONDS = 0.05
# The fleet's figures are recomputed at most this often, however much happens.
FLEET_GAP_SECONDS = 2.0
# A campaign moves with every message of it; its page is to be read and pressed meanwhile.
CAMPAIGN_GAP_SECONDS = 1.0
# How long a socket may outlive its sign-in; what it could tell meanwhile is only that something changed.
RECHECK_SECONDS = 30.0
# Application-defined close codes (RFC 6455, 7.4.2): the tab does not come back by itself after these.
SIGNED_OUT = 4401
# A tab does come back after this one, of the registry in RFC 6455, 7.4.
TRY_AGAIN_LATER = 1013

Scope = Literal["session", "message", "report", "campaign", "schedule", "webhook", "fleet", "cleanup"]
# What is summed up over many rows.
SLOW_SCOPES = ("fleet", "report")

# The component outlives the fragment's reruns: what it opened is kept with its element and only its voice is renewed.
SCRIPT = """
export default function ({ parentElement, setTriggerValue, data }) {
  const own = (parentElement.plushifyLive ??= { wait: 250 });
  own.tell = (value) => setTriggerValue("tick", value);
  clearTimeout(own.closing);
  own.hear ??= (value) => {
    if (own.pressed) own.held = value; else own.tell(value);
  };
  // A redraw between press and release would take the button away from under the finger, and the click with it.
  if (!own.watched) {
    own.watched = new AbortController();
    const options = { capture: true, signal: own.watched.signal };
    const press = () => { clearTimeout(own.releasing); own.pressed = true; };
    const release = () => {
      clearTimeout(own.releasing);
      own.releasing = setTimeout(() => {
        own.pressed = false;
        if (own.held !== undefined && !own.ended) own.tell(own.held);
        own.held = undefined;
      }, 150);
    };
    window.addEventListener("pointerdown", press, options);
    for (const end of ["pointerup", "pointercancel", "dragend", "blur"]) window.addEventListener(end, release, options);
  }
  const open = () => {
    if (own.ended) return;
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + data.address);
    own.socket = socket;
    socket.onopen = () => { own.wait = 250; };
    socket.onmessage = (event) => own.hear(event.data);
    socket.onclose = (event) => {
      if (own.ended || event.code === 4401) return;
      own.timer = setTimeout(open, own.wait * (0.5 + Math.random()));
      own.wait = Math.min(own.wait * 2, 5000);
    };
  };
  // Right after a sign-in the cookie may still be on its way: without it the socket would be refused for good.
  own.opened ??= Promise.resolve(window.plushifyCookie).then(open);
  return () => {
    own.closing = setTimeout(() => {
      own.ended = true;
      clearTimeout(own.timer);
      clearTimeout(own.releasing);
      own.watched.abort();
      own.socket?.close();
    }, 100);
  };
}
"""


# --- the process's side -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[None]:
    """Keep this process's one listener and its hub for as long as the app serves."""
    async with pubsub.open_hub() as hub:
        _running_hubs().append(hub)
        try:
            yield
        finally:
            _running_hubs().remove(hub)


@functools.cache
def _running_hubs() -> list[Hub]:
    return []


def routes() -> list[BaseRoute]:
    """The routes of this room, for the app."""
    return [WebSocketRoute(PATH, _serve_live)]


async def _serve_live(socket: WebSocket) -> None:
    """Push to one tab until it goes away or its person is signed out."""
    topic, gap = await _admit_socket(socket)
    if topic is None:
        return
    with _running_hubs()[0].subscription(topic) as subscriber:
        pushing = asyncio.create_task(_push(socket, subscriber, gap))
        watching = asyncio.create_task(_watch(socket))
        # A tab says nothing: whatever it sends is ignored, and its going away ends the wait.
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.receive_text()
        pushing.cancel()
        watching.cancel()
        await asyncio.gather(pushing, watching, return_exceptions=True)


async def _admit_socket(socket: WebSocket) -> tuple[str | None, float]:
    scope = socket.query_params.get("scope", "")
    try:
        actor = await _actor_of_socket(socket) if cookie.same_origin(socket) else None
    except DatabaseUnavailable:
        await socket.accept()
        await socket.close(TRY_AGAIN_LATER)
        return None, 0.0
    topic = _topic(actor, scope) if actor else None
    if topic is None or not _running_hubs():
        await socket.accept()
        await socket.close(SIGNED_OUT)
        return None, 0.0
    await socket.accept()
    if scope == "campaign":
        return topic, CAMPAIGN_GAP_SECONDS
    return topic, FLEET_GAP_SECONDS if scope in SLOW_SCOPES else OWN_GAP_SECONDS


def _topic(actor: Actor, scope: str) -> str | None:
    """What `actor` may listen to: changes of their own rows, and staff those of every session."""
    if scope == "report" and actor.is_staff:
        return "report:"  # everybody's
    if scope in pubsub.USER_TOPICS:
        return f"{scope}:{actor.user_id}"
    return {"fleet": "fleet", "cleanup": "cleanup:"}.get(scope) if actor.is_staff else None


async def _actor_of_socket(socket: WebSocket) -> Actor | None:
    """Who is signed in there.

    Raises: DatabaseUnavailable.
    """
    try:
        actor = await run_in_threadpool(cookie.actor_of, socket)
    except DatabaseUnavailable as error:
        _running_watch().failed(error)
        raise
    _running_watch().worked()
    return actor


@functools.cache
def _running_watch() -> FailureLog:
    return FailureLog("live")


async def _push(socket: WebSocket, subscriber: Subscriber, gap: float) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await subscriber.changed.wait()
            subscriber.changed.clear()
            await socket.send_text(str(subscriber.wakes))
            await asyncio.sleep(gap)


async def _watch(socket: WebSocket) -> None:
    """Close the socket of a person who is signed out; a database that is away decides nothing."""
    while True:
        await asyncio.sleep(RECHECK_SECONDS)
        try:
            actor = await _actor_of_socket(socket)
        except DatabaseUnavailable:
            continue
        if actor is None:
            with contextlib.suppress(RuntimeError):
                await socket.close(SIGNED_OUT)
            return


# --- the page's side --------------------------------------------------------------------------------------------------


def listen(scope: Scope) -> None:
    """Redraw the fragment that calls this whenever something in `scope` changes for the signed-in person.

    Called first in it: what the person's last press came to is drawn here again.
    """
    heard = _component()(
        key=f"live_{scope}", data={"address": f"{PATH}?scope={scope}"}, height="content", on_tick_change=lambda: None
    )
    errors.show_last(redrawn=heard.tick is not None)


@functools.cache
def _component() -> ComponentRenderer:
    return st.components.v2.component("plushify_live", html="<span></span>", js=SCRIPT)
