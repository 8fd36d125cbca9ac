"""Sounds, films, photographs and moving pictures, made as they are needed, and what is in one."""

import io
import math
from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import pillow_heif
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image, ImageDraw

ORIENTATION, GPS = 0x0112, 0x8825


def tone(form: str, codec: str, rate: int, layout: str, seconds: float, title: str = "") -> bytes:
    """440 Hz, the same on all channels. `layout` is `mono` or `stereo`."""
    made = io.BytesIO()
    channels = {"mono": 1, "stereo": 2}[layout]
    with av.open(made, "w", format=form) as target:
        if title:
            target.metadata["title"] = title
        stream = cast(AudioStream, target.add_stream(codec, rate=rate, layout=layout))
        # A tenth of a second holds 44 whole waves.
        wave = array("h", (round(9000 * math.sin(math.tau * 440 * n / rate)) for n in range(rate // 10)))
        samples = array("h", (level for level in wave for _ in range(channels))).tobytes()
        for _ in range(round(seconds * 10)):
            frame = av.AudioFrame(format="s16", layout=layout, samples=rate // 10)
            frame.planes[0].update(samples)
            frame.sample_rate = rate
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return made.getvalue()


def film(
    form: str, codec: str, size: tuple[int, int] = (320, 180), frames: int = 10, rate: int = 10, rotation: int = 0
) -> bytes:
    """Red turning yellow, without sound; it tells a title and where it was taken."""
    made = io.BytesIO()
    with av.open(made, "w", format=form) as target:
        target.metadata.update({"title": "férias", "location": "-23.5505-046.6333/"})
        stream = cast(VideoStream, target.add_stream(codec, rate=rate))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame(*size, "rgb24")
            frame.planes[0].update(bytes((255, number * 255 // frames, 0)) * (frame.planes[0].buffer_size // 3))
            frame.pts, frame.time_base = number, Fraction(1, rate)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return made.getvalue()


def moving_picture(form: str, frames: int = 10, milliseconds: int = 100, side: int = 512, noise: bool = False) -> bytes:
    """A square that wanders; with `noise`, pictures that no encoder makes small."""
    pictures = []
    for number in range(frames):
        picture = Image.effect_noise((side, side), 200).convert("RGB") if noise else Image.new("RGB", (side, side))
        ImageDraw.Draw(picture).rectangle((number, 10, number + 60, 70), fill="red")
        pictures.append(picture)
    made = io.BytesIO()
    quick = {"method": 0} if form == "WEBP" else {}
    pictures[0].save(made, form, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, **quick)
    return made.getvalue()


def photograph(size: tuple[int, int] = (64, 32)) -> bytes:
    """A HEIC of a camera that lay on its side, which tells where it was."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[GPS] = {1: "S", 2: (23.0, 33.0, 0.0)}
    made = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", size, "red")).save(made, exif=exif.tobytes())
    return made.getvalue()


@dataclass(frozen=True)
class Heard:
    codec: str
    rate: int
    layout: str
    seconds: float


def listen(content: bytes) -> Heard:
    """What is in a recording, read to its end."""
    with av.open(io.BytesIO(content), "r") as source:
        sound = source.streams.audio[0]
        samples = sum(frame.samples for frame in source.decode(sound))
        codec = sound.codec_context
        return Heard(codec.name, codec.sample_rate, codec.layout.name, round(samples / codec.sample_rate, 1))


@dataclass(frozen=True)
class Seen:
    form: str
    codec: str
    size: tuple[int, int]
    frames: int
    rotation: int
    told: frozenset[str]


def watch(content: bytes) -> Seen:
    """What is in a film, read to its end. `told` names what the file says of itself."""
    with av.open(io.BytesIO(content), "r") as source:
        stream = source.streams.video[0]
        frames = [frame.rotation for frame in source.decode(stream)]
        size = (stream.width, stream.height)
        said = frozenset(source.metadata) | frozenset(stream.metadata)
        return Seen(source.format.name, stream.codec_context.name, size, len(frames), frames[0], said)
