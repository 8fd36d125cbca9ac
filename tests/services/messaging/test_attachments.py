"""Attached files: judged by their bytes, put right, or refused with a sentence."""

import base64
import io
import struct
import zlib

import filetype
import pytest
from PIL import Image

from services.db.actor import Actor
from services.errors import InvalidInput
from services.messaging import attachments, file_types
from services.messaging.attachments import FileOfOtherKind, FileTooBig, prepare
from services.messaging.content import Kind
from services.messaging.errors import FileBroken, PictureTooLarge
from services.messaging.file_types import is_animated_webp
from services.messaging.transcoding import MB, FormatNotConverted, Loss
from services.platform import media_store
from tests.support.recordings import film, listen, moving_picture, photograph, tone, watch

GPS = 0x8825
ORIENTATION = 0x0112


def picture(form: str = "JPEG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "red").save(out, form, **options)
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


def test_it_makes_a_voice_note_of_a_recording_and_leaves_one_as_it_is() -> None:
    made = prepare(Kind.VOICE, tone("ogg", "libopus", 48_000, "stereo", 0.5), "recado da Ana.opus")
    assert (made.mimetype, made.filename) == ("audio/ogg; codecs=opus", "recado da Ana.ogg")
    assert listen(made.content).layout == "mono"
    assert not attachments.is_converted(Kind.VOICE, made.content)
    assert prepare(Kind.VOICE, made.content, "x.ogg").content == made.content


@pytest.mark.parametrize("content", [b"no sound at all", b"%PDF-1.7", picture()])
def test_it_says_what_a_voice_note_is_made_of(content: bytes) -> None:
    with pytest.raises(FileOfOtherKind) as refused:
        prepare(Kind.VOICE, content, "x.ogg")
    assert "MP3, WAV, M4A, OGG, FLAC ou gravação do navegador" in refused.value.hint.format(**refused.value.params)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (film("mov", "libx264"), Kind.VIDEO),
        (film("mp4", "libx264"), Kind.VIDEO),
        (photograph(), Kind.IMAGE),
        (picture("AVIF"), Kind.IMAGE),
        (tone("mp3", "libmp3lame", 44_100, "mono", 0.5), Kind.AUDIO),
        (moving_picture("GIF"), Kind.DOCUMENT),
    ],
    ids=["mov", "mp4", "heic", "avif", "mp3", "gif"],
)
def test_it_knows_what_a_file_goes_as(content: bytes, kind: Kind) -> None:
    assert attachments.kind_of(content) is kind


def test_it_converts_what_iphones_make_and_keeps_its_name() -> None:
    shown = prepare(Kind.VIDEO, film("mov", "libx264"), "IMG_0001.MOV")
    assert (shown.mimetype, shown.filename, watch(shown.content).codec) == ("video/mp4", "IMG_0001.mp4", "h264")
    seen = prepare(Kind.IMAGE, photograph(), "IMG_0002.HEIC")
    assert (seen.mimetype, seen.filename) == ("image/jpeg", "IMG_0002.jpg")
    assert Image.open(io.BytesIO(seen.content)).size == (32, 64)
    assert seen.thumbnail is not None


def test_it_names_the_format_that_it_cannot_convert() -> None:
    unknown = film("mov", "libx264").replace(b"avc1", b"zzz1")
    with pytest.raises(FormatNotConverted) as refused:
        prepare(Kind.VIDEO, unknown, "filme.mov")
    assert "este arquivo MOV" in refused.value.sentence()
    assert "como MP4" in refused.value.hint.format(**refused.value.params)


def test_it_keeps_a_sticker_moving_or_tells_that_it_will_not() -> None:
    made = prepare(Kind.STICKER, moving_picture("GIF"), "dança.gif")
    assert (made.filename, made.notices, is_animated_webp(made.content)) == ("dança.webp", (), True)
    assert made.thumbnail is not None
    still = prepare(Kind.IMAGE, moving_picture("WEBP", side=64), "dança.webp")
    assert still.notices == (attachments.NOT_MOVING,)
    long = prepare(Kind.STICKER, moving_picture("GIF", frames=3, milliseconds=5000, side=64), "x.gif")
    assert long.notices == (attachments.NOTICES[Loss.CUT],)


def test_it_takes_a_larger_file_where_a_smaller_one_is_made_of_it() -> None:
    with pytest.raises(FileTooBig):
        prepare(Kind.IMAGE, bytes(17 * MB), "foto.jpg")
    with pytest.raises(FileOfOtherKind):
        prepare(Kind.VIDEO, bytes(17 * MB), "filme.mov")
    with pytest.raises(FileTooBig):
        prepare(Kind.VIDEO, bytes(37 * MB), "filme.mov")


def test_it_says_how_big_a_file_may_be() -> None:
    with pytest.raises(FileTooBig) as refused:
        prepare(Kind.DOCUMENT, b"x" * (60 * MB), "grande.zip")
    assert refused.value.sentence() == "O arquivo tem 60 MB e o limite para este tipo de mensagem é 36 MB."


@pytest.mark.parametrize(
    ("name", "content", "mimetype", "kept"),
    [
        ("C:\\temp\\nota.txt", b"ola", "text/plain", "nota.txt"),
        ("../../etc/x.pdf", b"%PDF-1.7", "application/pdf", "x.pdf"),
        ("planilha.xlsx", b"PK\x03\x04" + b"\0" * 40, file_types.BY_NAME["xlsx"], "planilha.xlsx"),
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
        prepare(Kind.AUDIO, tone("wav", "pcm_s16le", 16_000, "mono", 0.5), "a.mp3")


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
