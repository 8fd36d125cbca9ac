"""What a file is, by its bytes, and what may go as which kind of message."""

import re

import filetype

from services.errors import N_
from services.messaging.content import Kind

FILENAME_LIMIT = 120

ACCEPTED = {
    Kind.IMAGE: N_("imagens JPEG, PNG, WebP ou HEIC"),
    Kind.STICKER: N_("imagens JPEG, PNG, WebP, GIF ou HEIC"),
    Kind.VIDEO: N_("vídeos MP4, MOV, 3GP, WebM, MKV ou AVI"),
    Kind.AUDIO: N_("áudios MP3, M4A, AAC, AMR ou OGG"),
    Kind.VOICE: N_("MP3, WAV, M4A, OGG, FLAC ou gravação do navegador"),
}
PICTURES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
# Photographs as phones keep them.
PHOTOGRAPHS = {"image/heic": "HEIC", "image/avif": "AVIF"}
# Brands of HEIF files, in their first box; `filetype` knows the commonest.
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
VIDEOS = {"video/mp4": "video/mp4", "video/x-m4v": "video/mp4", "video/3gpp": "video/3gpp"}
# Films that are converted: their names for people.
FILMS = {
    "video/mp4": "MP4",
    "video/x-m4v": "MP4",
    "video/quicktime": "MOV",
    "video/webm": "WebM",
    "video/x-matroska": "MKV",
    "video/x-msvideo": "AVI",
}
AUDIOS = {
    "audio/mpeg": "audio/mpeg",
    "audio/mp4": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/aac": "audio/aac",
    "audio/amr": "audio/amr",
    "audio/ogg": "audio/ogg",
}
SOUNDS = {
    "audio/mpeg": "MP3",
    "audio/mp4": "M4A",
    "audio/x-m4a": "M4A",
    "audio/m4a": "M4A",
    "audio/aac": "AAC",
    "audio/amr": "AMR",
    "audio/ogg": "OGG",
    "audio/x-wav": "WAV",
    "audio/x-flac": "FLAC",
    "audio/x-aiff": "AIFF",
    "video/3gpp": "3GP",
}
OPUS = "audio/ogg; codecs=opus"
MOVING = {"image/gif": "GIF", "image/webp": "WebP", "image/png": "PNG"}
PNG_BEGINS = b"\x89PNG\r\n\x1a\n"
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


def get_mimetype(content: bytes) -> str | None:
    """What the bytes say; None where they say nothing known."""
    if content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS:
        return "image/avif" if b"avif" in content[12:40] else "image/heic"
    found: str | None = filetype.guess_mime(content)
    return found


def get_document_type(content: bytes, name: str) -> str:
    """What a document is, by its first bytes; by its name where many kinds begin alike."""
    found = filetype.guess_mime(content)
    by_name = BY_NAME.get(name.rpartition(".")[2].lower())
    if found in (None, "application/zip") and by_name is not None:
        return by_name
    return found or "application/octet-stream"


def is_voice_note(content: bytes) -> bool:
    """Mono opus in ogg: the head of the stream, with its number of channels, is what the first page carries."""
    return content.startswith(b"OggS") and content[28:36] == b"OpusHead" and content[37:38] == b"\x01"


def may_move(content: bytes) -> bool:
    """Whether it can hold more than one picture: a GIF, an animated WebP or PNG."""
    if content.startswith(PNG_BEGINS):
        return b"acTL" in content[:4096]
    return content.startswith((b"GIF87a", b"GIF89a")) or is_animated_webp(content)


def is_animated_webp(content: bytes) -> bool:
    """Whether a file is a WebP that moves, by the flag in its head."""
    return content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and len(content) > 20 and bool(content[20] & 0x02)


def with_ending(name: str, ending: str) -> str:
    """A file's name with another ending (without a dot)."""
    return f"{name.rpartition('.')[0] or name}.{ending}"


def get_plain_name(filename: str) -> str:
    """The last part of a path, without signs that no file system or header likes."""
    last = re.split(r"[\\/]", filename)[-1]
    plain = "".join(sign for sign in last if sign.isprintable() and sign not in '<>:"|?*').strip(". ")
    stem, dot, ending = plain.rpartition(".")
    if len(plain) > FILENAME_LIMIT and dot:
        return f"{stem[: FILENAME_LIMIT - len(ending) - 1]}.{ending[:10]}"
    return plain[:FILENAME_LIMIT] or "arquivo"
