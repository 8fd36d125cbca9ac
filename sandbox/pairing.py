"""A session's life: start, QR or code, scan, close, logout, and what breaks in between.

Webhooks are posted in the order and with the delays that were recorded from wppconnect-server 2.10.4.
"""

import asyncio
import base64
import io
import secrets
import string
from typing import Any

import qrcode
from PIL import Image

from sandbox.state import Browser, Session, World, random_phone
from sandbox.webhooks import emit, emit_in_order

QR_PIXELS = 500
CODE_ALPHABET = string.ascii_uppercase + string.digits


class NotPairing(Exception):
    """There is no QR and no code to take, so nothing can be scanned."""


def draw_qr(text: str, pixels: int = QR_PIXELS) -> bytes:
    """A square PNG of `pixels`, error correction M, as `qrcode-session` draws it."""
    code = qrcode.QRCode(error_correction=qrcode.ERROR_CORRECT_M, box_size=1, border=4)
    code.add_data(text)
    image = code.make_image().get_image().convert("L").resize((pixels, pixels), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _new_urlcode() -> str:
    """A text like WhatsApp's: a reference and three 32-byte keys, about 240 characters."""
    reference = base64.b64encode(secrets.token_bytes(72)).decode()
    keys = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(3))
    return f"2@{reference},{','.join(keys)},1"


def _new_phone_code() -> str:
    letters = [secrets.choice(CODE_ALPHABET) for _ in range(8)]
    return f"{''.join(letters[:4])}-{''.join(letters[4:])}"


# --- starts -----------------------------------------------------------------------------------------------------------


def start_session(world: World, session: Session, config: dict[str, Any]) -> None:
    """Start a session unless it runs. The body of the call replaces the stored configuration, webhook included.

    While another Chrome holds the profile the new one cannot open it: the session stays INITIALIZING until its close.
    """
    if session.status not in (None, "CLOSED"):
        return
    world.sessions[session.name] = session
    session.started = session.stored = True
    session.answered.clear()
    session.status, session.config = "INITIALIZING", config
    session.urlcode, session.phone_code, session.dead = None, None, False
    session.first_sign = asyncio.get_running_loop().create_future()
    locked = world.faults.strike("profile_locked", session.name) is not None
    if locked or session.browser is not None:
        world.locked_starts += 1
        return
    browser = session.browser = session.driven = Browser(config, named=not session.closed)
    browser.task = world.spawn(_run_start(world, session, browser))


def start_all_sessions(world: World) -> None:
    """Bring every session with a token file back, with the configuration of its last start."""
    for session in list(world.sessions.values()):
        if session.stored:
            start_session(world, session, session.config)


def restart_all_sessions(world: World) -> None:
    """Every session falls at once and comes back, as after a crash of the whole server."""
    for session in world.sessions.values():
        if session.stored:
            _cancel_work(session.browser)
            session.status, session.urlcode, session.phone_code = None, None, None
            session.browser = session.driven = None
            session.closed = False
    start_all_sessions(world)


async def _run_start(world: World, session: Session, browser: Browser) -> None:
    if world.faults.strike("stuck_initializing", session.name) is not None:
        await world.sleep(world.config.auto_close)
        _release_profile(session, browser)
        await world.sleep(world.config.stuck_timeout)
        await _end_unpaired(world, session, browser)
        return
    if session.phone:
        await world.sleep(world.config.restart_delay)
        await emit_in_order(world, session, [_status_event("isLogged")], browser)
        await _connect(world, session, browser)
        return
    await emit_in_order(world, session, [_status_event("notLogged")], browser)
    await world.sleep(world.config.first_qr_delay)
    looping = world.faults.options("qr_loop", session.name) is not None
    try:
        async with asyncio.timeout(None if looping else world.config.seconds(world.config.auto_close)):
            await (_show_phone_codes if browser.config.get("phone") else _show_qr_codes)(world, session, browser)
    except TimeoutError:
        await _end_unpaired(world, session, browser)


