"""Conversions: what comes out is right, what cannot be is refused with a sentence, and nothing stays behind."""

import contextlib
import functools
import io
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from services.errors import ServiceError
from services.messaging import transcoding
from services.messaging.errors import FileBroken, PictureTooLarge
from services.messaging.transcoding import (
    MB,
    ConversionsBusy,
    ConversionTooHeavy,
    FormatNotConverted,
    Limits,
    Loss,
    NothingToConvert,
    RecordingTooLong,
    Task,
    transcode,
)
from tests.support.recordings import Heard, film, listen, moving_picture, photograph, tone, watch
from tests.support.waiting import wait_for

VOICE_NOTE = Heard("opus", 48_000, "mono", 1.0)


@functools.cache
def long_recording() -> bytes:
    """Some seconds of work."""
    return tone("flac", "flac", 8_000, "mono", transcoding.LIMITS.voice_seconds - 1)


def untimed(flac: bytes) -> bytes:
    """As written to a pipe: its head does not tell how many samples follow."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "codec", "rate", "layout"),
    [
        ("mp3", "libmp3lame", 44_100, "mono"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("wav", "pcm_s16le", 8_000, "mono"),
        ("wav", "pcm_s16le", 44_100, "stereo"),
        ("ipod", "aac", 44_100, "mono"),  # M4A
        ("webm", "libopus", 48_000, "stereo"),
        ("ogg", "libopus", 48_000, "stereo"),
        ("flac", "flac", 48_000, "mono"),
    ],
)
def test_it_makes_a_voice_note_of_any_recording(form: str, codec: str, rate: int, layout: str) -> None:
    made = transcode(Task.VOICE, tone(form, codec, rate, layout, 1.0, title="segredo"), form).content
    heard = listen(made)
    assert heard.seconds == pytest.approx(1.0, abs=0.1)
    assert (heard.codec, heard.rate, heard.layout) == (VOICE_NOTE.codec, VOICE_NOTE.rate, VOICE_NOTE.layout)
    assert len(made) < 8_000, "about 32 kbit/s"
    assert b"segredo" not in made


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libx265"])
def test_it_makes_an_mp4_of_a_film_upright_and_without_its_place(codec: str) -> None:
    source = film("mov", codec, rotation=90)
    seen = watch(transcode(Task.VIDEO, source, "MOV").content)
    assert "title" in watch(source).told
    assert (seen.codec, seen.size, seen.frames, seen.rotation) == ("h264", (320, 180), 10, 90)
    assert not seen.told & {"title", "location"}


def test_it_makes_a_large_and_quick_film_smaller_and_slower() -> None:
    seen = watch(transcode(Task.VIDEO, film("avi", "mpeg4", (1920, 1080), frames=12, rate=60), "AVI").content)
    assert (seen.codec, seen.size, seen.frames) == ("h264", (1280, 720), 6)


def test_it_makes_a_jpeg_of_a_photograph_upright_and_without_its_place() -> None:
    opened = Image.open(io.BytesIO(transcode(Task.PICTURE, photograph(), "HEIC").content))
    assert (opened.format, opened.size, dict(opened.getexif())) == ("JPEG", (32, 64), {})
    red, green, blue = opened.convert("RGB").resize((1, 1)).tobytes()
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("form", ["WEBP", "GIF", "PNG"])
def test_it_keeps_a_sticker_moving(form: str) -> None:
    made = transcode(Task.STICKER, moving_picture(form, side=300), form)
    assert made.losses == frozenset()
    assert animation(made.content) == ("WEBP", (512, 512), 10, 1000)


def test_it_takes_from_a_sticker_what_does_not_fit_and_says_so() -> None:
    long = transcode(Task.STICKER, moving_picture("GIF", frames=12, milliseconds=1000, side=64), "GIF")
    assert long.losses == {Loss.CUT}
    assert animation(long.content)[2:] == (10, 10_000)
    restless = transcode(Task.STICKER, moving_picture("WEBP", frames=60, noise=True), "WebP")
    assert restless.losses == {Loss.STILL}
    assert animation(restless.content)[2] == 1


def test_it_makes_a_sticker_smaller_rather_than_still() -> None:
    made = transcode(Task.STICKER, moving_picture("WEBP", frames=5, noise=True), "WebP")
    assert made.losses == frozenset()
    assert len(made.content) <= 500 * 1024
    assert animation(made.content)[3] == 500


def animation(content: bytes) -> tuple[str | None, tuple[int, int], int, int]:
    """Form, size, number of frames and milliseconds."""
    opened = Image.open(io.BytesIO(content))
    frames = getattr(opened, "n_frames", 1)
    lasts = 0
    for number in range(frames):
        opened.seek(number)
        opened.load()
        lasts += opened.info.get("duration", 0)
    return opened.format, opened.size, frames, lasts


# --- what is refused --------------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """An animated PNG of a few hundred bytes that claims so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    moving = chunk(b"acTL", struct.pack(">II", 2, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + moving + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def heic_claiming(width: int, height: int) -> bytes:
    small = photograph()
    claimed = b"ispe" + bytes(4) + struct.pack(">II", width, height)
    return re.sub(rb"ispe.{12}", lambda _: claimed, small, flags=re.DOTALL)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("task", "make", "error"),
    [
        (Task.VOICE, lambda: b"", FileBroken),
        (Task.VOICE, lambda: b"RIFF\x00\x00\x00\x00WAVEfmt " + b"rubbish" * 300, FileBroken),
        (Task.VOICE, lambda: PLAYLIST, FileBroken),
        (Task.VOICE, lambda: film("mov", "mpeg4"), NothingToConvert),
        (Task.VOICE, lambda: tone("wav", "pcm_s16le", 8_000, "mono", 4), RecordingTooLong),
        (Task.VOICE, lambda: untimed(tone("flac", "flac", 8_000, "mono", 4)), RecordingTooLong),
        (Task.VIDEO, lambda: b"\x00\x00\x00\x14ftypqt  " + b"rubbish" * 300, FileBroken),
        (Task.VIDEO, lambda: film("mov", "libx264")[:1000], FileBroken),
        (Task.VIDEO, lambda: tone("ipod", "aac", 44_100, "mono", 1), NothingToConvert),
        (Task.VIDEO, lambda: film("avi", "mpeg4", frames=4, rate=1), RecordingTooLong),
        (Task.PICTURE, lambda: photograph()[:200], FileBroken),
        (Task.PICTURE, lambda: heic_claiming(50_000, 50_000), PictureTooLarge),
        (Task.STICKER, lambda: png_header(50_000, 50_000), PictureTooLarge),
        (Task.STICKER, lambda: moving_picture("GIF")[:3000], FileBroken),
    ],
)
def test_it_refuses_with_the_reason(task: Task, make: Callable[[], bytes], error: type[ServiceError]) -> None:
    with pytest.raises(error):
        transcode(task, make(), "MOV", Limits(voice_seconds=3, video_seconds=3))


def test_it_names_the_format_and_the_next_step() -> None:
    refused = FormatNotConverted(format="MOV", wanted="MP4")
    assert refused.sentence().startswith("Não foi possível converter este arquivo MOV")
    assert "Salve-o como MP4" in refused.hint.format(**refused.params)


@pytest.mark.parametrize(
    "limits",
    [Limits(wall_seconds=1), Limits(cpu_seconds=1), Limits(memory=150 * MB), Limits(output=1000)],
    ids=["time", "processor", "memory", "output"],
)
def test_it_ends_a_conversion_that_takes_too_much(limits: Limits) -> None:
    short = limits.output < transcoding.OUTPUT_BYTES
    with pytest.raises(ConversionTooHeavy) as refused:
        transcode(Task.VOICE, tone("flac", "flac", 8_000, "mono", 1) if short else long_recording(), "FLAC", limits)
    assert refused.value.params == {"format": "FLAC", "wanted": "OGG"}
    assert children() == []


# --- nothing stays behind ---------------------------------------------------------------------------------------------


def children(of: int | None = None) -> list[int]:
    """The processes that convert for a process, this one by default."""
    parent = of or os.getpid()
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            about = (one / "stat").read_text().rpartition(")")[2].split()
            if int(about[1]) == parent and b"transcoding_child" in (one / "cmdline").read_bytes():
                found.append(int(one.name))
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_is_killed_is_told_and_leaves_nothing(temporary: Path) -> None:
    raised: list[ServiceError] = []

    def convert() -> None:
        try:
            transcode(Task.VOICE, recording, "FLAC")
        except ServiceError as error:
            raised.append(error)

    recording = long_recording()
    thread = threading.Thread(target=convert)
    thread.start()
    wait_for(children)
    os.kill(children()[0], signal.SIGKILL)
    thread.join(20)
    assert [type(error) for error in raised] == [ConversionTooHeavy]


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "long.flac").write_bytes(long_recording())
    folder = tmp_path / "temporary"
    folder.mkdir()
    script = f"""
        from pathlib import Path
        from services.messaging.transcoding import Task, transcode
        transcode(Task.VOICE, Path({str(tmp_path / "long.flac")!r}).read_bytes(), "FLAC")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=transcoding.ROOT, env={**os.environ, "TMPDIR": str(folder)}
    ) as parent:
        wait_for(lambda: children(parent.pid))
        [child] = children(parent.pid)
        parent.kill()
    wait_for(lambda: not Path(f"/proc/{child}").exists())
    assert list(folder.iterdir()) == []


def test_it_keeps_a_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcoding, "WAIT_SECONDS", 0.1)
    with contextlib.ExitStack() as taken:
        for _ in range(transcoding.AT_ONCE):
            taken.enter_context(transcoding.conversion_place())
        with pytest.raises(ConversionsBusy) as busy:
            transcode(Task.VOICE, b"", "")
        assert busy.value.safe_to_retry
    with pytest.raises(FileBroken):
        transcode(Task.VOICE, b"", "")


def test_a_child_knows_no_secret_and_its_parent_no_decoder() -> None:
    script = "import sys, services.messaging.attachments; print([m for m in ('av', 'pillow_heif') if m in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=transcoding.ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
    assert set(transcoding.CHILD_ENVIRONMENT) == {"LC_ALL", "MALLOC_ARENA_MAX"}
