"""A message as its recipient will see it: WhatsApp's bubble in its own colours, light and dark."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from services.messaging.content import Content, Kind
from services.outreach import recipients
from services.outreach.recipients import Recipient
from services.outreach.template_content import Template, TemplateDraft
from services.wppconnect.phone import format_phone
from ui.components import media
from ui.kit.i18n import _
from ui.shell import errors

STYLE = """<style>
.plushify-bubble { background: #d9fdd3; color: #111b21; border-radius: .6rem .6rem 0 .6rem; max-width: 22rem;
  padding: .35rem .55rem; margin-left: auto; box-shadow: 0 1px 1px #0002; overflow-wrap: anywhere; }
.plushify-bubble.sticker { background: none; box-shadow: none; }
.plushify-bubble p { margin: .1rem .1rem .15rem; white-space: pre-wrap; }
.plushify-bubble img { border-radius: .4rem; width: 100%; max-height: 22rem; object-fit: cover; display: block; }
.plushify-bubble.sticker img { width: 9rem; }
.plushify-bubble audio, .plushify-bubble video { width: 100%; max-height: 20rem; display: block; }
.plushify-bubble .card { background: #0000000d; border-radius: .4rem; padding: .55rem .6rem; }
.plushify-bubble small { opacity: .75; }
@media (prefers-color-scheme: dark) { .plushify-bubble { background: #005c4b; color: #e9edef; }
  .plushify-bubble .card { background: #0003; } }
</style>"""
# WhatsApp's own marks, as its help page has them.
MARKUP = (
    (re.compile(r"```(.+?)```", re.DOTALL), r"<code>\1</code>"),
    (re.compile(r"(?<![\w*])\*(?!\s)([^*\n]+?)(?<!\s)\*(?![\w*])"), r"<b>\1</b>"),
    (re.compile(r"(?<!\w)_(?!\s)([^_\n]+?)(?<!\s)_(?!\w)"), r"<i>\1</i>"),
    (re.compile(r"(?<![\w~])~(?!\s)([^~\n]+?)(?<!\s)~(?![\w~])"), r"<s>\1</s>"),
)


def draw(
    kind: str,
    body: str,
    *,
    source: str | None = None,
    filename: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Draw one message. `source` is where the browser finds its file, or a `data:` URI of a picture."""
    inside = _inner_html(kind, source, filename or "", detail or {})
    text = f"<p>{format_text(body)}</p>" if body else ""
    shape = "sticker" if kind == Kind.STICKER else ""
    st.html(f'{STYLE}<div class="plushify-bubble {shape}">{inside}{text}</div>')


def preview(content: Content) -> None:
    """Draw what is about to be sent; its file comes from its owner's store, to whom may read it there."""
    kept = content.media
    source = media.file_url(kept.user_id, kept.sha256, content.filename) if kept else None
    draw(content.kind, content.body, source=source, filename=content.filename, detail=content.detail)


def preview_first(ready: Sequence[Recipient], chosen: Template | TemplateDraft, common: Mapping[str, str]) -> None:
    """What the first of those who are ready gets, to be opened before anything is sent."""
    if ready:
        with st.expander(_("Como chega para o primeiro"), icon=":material/visibility:", key="first"), errors.shown():
            preview(recipients.render_for(ready[0], chosen, common))


def format_text(text: str) -> str:
    """`text` as HTML, escaped, with WhatsApp's bold, italic, struck and code."""
    made = html.escape(text, quote=False)
    for mark, replacement in MARKUP:
        made = mark.sub(replacement, made)
    return made


def _inner_html(kind: str, source: str | None, filename: str, detail: Mapping[str, Any]) -> str:
    where = html.escape(source or "")
    match kind:
        case Kind.IMAGE | Kind.STICKER if source:
            return f'<img src="{where}" alt="{html.escape(filename)}">'
        case Kind.VIDEO if source:
            return f'<video src="{where}" controls preload="metadata"></video>'
        case Kind.AUDIO | Kind.VOICE if source:
            return f'<audio src="{where}" controls preload="none"></audio>'
        case Kind.LOCATION:
            lines = [str(detail.get("title") or _("Localização")), str(detail.get("address") or "")]
            return _card("📍", *lines, f"{detail.get('lat')}, {detail.get('lng')}")
        case Kind.CONTACT:
            return _card("👤", str(detail.get("name") or ""), format_phone(str(detail.get("phone") or "")))
        case Kind.TEXT:
            return ""
    icons = {Kind.IMAGE: "🖼️", Kind.VIDEO: "🎬", Kind.AUDIO: "🎵", Kind.VOICE: "🎤"}
    return _card(next((icon for known, icon in icons.items() if known == kind), "📄"), filename)


def _card(icon: str, first: str, *more: str) -> str:
    lines = "".join(f"<br><small>{html.escape(line)}</small>" for line in more if line)
    return f'<div class="card">{icon} <b>{html.escape(first)}</b>{lines}</div>'