async def _connect(world: World, session: Session, browser: Browser) -> None:
    """`inChat` is posted while the start still runs; only `settle_delay` later the server says CONNECTED."""
    await world.sleep(world.config.chat_delay)
    await emit_in_order(world, session, [_status_event("inChat")], browser)
    await world.sleep(world.config.settle_delay)
    if session.driven is browser:
        session.status, session.closed = "CONNECTED", False
        browser.named = True
        return
    # Closed meanwhile, so that nobody drives it: it ends as an unscanned one does.
    await world.sleep(world.config.auto_close)
    await _end_browser(world, session, browser, [], 0.0)


async def _end_unpaired(world: World, session: Session, browser: Browser) -> None:
    """`browserClose`, then `qrReadError`; `autocloseCalled` is not posted."""
    _release_profile(session, browser)
    if session.driven is browser:
        session.status, session.urlcode, session.phone_code, session.driven = "CLOSED", None, None, None
    await emit_in_order(world, session, [_status_event("browserClose")], browser)
    await world.sleep(world.config.farewell_delay)
    await emit_in_order(world, session, [_status_event("qrReadError")], browser)


async def _show_qr_codes(world: World, session: Session, browser: Browser) -> None:
    lifetime = world.config.first_qr_lifetime
    first: dict[str, Any] | None = None
    while True:
        urlcode = _new_urlcode()
        picture = await asyncio.to_thread(draw_qr, urlcode)
        if session.driven is browser:
            session.qr_png, session.urlcode, session.status = picture, urlcode, "QRCODE"
        shown = _qr_event(picture, urlcode)
        first = first or shown
        stale = world.faults.options("stale_qr", session.name) is not None
        emit(world, session, "qrcode", first if stale else shown, browser)
        _signal_code(session)
        loop = world.faults.options("qr_loop", session.name)
        await world.sleep(float(loop["interval"]) if loop is not None else lifetime)
        lifetime = world.config.next_qr_lifetime


def _qr_event(picture: bytes, urlcode: str | None) -> dict[str, Any]:
    return {"qrcode": base64.b64encode(picture).decode(), "urlcode": urlcode}


async def _show_phone_codes(world: World, session: Session, browser: Browser) -> None:
    while True:
        code = _new_phone_code()
        if session.driven is browser:
            session.phone_code, session.status = code, "PHONECODE"
        # Measured: the event writes the code without the dash that the call's answer has.
        data = {"phoneCode": code.replace("-", ""), "phone": browser.config["phone"]}
        emit(world, session, "phoneCode", data, browser)
        _signal_code(session)
        changing = world.faults.options("code_changes", session.name)
        # A code is good until the start ends; the surrounding time-out cuts this wait.
        await world.sleep(float(changing["interval"]) if changing is not None else world.config.auto_close * 2)


def _signal_code(session: Session) -> None:
    if session.first_sign is not None and not session.first_sign.done():
        session.first_sign.set_result(None)


# --- the phone --------------------------------------------------------------------------------------------------------


def scan_code(world: World, session: Session, phone: str | None = None) -> None:
    """A phone reads the QR or types the code. Raises NotPairing when there is none."""
    browser = session.driven
    if not session.scannable or browser is None:
        raise NotPairing(session.name)
    if world.faults.options("qr_loop", session.name) is not None:
        emit(world, session, "status-find", {"status": "qrReadFail"}, browser)
        return
    _cancel_work(browser)
    typed = browser.config.get("phone") if session.status == "PHONECODE" else None
    session.phone = phone or (str(typed) if typed else None) or random_phone()
    old_qr = _qr_event(session.qr_png, session.urlcode) if session.urlcode else None
    browser.task = world.spawn(_accept_scan(world, session, browser, old_qr))


async def _accept_scan(world: World, session: Session, browser: Browser, old_qr: dict[str, Any] | None) -> None:
    statuses = [_status_event("qrReadSuccess")]
    if world.faults.options("webhook_disorder", session.name) is not None:
        # Seen on the real server too: inChat first.
        statuses = [_status_event("inChat"), *statuses]
    await emit_in_order(world, session, statuses, browser)
    await _connect(world, session, browser)
    if old_qr and world.faults.options("stale_qr", session.name) is not None:
        # The old QR stays in `urlcode` too: after CONNECTED, status-session may still carry it.
        await emit_in_order(world, session, [("qrcode", old_qr)], browser)


