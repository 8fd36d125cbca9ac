"""Files that people attach: looked into, put right and within WhatsApp's limits before they are kept.

A file is what its bytes say, whatever its name. Pictures are opened and written anew: turned as their camera held them,
without the place and time that they carry, and so never broken. Sounds become voice notes in the one form that WhatsApp
plays as such (opus in ogg). Everything else goes as it is, or is refused with a sentence.
"""

import base64
import io
import re
import warnings
from dataclasses import dataclass, field
from typing import Literal

import filetype
import soundfile
from PIL import Image, ImageOps, UnidentifiedImageError

from services.db.actor import Actor
from services.errors import N_, InvalidInput
from services.messaging.content import Content, Kind
from services.platform import media_store
from services.platform.media_store import Media

MB = 1024 * 1024
# WhatsApp's own limits for what it shows in a chat; a document's is what the server takes, 50 MB of base64 and JSON.
LIMIT_MB = {
    Kind.IMAGE: 16,
    Kind.VIDEO: 16,
    Kind.AUDIO: 16,
    Kind.VOICE: 16,
    Kind.STICKER: 16,
    Kind.DOCUMENT: 36,
}
STICKER_BYTES = 100 * 1024
STICKER_PIXELS = 512
# Opened, such a picture takes 4 bytes a pixel: 160 MB.
MAX_PIXELS = 40_000_000
LONGEST_SIDE = 4096
THUMBNAIL_PIXELS = 420
JPEG_QUALITY = 88
# What libopus takes; other recordings are refused rather than changed in pitch.
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
VOICE_SECONDS = 15 * 60
FILENAME_LIMIT = 120

ACCEPTED = {
    Kind.IMAGE: N_("imagens JPEG, PNG ou WebP"),
    Kind.STICKER: N_("imagens JPEG, PNG ou WebP"),
    Kind.VIDEO: N_("vídeos MP4 ou 3GP"),
    Kind.AUDIO: N_("áudios MP3, M4A, AAC, AMR ou OGG"),
    Kind.VOICE: N_("gravações OGG, WAV, FLAC ou MP3"),
}
PICTURES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
VIDEOS = {"video/mp4": "video/mp4", "video/x-m4v": "video/mp4", "video/3gpp": "video/3gpp"}
AUDIOS = {
    "audio/mpeg": "audio/mpeg",
    "audio/mp4": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/aac": "audio/aac",
    "audio/amr": "audio/amr",
    "audio/ogg": "audio/ogg",
}
OPUS = "audio/ogg; codecs=opus"
# What of a store goes as which kind; any file is a document.
TYPES = {
    Kind.IMAGE: frozenset(PICTURES.values()),
    Kind.STICKER: frozenset(PICTURES.values()),
    Kind.VIDEO: frozenset(VIDEOS.values()),
    Kind.AUDIO: frozenset(AUDIOS.values()),
    Kind.VOICE: frozenset({"audio/ogg"}),
}
# Documents by their names, where the bytes do not say it: office files are zip archives, texts have no signature.
BY_NAME = {
    "txt": "text/plain",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}


class FileBroken(InvalidInput):
    """What is inside is not what can be read."""

    code = "arquivo_quebrado"
    message = N_("Este arquivo está corrompido ou vazio e não pode ser aberto.")
    hint = N_("Abra-o no seu aparelho para conferir e escolha outro.")


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


class PictureTooLarge(InvalidInput):
    """A picture of so many pixels that opening it would take the memory of all."""

    code = "imagem_grande"
    message = N_("A imagem tem pixels demais para ser aberta com segurança.")
    hint = N_("Reduza a imagem e envie de novo.")


@dataclass(frozen=True)
class Attachment:
    """A file that may be sent as `kind`; `thumbnail` is a small JPEG or PNG of a picture, as a `data:` URI."""

    kind: Kind
    content: bytes = field(repr=False)
    mimetype: str
    filename: str = field(repr=False)
    thumbnail: str | None = field(default=None, repr=False)


def prepare(kind: Kind, content: bytes, filename: str) -> Attachment:
    """`content` as it will leave as a message of `kind`.

    Raises: FileBroken, FileOfOtherKind, FileTooBig, PictureTooLarge; InvalidInput for a kind that carries no file.
    """
    _require_size(kind, len(content))
    if not content:
        raise FileBroken("empty")
    name = _plain_name(filename)
    match kind:
        case Kind.IMAGE:
            return _image(content, name)
        case Kind.STICKER:
            return _sticker(content)
        case Kind.VOICE:
            return _voice(content)
        case Kind.VIDEO:
            return Attachment(kind, content, _of_type(kind, content, VIDEOS), name)
        case Kind.AUDIO:
            return Attachment(kind, content, _of_type(kind, content, AUDIOS), name)
    return Attachment(kind, content, _document_type(content, name), name)


