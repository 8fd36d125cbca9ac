"""Files that people attach: looked into, put right and within WhatsApp's limits before they are kept.

A file is what its bytes say, whatever its name. Pictures are opened and written anew: turned as their camera held them,
without the place and time that they carry, and so never broken. Sounds become voice notes in the one form that WhatsApp
plays as such (mono opus in ogg), films the one that it shows (H.264 and AAC in MP4), photographs of phones JPEG, and
stickers that move go on moving: `transcoding` does that. Everything else goes as it is, or is refused with a sentence.
"""

import base64
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image, ImageOps, UnidentifiedImageError

from services.db.actor import Actor
from services.errors import N_, InvalidInput
from services.messaging.content import Content, Kind
from services.messaging.errors import FileBroken, PictureTooLarge
from services.messaging.file_types import (
    ACCEPTED,
    AUDIOS,
    FILMS,
    MOVING,
    OPUS,
    PHOTOGRAPHS,
    PICTURES,
    PNG_BEGINS,
    SOUNDS,
    TYPES,
    VIDEOS,
    get_document_type,
    get_mimetype,
    get_plain_name,
    is_voice_note,
    may_move,
    with_ending,
)
from services.messaging.transcoding import MAX_PIXELS, MB, SOURCE_MB, Loss, Task, transcode
from services.platform import media_store
from services.platform.media_store import Media

# WhatsApp's own limits for what it shows in a chat; a document's is what the server takes, 50 MB of base64 and JSON.
LIMIT_MB = {
    Kind.IMAGE: 16,
    Kind.VIDEO: 16,
    Kind.AUDIO: 16,
    Kind.VOICE: 16,
    Kind.STICKER: 16,
    Kind.DOCUMENT: 36,
}
# What may be uploaded as each: what is converted becomes smaller.
UPLOAD_MB = {**LIMIT_MB, Kind.VIDEO: SOURCE_MB, Kind.VOICE: SOURCE_MB}
STICKER_BYTES = 100 * 1024
STICKER_PIXELS = 512
LONGEST_SIDE = 4096
THUMBNAIL_PIXELS = 420
JPEG_QUALITY = 88


class FileOfOtherKind(InvalidInput):
    """`params["accepted"]` names what that kind of message takes."""

    code = "arquivo_de_outro_tipo"
    message = N_("Este arquivo não serve para este tipo de mensagem.")
    hint = N_("Aqui vão {accepted}. O resto vai como documento.")


class FileTooBig(InvalidInput):
    """`params`: `size` and `limit` in MB."""

    code = "arquivo_grande"
    message = N_("O arquivo tem {size} MB e o limite para este tipo de mensagem é {limit} MB.")
    hint = N_("Envie um arquivo menor, ou um link para ele.")


@dataclass(frozen=True)
class Attachment:
    """A file that may be sent as `kind`; `thumbnail` is a small JPEG or PNG of a picture, as a `data:` URI.

    `notices` are sentences about what of the file does not go, in their source language.
    """

    kind: Kind
    content: bytes = field(repr=False)
    mimetype: str
    filename: str = field(repr=False)
    thumbnail: str | None = field(default=None, repr=False)
    notices: tuple[str, ...] = ()


# What of a moving picture may be lost, told before it is sent.
NOTICES = {
    Loss.CUT: N_("Esta figurinha se move por mais de 10 segundos: só os primeiros 10 vão."),
    Loss.STILL: N_("Esta figurinha é grande demais para ir animada: só a primeira imagem vai."),
}
NOT_MOVING = N_("Esta imagem é animada, mas só a primeira vai. Como figurinha, ela vai animada.")


def prepare(kind: Kind, content: bytes, filename: str) -> Attachment:
    """`content` as it will leave as a message of `kind`. Where `is_converted`, this takes seconds to two minutes.

    Raises: FileBroken, FileOfOtherKind, FileTooBig, PictureTooLarge; what `transcode` raises; InvalidInput for a kind
    that carries no file.
    """
    _require_size(kind, len(content), UPLOAD_MB)
    if not content:
        raise FileBroken("empty")
    made = _prepared(kind, content, get_plain_name(filename))
    _require_size(kind, len(made.content), LIMIT_MB)
    return made