def unlink_on_phone(world: World, session: Session) -> None:
    """The user removes the linked device on the phone."""
    browser = session.browser
    _cancel_work(browser)
    session.phone, session.status, session.driven = None, "CLOSED", None
    world.spawn(_end_browser(world, session, browser, [_status_event("disconnectedMobile")], 0.0))


def kill_chrome(world: World, session: Session) -> None:
    """Chrome is killed. The server posts `browserClose` and goes on saying CONNECTED; a start that pairs has ended."""
    browser = session.browser
    if browser is None:
        return
    _cancel_work(browser)
    if session.status != "CONNECTED":
        world.spawn(_end_unpaired(world, session, browser))
        return
    _release_profile(session, browser)
    emit(world, session, "status-find", {"status": "browserClose"}, browser)


def crash_page(world: World, session: Session) -> None:
    """The page is gone, Chrome lives: nothing is posted. A start that pairs ends with its page."""
    if session.browser is None:
        return
    if session.status != "CONNECTED":
        kill_chrome(world, session)
        return
    _cancel_work(session.browser)
    session.browser.page_gone = True


# --- ends -------------------------------------------------------------------------------------------------------------


def close_session(world: World, session: Session) -> bool:
    """What `close-session` does. False: it closed, yet the server answers 500 (never started, or not paired yet).

    Of a start that nobody scanned the server only forgets the session: its Chrome lives on until `auto_close`.
    """
    if world.faults.strike("close_half_works", session.name) is not None:
        return True
    if not session.started:
        return False
    if session.status in (None, "CLOSED"):
        session.status, session.closed = None, True
        return True
    was_up, browser = session.status == "CONNECTED", session.driven
    session.status = session.urlcode = session.phone_code = session.driven = None
    session.closed = True
    if was_up:
        _cancel_work(browser)
        if browser is not None:
            _release_profile(session, browser)
        message = {"message": f"Session: {session.name} disconnected", "connected": False}
        emit(world, session, "closesession", message)
        world.spawn(_end_browser(world, session, browser, [], world.config.farewell_delay))
    return was_up


async def logout_session(world: World, session: Session) -> None:
    """What `logout-session` does to a connected session: unpair and delete the data, but not the token file.

    The answer comes before the browser has ended: it holds the profile for `logout_farewell` more, and may still show
    that nobody is signed in, and a QR.
    """
    if world.faults.strike("close_half_works", session.name) is not None:
        await world.sleep(world.config.logout_delay)
        return
    browser = session.driven
    _cancel_work(browser)
    unpair(session)
    emit(world, session, "logoutsession", {"message": f"Session: {session.name} logged out", "connected": False})
    await world.sleep(world.config.logout_delay)
    late = world.faults.strike("late_after_logout", session.name)
    words = [_status_event("notLogged"), _status_event("disconnectedMobile")]
    if late is not None and late["qrcode"]:
        urlcode = _new_urlcode()
        words.insert(1, ("qrcode", _qr_event(draw_qr(urlcode), urlcode)))
    delay = float(late["delay"]) if late is not None else world.config.logout_farewell
    world.spawn(_end_browser(world, session, browser, words, delay))


def unpair(session: Session) -> None:
    """Take the session off the server, which then knows nothing of it, and its phone off the session."""
    session.started, session.closed, session.phone, session.driven = False, False, None, None
    session.status = session.urlcode = session.phone_code = None


async def _end_browser(
    world: World, session: Session, browser: Browser | None, words: list[tuple[str, dict[str, Any]]], delay: float
) -> None:
    """The end of a browser: what it still says, then `browserClose`; only then the profile is free."""
    await world.sleep(delay)
    await emit_in_order(world, session, words, browser)
    await world.sleep(world.config.farewell_delay if words else 0.0)
    if browser is not None:
        _release_profile(session, browser)
    await emit_in_order(world, session, [_status_event("browserClose")], browser)


def _release_profile(session: Session, browser: Browser) -> None:
    if session.browser is browser:
        session.browser = None


def _cancel_work(browser: Browser | None) -> None:
    if browser is not None and browser.task is not None and browser.task is not asyncio.current_task():
        browser.task.cancel()


def _status_event(status: str) -> tuple[str, dict[str, Any]]:
    return "status-find", {"status": status}