def kind_of(content: bytes) -> Kind:
    """What a file goes as where nobody said it: by its bytes, and as a document where they say nothing."""
    found = filetype.guess_mime(content)
    if found in PICTURES.values():
        return Kind.IMAGE
    if found in VIDEOS:
        return Kind.VIDEO
    return Kind.AUDIO if found in AUDIOS else Kind.DOCUMENT


def require_fit(kind: Kind, kept: Media) -> None:
    """Refuse a file of the store that does not go as `kind`.

    Raises: FileOfOtherKind, FileTooBig.
    """
    accepted = TYPES.get(kind)
    if accepted is not None and kept.mimetype.partition(";")[0] not in accepted:
        raise FileOfOtherKind(kept.mimetype, accepted=ACCEPTED[kind])
    _require_size(kind, kept.size)


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
    picture = _opened(content)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    written: Literal["PNG", "JPEG"] = "PNG" if _see_through(picture) else "JPEG"
    stem = name.rpartition(".")[0] or name
    made = _written(picture, written)
    return Attachment(
        Kind.IMAGE, made, PICTURES[written], f"{stem}.{'png' if written == 'PNG' else 'jpg'}", _small(picture)
    )


def _sticker(content: bytes) -> Attachment:
    """512 pixels a side, the rest see-through, as small as WhatsApp wants it."""
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
    return Attachment(Kind.STICKER, made, "image/webp", "figurinha.webp", _small(canvas))


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
        if (filetype.guess_mime(content) or "").startswith("image/jpeg"):
            raise FileBroken("unreadable picture") from error
        raise FileOfOtherKind(type(error).__name__, accepted=ACCEPTED[Kind.IMAGE]) from error
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(type(error).__name__) from error
    # Pillow's decoders tell a broken file in all these ways.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise FileBroken(type(error).__name__) from error
    return ImageOps.exif_transpose(picture)


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
    form: Literal["PNG", "JPEG"] = "PNG" if _see_through(copy) else "JPEG"
    return f"data:{PICTURES[form]};base64,{base64.b64encode(_written(copy, form)).decode()}"


# --- sounds and the rest ----------------------------------------------------------------------------------------------


def _voice(content: bytes) -> Attachment:
    """Opus in ogg as it is; another recording is written anew as such."""
    if content.startswith(b"OggS") and b"OpusHead" in content[:512]:
        return Attachment(Kind.VOICE, content, OPUS, "gravacao.ogg")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as recording:
            rate = recording.samplerate
            if rate not in OPUS_RATES or recording.frames > rate * VOICE_SECONDS:
                raise FileOfOtherKind(f"{rate} Hz", accepted=ACCEPTED[Kind.VOICE])
            samples = recording.read(dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise FileOfOtherKind("no sound that can be read", accepted=ACCEPTED[Kind.VOICE]) from error
    if not len(samples):
        raise FileBroken("no sound in it")
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="OGG", subtype="OPUS")
    return Attachment(Kind.VOICE, out.getvalue(), OPUS, "gravacao.ogg")


def _of_type(kind: Kind, content: bytes, accepted: dict[str, str]) -> str:
    found = filetype.guess_mime(content)
    if found not in accepted:
        raise FileOfOtherKind(f"{found}", accepted=ACCEPTED[kind])
    return accepted[found]


def _document_type(content: bytes, name: str) -> str:
    found = filetype.guess_mime(content)
    by_name = BY_NAME.get(name.rpartition(".")[2].lower())
    if found in (None, "application/zip") and by_name is not None:
        return by_name
    return found or "application/octet-stream"


def _plain_name(filename: str) -> str:
    """The last part of a path, without signs that no file system or header likes."""
    last = re.split(r"[\\/]", filename)[-1]
    plain = "".join(sign for sign in last if sign.isprintable() and sign not in '<>:"|?*').strip(". ")
    stem, dot, ending = plain.rpartition(".")
    if len(plain) > FILENAME_LIMIT and dot:
        return f"{stem[: FILENAME_LIMIT - len(ending) - 1]}.{ending[:10]}"
    return plain[:FILENAME_LIMIT] or "arquivo"


def _require_size(kind: Kind, size: int) -> None:
    limit = LIMIT_MB.get(kind)
    if limit is None:
        raise InvalidInput(f"a {kind} carries no file")
    if size > limit * MB:
        raise FileTooBig(size=_megabytes(size), limit=limit)


def _megabytes(size: int) -> str:
    return f"{size / MB:.0f}" if size >= 10 * MB else f"{size / MB:.1f}".replace(".", ",")
