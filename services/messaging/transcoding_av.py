"""Sound and film, by ffmpeg's libraries. Imported by the child process alone."""

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction

import av

# Read by ffmpeg's bindings when a file first has such a stream, and by then no file can be opened any more.
import av.subtitles.codeccontext
import av.subtitles.stream
from av import AudioFrame, VideoFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from services.messaging.transcoding import (
    MAX_PIXELS,
    OUTPUT_BYTES,
    Loss,
    Refusal,
    Refused,
)

# Containers that hold their streams themselves. Playlists, which name other files and addresses, are not among them.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,ogg,mp3,wav,w64,flac,aac,amr,aiff,caf,mpegts,mpeg,asf,flv"
VOICE_RATE = 48_000
VOICE_BITS = 32_000
VOICE_OPTIONS = {"application": "voip", "vbr": "constrained"}
# WhatsApp itself makes such films: they show on every phone.
LONGEST_SIDE = 1280
FRAMES_A_SECOND = 30
VIDEO_BITS = 2_000_000
SOUND_BITS = 96_000
SOUND_RATE = 44_100
# Of the most that may come out; the rest is the container's and the encoder's inexactness.
FILLED = 0.85
READING = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS)}
TIME_BASE = Fraction(1, 90_000)


def write_voice(content: bytes, most_seconds: int) -> tuple[bytes, set[Loss]]:
    """Mono opus in ogg.

    Raises: Refused.
    """
    made = io.BytesIO()
    with _reading(content) as source, av.open(made, "w", format="ogg") as target:
        sound = _sound_of(source)
        if sound is None:
            raise Refused(Refusal.NOTHING_INSIDE)
        _require_short(source, most_seconds)
        stream = target.add_stream("libopus", rate=VOICE_RATE, layout="mono", options=VOICE_OPTIONS)
        stream.bit_rate = VOICE_BITS
        voice = _SoundTrack(target, stream, most_seconds)
        for frame in _frames(source, sound):
            voice.add(frame)
        voice.end()
    return made.getvalue(), set()


def write_video(content: bytes, most_seconds: int) -> tuple[bytes, set[Loss]]:
    """H.264 and AAC in MP4: as they are where they are so, else encoded anew.

    Raises: Refused.
    """
    made = io.BytesIO()
    with _reading(content) as source, av.open(made, "w", format="mp4") as target:
        film, sound = _film_of(source), _sound_of(source)
        if film is None:
            raise Refused(Refusal.NOTHING_INSIDE)
        if film.width * film.height > MAX_PIXELS:
            raise Refused(Refusal.TOO_LARGE)
        if len(content) <= OUTPUT_BYTES and _plays_everywhere(film, sound):
            _copy(source, target, [film, sound] if sound else [film])
        else:
            _encode(source, target, film, sound, most_seconds)
    return made.getvalue(), set()


@contextlib.contextmanager
def _reading(content: bytes) -> Iterator[InputContainer]:
    """The opened file; what ffmpeg says of it becomes a Refused."""
    try:
        with av.open(io.BytesIO(content), "r", container_options=READING, metadata_errors="replace") as source:
            yield source
    except (av.DecoderNotFoundError, av.PatchWelcomeError, av.EncoderNotFoundError) as error:
        raise Refused(Refusal.UNSUPPORTED) from error
    except av.MemoryError as error:
        raise Refused(Refusal.TOO_HEAVY) from error
    except av.FFmpegError as error:
        raise Refused(Refusal.BROKEN) from error


def _require_short(source: InputContainer, most_seconds: int) -> None:
    """Before anything is decoded, by what the file says; what it really lasts is counted later."""
    if source.duration and source.duration / av.time_base > most_seconds:
        raise Refused(Refusal.TOO_LONG)


def _sound_of(source: InputContainer) -> AudioStream | None:
    sounds = source.streams.audio
    if sounds and all(one.codec_context is None for one in sounds):
        raise Refused(Refusal.UNSUPPORTED)
    return next((one for one in sounds if one.codec_context is not None), None)


def _film_of(source: InputContainer) -> VideoStream | None:
    """The film itself, and not the cover of a record."""
    films = [one for one in source.streams.video if not one.disposition & Disposition.attached_pic]
    if films and films[0].codec_context is None:
        raise Refused(Refusal.UNSUPPORTED)
    return films[0] if films else None


def _frames(source: InputContainer, *streams: AudioStream | VideoStream) -> Iterator[AudioFrame | VideoFrame]:
    """Their frames; a packet that cannot be read is left out, as players do."""
    for packet in source.demux(*streams):
        with contextlib.suppress(av.InvalidDataError):
            yield from (one for one in packet.decode() if isinstance(one, AudioFrame | VideoFrame))


