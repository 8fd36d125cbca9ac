"""Attached files: judged by their bytes, put right, or refused with a sentence."""

import base64
import io
import struct
import wave
import zlib

import filetype
import pytest
from PIL import Image

from services.db.actor import Actor
from services.errors import InvalidInput
from services.messaging import attachments
from services.messaging.attachments import MB, FileBroken, FileOfOtherKind, FileTooBig, PictureTooLarge, prepare
from services.messaging.content import Kind
from services.platform import media_store

GPS = 0x8825
ORIENTATION = 0x0112


def picture(form: str = "JPEG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "red").save(out, form, **options)
    return out.getvalue()


def recording(rate: int = 16000, seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"\0\1" * int(rate * seconds))
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 100,000 x 100,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_it_turns_a_picture_upright_and_leaves_its_place_and_time_behind() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera lay on its side
    exif[GPS] = {1: "S", 2: (23.0, 33.0, 0.0)}
    made = prepare(Kind.IMAGE, picture(exif=exif.tobytes()), "férias.jpeg")
    opened = Image.open(io.BytesIO(made.content))
    assert opened.size == (20, 40)
    assert dict(opened.getexif()) == {}
    assert (made.mimetype, made.filename) == ("image/jpeg", "férias.jpg")
    assert made.thumbnail is not None
    assert made.thumbnail.startswith("data:image/jpeg;base64,")


def test_it_keeps_what_is_see_through() -> None:
    made = prepare(Kind.IMAGE, picture("PNG", mode="RGBA"), "logo.webp")
    assert (made.mimetype, made.filename) == ("image/png", "logo.png")


def test_it_believes_the_bytes_and_not_the_name() -> None:
    assert prepare(Kind.IMAGE, picture("WEBP"), "foto.pdf").mimetype == "image/jpeg"
    with pytest.raises(FileOfOtherKind):
        prepare(Kind.IMAGE, b"%PDF-1.7 not a picture", "foto.jpg")
    with pytest.raises(FileOfOtherKind):
        prepare(Kind.VIDEO, picture(), "filme.mp4")


@pytest.mark.parametrize("content", [b"", picture()[:150], b"\xff\xd8\xff\xe0 only the beginning of a picture"])
def test_it_refuses_a_broken_picture(content: bytes) -> None:
    with pytest.raises(FileBroken):
        prepare(Kind.IMAGE, content, "foto.jpg")


def test_it_refuses_a_picture_that_would_fill_the_memory() -> None:
    with pytest.raises(PictureTooLarge):
        prepare(Kind.IMAGE, bomb(), "bomba.png")


def test_it_makes_a_small_square_sticker_of_any_picture() -> None:
    made = prepare(Kind.STICKER, picture(size=(1200, 300)), "x.jpg")
    opened = Image.open(io.BytesIO(made.content))
    assert (opened.format, opened.size) == ("WEBP", (512, 512))
    assert len(made.content) <= attachments.STICKER_BYTES


def test_it_makes_a_voice_note_of_a_recording() -> None:
    made = prepare(Kind.VOICE, recording(), "audio.wav")
    assert made.content.startswith(b"OggS")
    assert b"OpusHead" in made.content[:200]
    assert prepare(Kind.VOICE, made.content, "x.ogg").content == made.content
    with pytest.raises(FileOfOtherKind):
        prepare(Kind.VOICE, b"no sound at all", "x.ogg")


def test_it_says_how_big_a_file_may_be() -> None:
    with pytest.raises(FileTooBig) as refused:
        prepare(Kind.DOCUMENT, b"x" * (60 * MB), "grande.zip")
    assert refused.value.sentence() == "O arquivo tem 60 MB e o limite para este tipo de mensagem é 36 MB."


@pytest.mark.parametrize(
    ("name", "content", "mimetype", "kept"),
    [
        ("C:\\temp\\nota.txt", b"ola", "text/plain", "nota.txt"),
        ("../../etc/x.pdf", b"%PDF-1.7", "application/pdf", "x.pdf"),
        ("planilha.xlsx", b"PK\x03\x04" + b"\0" * 40, attachments.BY_NAME["xlsx"], "planilha.xlsx"),
        ("..", b"\0\1\2", "application/octet-stream", "arquivo"),
        ("a" * 200 + ".pdf", b"%PDF-1.7", "application/pdf", "a" * 116 + ".pdf"),
    ],
)
def test_it_names_a_document_and_its_type(name: str, content: bytes, mimetype: str, kept: str) -> None:
    made = prepare(Kind.DOCUMENT, content, name)
    assert (made.mimetype, made.filename, made.content) == (mimetype, kept, content)


def test_it_takes_sounds_that_whatsapp_plays() -> None:
    assert prepare(Kind.AUDIO, b"ID3\x04" + b"\0" * 300, "a.mp3").mimetype == "audio/mpeg"
    with pytest.raises(FileOfOtherKind):
        prepare(Kind.AUDIO, recording(), "a.mp3")


def test_a_text_carries_no_file() -> None:
    with pytest.raises(InvalidInput):
        prepare(Kind.TEXT, b"x", "x")


def test_it_keeps_an_attachment_for_its_sender(user: Actor) -> None:
    made = attachments.store_attachment(user, prepare(Kind.IMAGE, picture(), "a.jpg"), "legenda")
    assert made.media is not None
    assert (made.kind, made.body, made.filename) == (Kind.IMAGE, "legenda", "a.jpg")
    stored = media_store.read(user, made.media.sha256)
    assert filetype.guess_mime(stored) == "image/jpeg"


def test_it_shows_a_small_picture_of_a_picture_only() -> None:
    small = attachments.thumbnail(picture(size=(2000, 1000)))
    assert small is not None
    assert Image.open(io.BytesIO(base64.b64decode(small.partition(",")[2]))).size == (420, 210)
    assert attachments.thumbnail(b"no picture") is None
