"""A session's life: start, QR or code, scan, close, logout, and what breaks in between."""

import asyncio
import base64
import io
import secrets
import string
from typing import Any

import qrcode
from PIL import Image

from sandbox.state import Session, World, random_phone
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


def begin(world: World, session: Session, config: dict[str, Any]) -> None:
    """Start a session unless it runs. The body of the call replaces the stored configuration, webhook included."""
    if session.status not in (None, "CLOSED"):
        return
    world.sessions[session.name] = session
    session.started = session.stored = True
    session.status, session.config = "INITIALIZING", config
    session.urlcode, session.phone_code, session.dead, session.page_gone = None, None, False, False
    session.first_sign = asyncio.get_running_loop().create_future()
    session.pairing = world.spawn(_run(world, session))


def start_all(world: World) -> None:
    """Bring every stored session back, with the configuration of its last start."""
    for session in list(world.sessions.values()):
        if session.stored:
            begin(world, session, session.config)


def restart_all(world: World) -> None:
    """Every session falls at once and comes back, as after a crash of the whole server."""
    for session in world.sessions.values():
        if session.stored:
            _stop(session)
    start_all(world)


def _stop(session: Session) -> None:
    if session.pairing is not None:
        session.pairing.cancel()
    session.status = session.urlcode = session.phone_code = session.pairing = None


async def _run(world: World, session: Session) -> None:
    if world.faults.strike("stuck_initializing", session.name) is not None:
        await world.sleep(world.config.stuck_timeout)
        session.status = "CLOSED"
        return
    if session.phone:
        await world.sleep(world.config.restart_delay)
        session.status = "CONNECTED"
        # Seen in this order: inChat before isLogged.
        await emit_in_order(world, session, [_status(session, "inChat"), _status(session, "isLogged")])
        return
    await emit_in_order(world, session, [_status(session, "notLogged")])
    await world.sleep(world.config.first_qr_delay)
    looping = world.faults.options("qr_loop", session.name) is not None
    try:
        async with asyncio.timeout(None if looping else world.config.seconds(world.config.auto_close)):
            await (_offer_codes(world, session) if session.config.get("phone") else _offer_qrs(world, session))
    except TimeoutError:
        session.started, session.status, session.urlcode, session.phone_code = False, None, None, None
        await emit_in_order(world, session, [_status(session, "autocloseCalled")])


async def _offer_qrs(world: World, session: Session) -> None:
    lifetime = world.config.first_qr_lifetime
    first: dict[str, Any] | None = None
    while True:
        await show_qr(session, _new_urlcode())
        shown = _qr_event(session)
        first = first or shown
        stale = world.faults.options("stale_qr", session.name) is not None
        emit(world, session, "qrcode", first if stale else shown)
        _signal(session)
        loop = world.faults.options("qr_loop", session.name)
        await world.sleep(float(loop["interval"]) if loop is not None else lifetime)
        lifetime = world.config.next_qr_lifetime


async def show_qr(session: Session, urlcode: str) -> None:
    """Make `urlcode` the session's current QR."""
    session.qr_png = await asyncio.to_thread(draw_qr, urlcode)
    session.urlcode, session.status = urlcode, "QRCODE"


def _qr_event(session: Session) -> dict[str, Any]:
    picture = base64.b64encode(session.qr_png).decode()
    return {"qrcode": picture, "urlcode": session.urlcode, "session": session.name}


async def _offer_codes(world: World, session: Session) -> None:
    while True:
        session.phone_code, session.status = _new_phone_code(), "PHONECODE"
        data = {"phoneCode": session.phone_code, "phone": session.config["phone"], "session": session.name}
        emit(world, session, "phoneCode", data)
        _signal(session)
        changing = world.faults.options("code_changes", session.name)
        # A code is good until the start ends; the surrounding time-out cuts this wait.
        await world.sleep(float(changing["interval"]) if changing is not None else world.config.auto_close * 2)


def _signal(session: Session) -> None:
    if session.first_sign is not None and not session.first_sign.done():
        session.first_sign.set_result(None)


def scan(world: World, session: Session, phone: str | None = None) -> None:
    """A phone reads the QR or types the code. Raises NotPairing when there is none."""
    if session.status not in ("QRCODE", "PHONECODE"):
        raise NotPairing(session.name)
    if world.faults.options("qr_loop", session.name) is not None:
        emit(world, session, "status-find", _status(session, "qrReadFail")[1])
        return
    if session.pairing is not None:
        session.pairing.cancel()
    typed = session.config.get("phone") if session.status == "PHONECODE" else None
    session.phone = phone or (str(typed) if typed else None) or random_phone()
    # The old QR stays in `urlcode`: after CONNECTED, status-session may still carry it.
    session.status, session.phone_code = "CONNECTED", None
    old_qr = _qr_event(session) if session.urlcode else None
    session.pairing = world.spawn(_announce(world, session, old_qr))


async def _announce(world: World, session: Session, old_qr: dict[str, Any] | None) -> None:
    # The disorder that was seen on the real server: inChat comes BEFORE qrReadSuccess and before isLogged.
    statuses = [_status(session, status) for status in ("inChat", "qrReadSuccess", "isLogged")]
    await emit_in_order(world, session, statuses)
    if old_qr and world.faults.options("stale_qr", session.name) is not None:
        await emit_in_order(world, session, [("qrcode", old_qr)])


def _status(session: Session, status: str) -> tuple[str, dict[str, Any]]:
    return "status-find", {"status": status, "session": session.name}


def close(world: World, session: Session) -> bool:
    """What `close-session` does. False: it closed, yet the server answers 500 (never started, or not paired yet)."""
    if world.faults.strike("close_half_works", session.name) is not None:
        return True
    if not session.started:
        return False
    if session.status is None:
        return True
    paired = session.status == "CONNECTED"
    _stop(session)
    if paired:
        emit(world, session, "closesession", {"message": f"Session: {session.name} disconnected", "connected": False})
    return paired


async def logout(world: World, session: Session) -> None:
    """What `logout-session` does to a connected session: unpair, delete the data, say so half a second later."""
    if world.faults.strike("close_half_works", session.name) is not None:
        await world.sleep(world.config.logout_delay)
        return
    unpair(session)
    await world.sleep(world.config.logout_delay)
    session.stored = False
    emit(world, session, "logoutsession", {"message": f"Session: {session.name} logged out", "connected": False})


def unpair(session: Session) -> None:
    """Take the session off the server and its phone off the session."""
    _stop(session)
    session.started, session.phone = False, None


def removed_on_phone(world: World, session: Session) -> None:
    """The user removes the linked device on the phone."""
    _stop(session)
    session.phone, session.status = None, "CLOSED"
    emit(world, session, "status-find", _status(session, "disconnectedMobile")[1])