# --- as it is ---------------------------------------------------------------------------------------------------------


def _plays_everywhere(film: VideoStream, sound: AudioStream | None) -> bool:
    known = film.codec_context.name == "h264" and film.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
    return known and (sound is None or sound.codec_context.name == "aac")


def _copy(source: InputContainer, target: OutputContainer, streams: list[VideoStream | AudioStream]) -> None:
    """What is in it, without being opened. Place, time and camera, which the file tells beside it, stay behind."""
    copies = {one.index: target.add_stream_from_template(one) for one in streams}
    for packet in source.demux(*streams):
        if packet.dts is not None:
            packet.stream = copies[packet.stream.index]
            target.mux(packet)


# --- encoded anew -----------------------------------------------------------------------------------------------------


def _encode(
    source: InputContainer, target: OutputContainer, film: VideoStream, sound: AudioStream | None, most_seconds: int
) -> None:
    _require_short(source, most_seconds)
    film.codec_context.thread_count = 1  # each thread of a decoder holds pictures of its own
    seconds = source.duration / av.time_base if source.duration else most_seconds
    pictures = _Pictures(target, int(OUTPUT_BYTES * 8 * FILLED / max(seconds, 1)) - SOUND_BITS, most_seconds)
    track = None
    if sound is not None:
        stream = target.add_stream("aac", rate=SOUND_RATE, layout="stereo" if sound.channels > 1 else "mono")
        stream.bit_rate = SOUND_BITS
        track = _SoundTrack(target, stream, most_seconds)
    for frame in _frames(source, *([film, sound] if sound else [film])):
        if isinstance(frame, VideoFrame):
            pictures.add(frame)
        elif track is not None:
            track.add(frame)
    pictures.end()
    if track is not None:
        track.end(needed=False)


class _SoundTrack:
    """Sound on its way into a stream of another codec, rate and layout."""

    def __init__(self, target: OutputContainer, stream: AudioStream, most_seconds: int) -> None:
        self._target, self._stream, self._most_seconds = target, stream, most_seconds
        self._seconds = 0.0

    def add(self, frame: AudioFrame | VideoFrame) -> None:
        assert isinstance(frame, AudioFrame)
        # Its length is counted: what a file says of itself need not be so.
        self._seconds += frame.samples / frame.sample_rate
        if self._seconds > self._most_seconds:
            raise Refused(Refusal.TOO_LONG)
        # Recordings with gaps in their times are joined rather than refused.
        frame.pts = None
        self._target.mux(self._stream.encode(frame))

    def end(self, needed: bool = True) -> None:
        if self._seconds:
            self._target.mux(self._stream.encode(None))
        elif needed:
            raise Refused(Refusal.BROKEN)


class _Pictures:
    """The pictures of a film on their way into H.264: at most so large, so many a second and so many bits."""

    def __init__(self, target: OutputContainer, bits: int, most_seconds: int) -> None:
        self._target, self._bits, self._most_seconds = target, min(bits, VIDEO_BITS), most_seconds
        self._stream: VideoStream | None = None
        self._begin = self._last = 0.0

    def add(self, frame: VideoFrame) -> None:
        moment = frame.time
        if self._stream is None:
            self._stream = self._open(frame)
            self._begin = moment or 0.0
            self._last = -1.0
        at = (self._last + 1 / FRAMES_A_SECOND) if moment is None else moment - self._begin
        if at > self._most_seconds:
            raise Refused(Refusal.TOO_LONG)
        if at - self._last < 0.9 / FRAMES_A_SECOND:
            return
        self._last = at
        smaller = frame.reformat(self._stream.width, self._stream.height, format="yuv420p")
        smaller.pts, smaller.time_base = round(at / TIME_BASE), TIME_BASE
        self._target.mux(self._stream.encode(smaller))

    def _open(self, frame: VideoFrame) -> VideoStream:
        scale = min(1, LONGEST_SIDE / max(frame.width, frame.height))
        options = {"preset": "veryfast", "crf": "25", "maxrate": str(self._bits), "bufsize": str(self._bits)}
        stream = self._target.add_stream("libx264", rate=FRAMES_A_SECOND, options=options)
        stream.width, stream.height = (max(2, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.thread_count = 2
        if frame.rotation:
            stream.set_display_rotation(frame.rotation)
        return stream

    def end(self) -> None:
        if self._stream is None:
            raise Refused(Refusal.BROKEN)
        self._target.mux(self._stream.encode(None))