def _prepared(kind: Kind, content: bytes, name: str) -> Attachment:
    match kind:
        case Kind.IMAGE:
            return _image(content, name)
        case Kind.STICKER:
            return _sticker(content, name)
        case Kind.VOICE:
            return _voice(content, name)
        case Kind.VIDEO:
            return _video(content, name)
        case Kind.AUDIO:
            return Attachment(kind, content, _of_type(kind, content, AUDIOS), name)
    return Attachment(kind, content, get_document_type(content, name), name)


def is_converted(kind: Kind, content: bytes) -> bool:
    """Whether `prepare` makes another file of it, in a process of its own."""
    match kind:
        case Kind.VOICE:
            return not is_voice_note(content)
        case Kind.VIDEO:
            return get_mimetype(content) in FILMS
        case Kind.IMAGE:
            return get_mimetype(content) in PHOTOGRAPHS
        case Kind.STICKER:
            return get_mimetype(content) in PHOTOGRAPHS or may_move(content)
    return False


def kind_of(content: bytes) -> Kind:
    """What a file goes as where nobody said it: by its bytes, and as a document where they say nothing."""
    found = get_mimetype(content)
    if found in PICTURES.values() or found in PHOTOGRAPHS:
        return Kind.IMAGE
    if found in VIDEOS or found == "video/quicktime":
        return Kind.VIDEO
    return Kind.AUDIO if found in AUDIOS else Kind.DOCUMENT


def require_fit(kind: Kind, kept: Media) -> None:
    """Refuse a file of the store that does not go as `kind`.

    Raises: FileOfOtherKind, FileTooBig.
    """
    accepted = TYPES.get(kind)
    if accepted is not None and kept.mimetype.partition(";")[0] not in accepted:
        raise FileOfOtherKind(kept.mimetype, accepted=ACCEPTED[kind])
    _require_size(kind, kept.size, LIMIT_MB)


def store_attachment(
    actor: Actor, attachment: Attachment, caption: str = "", quoted_wpp_id: str | None = None
) -> Content:
    """Put an attachment into its sender's media store; what comes back can be queued.

    Raises: what `media_store.save` raises.
    """
    kept = media_store.save(actor, attachment.content, attachment.mimetype)
    return Content(
        kind=attachment.kind,
        body=caption,
        media=kept,
        filename=attachment.filename,
        quoted_wpp_id=quoted_wpp_id,
    )


def thumbnail(content: bytes) -> str | None:
    """A small picture of a picture, as a `data:` URI; None where it is none."""
    try:
        picture = _opened(content)
    except (FileBroken, FileOfOtherKind, PictureTooLarge):
        return None
    return _small(picture)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _image(content: bytes, name: str) -> Attachment:
    if photograph := PHOTOGRAPHS.get(get_mimetype(content) or ""):
        made = transcode(Task.PICTURE, content, photograph).content
        picture = _opened(made)
    else:
        picture = _opened(content)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        made = _written(picture, _form_of(picture))
    ending = "png" if made.startswith(PNG_BEGINS) else "jpg"
    notices = (NOT_MOVING,) if may_move(content) else ()
    return Attachment(
        Kind.IMAGE, made, f"image/{ending.replace('jpg', 'jpeg')}", with_ending(name, ending), _small(picture), notices
    )


def _sticker(content: bytes, name: str) -> Attachment:
    """512 pixels a side, the rest see-through, as small as WhatsApp wants it."""
    losses: frozenset[Loss] = frozenset()
    if may_move(content):
        made, losses = _moving_sticker(content)
    else:
        made = _still_sticker(content)
    notices = tuple(sentence for loss, sentence in NOTICES.items() if loss in losses)
    return Attachment(Kind.STICKER, made, "image/webp", with_ending(name, "webp"), thumbnail(made), notices)


def _moving_sticker(content: bytes) -> tuple[bytes, frozenset[Loss]]:
    found = transcode(Task.STICKER, content, MOVING.get(get_mimetype(content) or "", ""))
    return found.content, found.losses


