"""The pairing pictures: a QR that blanks itself when it expires, and a code in large letters."""

import base64
import functools
from datetime import UTC, datetime

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from services.fleet.qr_image import render_svg
from services.fleet.session import Qr
from ui.kit.i18n import _

# The picture is always black on white: WhatsApp's scanner does not read the inverse. The countdown runs in the browser
# and blanks the picture by itself, so that a stale QR is never shown, even when nothing comes from here any more.
HTML = """<div class="frame"><div class="picture" role="img"></div><div class="bar"><i></i></div>
<div class="left" role="timer"></div></div>"""
CSS = """
.frame { display: flex; flex-direction: column; align-items: center; gap: .6rem; font-family: var(--st-font); }
.picture { width: min(100%, 300px); aspect-ratio: 1; background: #fff; border-radius: 14px; display: grid;
  place-items: center; border: 1px solid var(--st-border-color); color: #44524c; text-align: center; overflow: hidden; }
.picture svg, .picture img { width: 100%; height: 100%; display: block; }
.picture p { padding: 1.5rem; margin: 0; }
.bar { width: min(100%, 300px); height: 4px; border-radius: 2px; background: var(--st-border-color); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--st-primary-color); }
.left { color: var(--st-text-color); opacity: .75; font-size: .9rem; }
"""
SCRIPT = """
export default function ({ parentElement, data }) {
  const find = (name) => parentElement.querySelector("." + name);
  const picture = find("picture"), bar = find("bar").firstElementChild, left = find("left");
  const own = (parentElement.plushifyQr ??= {});
  if (own.number !== data.number || own.shown !== data.picture) {
    own.number = data.number;
    own.shown = data.picture;
    own.until = performance.now() + data.remaining_ms;
    picture.innerHTML = data.picture;
    picture.setAttribute("aria-label", data.label);
    picture.dataset.number = data.number;
  }
  clearInterval(own.timer);
  const draw = () => {
    const ms = own.until - performance.now();
    if (ms <= 0) {
      clearInterval(own.timer);
      picture.innerHTML = "<p></p>";
      picture.firstElementChild.textContent = data.waiting;
      picture.removeAttribute("data-number");
      left.textContent = "";
      bar.style.width = "0";
      return;
    }
    left.textContent = data.left.replace("{s}", Math.ceil(ms / 1000));
    bar.style.width = Math.min(100, (100 * ms) / data.lifetime_ms) + "%";
  };
  own.timer = setInterval(draw, 250);
  draw();
  return () => clearInterval(own.timer);
}
"""


def show_qr(qr: Qr) -> None:
    """Draw a QR with its countdown; it goes blank when its lifetime ends."""
    remaining = (qr.expires_at - datetime.now(UTC)).total_seconds()
    _qr_component()(
        key="pairing_qr",
        data={
            "picture": render_svg(qr.urlcode) if qr.urlcode else _picture(qr.png or ""),
            "number": qr.number,
            "remaining_ms": max(int(remaining * 1000), 0),
            "lifetime_ms": int((qr.expires_at - qr.received_at).total_seconds() * 1000),
            "label": _("Código QR para conectar o WhatsApp"),
            "left": _("Vale por mais {s} s"),
            "waiting": _("Este código venceu. Um novo já vem…"),
        },
    )


def show_countdown(until: datetime, text: str) -> None:
    """Count down to `until` in the browser; `text` has a place `{s}` for the seconds."""
    remaining = max((until - datetime.now(UTC)).total_seconds(), 0.0)
    _countdown_component()(key="pairing_wait", data={"remaining_ms": int(remaining * 1000), "text": text})


def show_phone_code(code: str, received_at: datetime, phone: str) -> None:
    """Draw a pairing code, its age and the number that it is for."""
    label = _("Código de pareamento")
    st.html(f'<div class="plushify-code" aria-label="{label}">{_escaped(code)}</div>')
    age = int((datetime.now(UTC) - received_at).total_seconds())
    st.caption(_("Para {phone}. Recebido há {s} s; se mudar, vale sempre o mais novo.").format(phone=phone, s=age))


def _escaped(code: str) -> str:
    return "".join(character for character in code if character.isalnum() or character == "-")


def _picture(png: str) -> str:
    """A server that sends no text sends its own picture. Decoding it proves that nothing but base64 is in it."""
    content = base64.b64decode(png.partition(",")[2] or png, validate=False)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


WAIT_SCRIPT = """
export default function ({ parentElement, data }) {
  const text = parentElement.querySelector(".text");
  const until = performance.now() + data.remaining_ms;
  const draw = () => {
    text.textContent = data.text.replace("{s}", Math.max(0, Math.ceil((until - performance.now()) / 1000)));
  };
  const timer = setInterval(draw, 250);
  draw();
  return () => clearInterval(timer);
}
"""


@functools.cache
def _countdown_component() -> ComponentRenderer:
    return st.components.v2.component(
        "plushify_wait",
        html='<div class="text" role="timer"></div>',
        css=".text { font-family: var(--st-font); color: var(--st-text-color); }",
        js=WAIT_SCRIPT,
    )


@functools.cache
def _qr_component() -> ComponentRenderer:
    return st.components.v2.component("plushify_qr", html=HTML, css=CSS, js=SCRIPT)
