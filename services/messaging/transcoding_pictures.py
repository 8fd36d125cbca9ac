"""Photographs of phones, and stickers that move. Imported by the child process alone."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import pillow_heif
from PIL import Image, ImageOps

from services.messaging.transcoding import MAX_PIXELS, Loss, Refusal, Refused

PHOTOGRAPHS = ("HEIF", "AVIF")
MOVING = ("GIF", "WEBP", "PNG")
LONGEST_SIDE = 4096
JPEG_QUALITY = 88

STICKER_PIXELS = 512
STICKER_BYTES = 500 * 1024
STICKER_MILLISECONDS = 10_000
# Each frame is held opened; what moves much more often is not seen to.
FRAME_MILLISECONDS = 66
STILL_MILLISECONDS = 100  # of a frame that does not say how long it stays
MOVING_PIXELS = 8_000_000
# The server writes a sticker anew at this quality. So what is to be smaller has less in it, not a lower quality: fewer
# frames, of fewer pixels.
SERVER_QUALITY = 80
SMALLER = ((1, 512), (1, 320), (2, 320), (2, 200), (3, 128))

# Pillow reads its plugins when they are first needed, and by then no file can be opened any more.
Image.init()
pillow_heif.register_heif_opener()
pillow_heif.options.DECODE_THREADS = 1
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@dataclass(frozen=True)
class Frame:
    """A picture of 512 pixels a side, and for how many milliseconds it stays."""

    picture: Image.Image
    stays: int


def write_picture(content: bytes) -> tuple[bytes, set[Loss]]:
    """JPEG, or PNG where it is see-through: upright, and only the pixels.

    Raises: Refused.
    """
    with _reading():
        opened = _opened(content, PHOTOGRAPHS, MAX_PIXELS)
        opened.load()
        picture = ImageOps.exif_transpose(opened)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    plain.info.clear()
    made = io.BytesIO()
    if plain.mode == "RGBA":
        plain.save(made, "PNG")
    else:
        plain.save(made, "JPEG", quality=JPEG_QUALITY)
    return made.getvalue(), set()


def write_sticker(content: bytes) -> tuple[bytes, set[Loss]]:
    """WebP that moves as the file does, or its first picture alone where that cannot be made small.

    Raises: Refused.
    """
    losses: set[Loss] = set()
    with _reading():
        frames = list(_frames(_opened(content, MOVING, MOVING_PIXELS), losses))
    if len(frames) == 1:
        return _written(frames), set()
    expected = 0.0
    for every, side in SMALLER:
        expected /= 2  # each step makes about half of it: steps that cannot be enough are not tried
        if expected > 1.5 * STICKER_BYTES:
            continue
        made = _animation(_thinned(frames, every), side)
        if len(made) <= STICKER_BYTES:
            return made, losses
        expected = len(made)
    return _written(frames[:1]), {Loss.STILL}


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What Pillow's decoders say of a file becomes a Refused."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise Refused(Refusal.TOO_LARGE) from error
    except RuntimeError as error:  # all that libheif says
        raise Refused(Refusal.TOO_LARGE if "Security limit" in str(error) else Refusal.BROKEN) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        if isinstance(error, OSError) and error.errno:  # the machine's word, not a decoder's
            raise
        raise Refused(Refusal.BROKEN) from error


def _opened(content: bytes, forms: tuple[str, ...], most_pixels: int) -> Image.Image:
    """The picture, of which only the size was read."""
    picture = Image.open(io.BytesIO(content), formats=forms)
    if picture.width * picture.height > most_pixels:
        raise Refused(Refusal.TOO_LARGE)
    return picture


def _frames(moving: Image.Image, losses: set[Loss]) -> Iterator[Frame]:
    """The frames of the first ten seconds; what follows too soon lengthens the one before it."""
    kept: Image.Image | None = None
    since = now = 0
    for number in range(getattr(moving, "n_frames", 1)):
        if now >= STICKER_MILLISECONDS:
            losses.add(Loss.CUT)
            break
        moving.seek(number)
        moving.load()
        if kept is None or now - since >= FRAME_MILLISECONDS:
            if kept is not None:
                yield Frame(kept, now - since)
            kept, since = _on_canvas(moving), now
        now += round(moving.info.get("duration") or STILL_MILLISECONDS)
    assert kept is not None
    yield Frame(kept, max(1, min(now, STICKER_MILLISECONDS) - since))


def _on_canvas(picture: Image.Image) -> Image.Image:
    fitted = ImageOps.contain(picture.convert("RGBA"), (STICKER_PIXELS, STICKER_PIXELS))
    canvas = Image.new("RGBA", (STICKER_PIXELS, STICKER_PIXELS), (0, 0, 0, 0))
    canvas.paste(fitted, ((STICKER_PIXELS - fitted.width) // 2, (STICKER_PIXELS - fitted.height) // 2))
    return canvas


def _thinned(frames: list[Frame], every: int) -> list[Frame]:
    """Each second or third frame, for as long as those that it stands for."""
    groups = [frames[first : first + every] for first in range(0, len(frames), every)]
    return [Frame(group[0].picture, sum(one.stays for one in group)) for group in groups]


def _animation(frames: list[Frame], side: int) -> bytes:
    if side == STICKER_PIXELS:
        return _written(frames)
    whole = (STICKER_PIXELS, STICKER_PIXELS)
    return _written([Frame(one.picture.resize((side, side)).resize(whole), one.stays) for one in frames])


def _written(frames: list[Frame]) -> bytes:
    made = io.BytesIO()
    first, *others = (one.picture for one in frames)
    moving = {"save_all": True, "append_images": others, "duration": [one.stays for one in frames], "loop": 0}
    first.save(made, "WEBP", quality=SERVER_QUALITY, method=2, **(moving if others else {}))
    return made.getvalue()