def _still_sticker(content: bytes) -> bytes:
    if photograph := PHOTOGRAPHS.get(get_mimetype(content) or ""):
        content = transcode(Task.PICTURE, content, photograph).content
    picture = _opened(content).convert("RGBA")
    picture.thumbnail((STICKER_PIXELS, STICKER_PIXELS))
    canvas = Image.new("RGBA", (STICKER_PIXELS, STICKER_PIXELS), (0, 0, 0, 0))
    canvas.paste(picture, ((STICKER_PIXELS - picture.width) // 2, (STICKER_PIXELS - picture.height) // 2))
    made = b""
    for quality in (90, 75, 60, 45, 30, 15):
        out = io.BytesIO()
        canvas.save(out, "WEBP", quality=quality)
        made = out.getvalue()
        if len(made) <= STICKER_BYTES:
            break
    return made


def _opened(content: bytes) -> Image.Image:
    """The picture, upright and read to its end, or what is wrong with it."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a picture that is a bomb to it; ours is the lower bound.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=list(PICTURES))
            if picture.width * picture.height > MAX_PIXELS:
                raise PictureTooLarge(f"{picture.width} x {picture.height}")
            picture.load()
    except UnidentifiedImageError as error:
        if (get_mimetype(content) or "").startswith("image/jpeg"):
            raise FileBroken("unreadable picture") from error
        raise FileOfOtherKind(type(error).__name__, accepted=ACCEPTED[Kind.IMAGE]) from error
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(type(error).__name__) from error
    # Pillow's decoders tell a broken file in all these ways.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise FileBroken(type(error).__name__) from error
    return ImageOps.exif_transpose(picture)


def _form_of(picture: Image.Image) -> Literal["PNG", "JPEG"]:
    return "PNG" if _see_through(picture) else "JPEG"


def _see_through(picture: Image.Image) -> bool:
    return picture.has_transparency_data


def _written(picture: Image.Image, form: Literal["PNG", "JPEG"]) -> bytes:
    """Only the pixels: whatever else the file carried (place, time, camera, comments) stays behind."""
    plain = picture.convert("RGBA" if form == "PNG" else "RGB")
    plain.info.clear()
    out = io.BytesIO()
    plain.save(out, form, **({"quality": JPEG_QUALITY} if form == "JPEG" else {}))
    return out.getvalue()


def _small(picture: Image.Image) -> str:
    copy = picture.copy()
    copy.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    form = _form_of(copy)
    return f"data:{PICTURES[form]};base64,{base64.b64encode(_written(copy, form)).decode()}"


# --- sounds, films and the rest ---------------------------------------------------------------------------------------


def _voice(content: bytes, name: str) -> Attachment:
    """A voice note as it is; another recording is made one."""
    if not is_voice_note(content):
        content = _as_voice_note(content)
    return Attachment(Kind.VOICE, content, OPUS, with_ending(name, "ogg"))


def _as_voice_note(content: bytes) -> bytes:
    found = get_mimetype(content)
    known = {**FILMS, **SOUNDS}.get(found or "")
    if found is not None and known is None:
        raise FileOfOtherKind(found, accepted=ACCEPTED[Kind.VOICE])
    try:
        return transcode(Task.VOICE, content, known or "").content
    except FileBroken as error:
        if found is None:
            raise FileOfOtherKind("no sound that can be read", accepted=ACCEPTED[Kind.VOICE]) from error
        raise


def _video(content: bytes, name: str) -> Attachment:
    found = get_mimetype(content)
    if found in FILMS:
        made = transcode(Task.VIDEO, content, FILMS[found]).content
        return Attachment(Kind.VIDEO, made, "video/mp4", with_ending(name, "mp4"))
    return Attachment(Kind.VIDEO, content, _of_type(Kind.VIDEO, content, VIDEOS), name)


def _of_type(kind: Kind, content: bytes, accepted: dict[str, str]) -> str:
    found = get_mimetype(content)
    if found not in accepted:
        raise FileOfOtherKind(f"{found}", accepted=ACCEPTED[kind])
    return accepted[found]


def _require_size(kind: Kind, size: int, limits: Mapping[Kind, int]) -> None:
    limit = limits.get(kind)
    if limit is None:
        raise InvalidInput(f"a {kind} carries no file")
    if size > limit * MB:
        raise FileTooBig(size=_megabytes(size), limit=limit)


def _megabytes(size: int) -> str:
    return f"{size / MB:.0f}" if size >= 10 * MB else f"{size / MB:.1f}".replace(".", ",")
