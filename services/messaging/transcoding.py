"""Files made into the form that WhatsApp shows, in a child process that can do no harm.

Decoders of sound and film are large and read what strangers wrote. So each conversion has a process of its own
(`transcoding_child`), which knows no secret, opens no further file or connection, and is ended when it takes too much
time, processor or memory, or when its parent ends. Input and output are files without a name: whoever is killed,
nothing stays behind.
"""

import contextlib
import functools
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, NoReturn

import structlog

from services.errors import N_, InvalidInput, RateLimited
from services.messaging.errors import FileBroken, PictureTooLarge

log = structlog.get_logger(__name__)

MB = 1024 * 1024
# The largest file that is converted, and the most that may come of it.
SOURCE_MB = 36
OUTPUT_BYTES = 16 * MB
# Opened, such a picture takes 4 bytes a pixel: 160 MB.
MAX_PIXELS = 40_000_000

# A machine has two cores or more, and others want them too.
AT_ONCE = 2
# Each that waits holds a thread of its process.
WAITING = 6
WAIT_SECONDS = 30
# How long a child that nothing can stop otherwise may outlive its time.
GRACE_SECONDS = 5
CHILD = (sys.executable, "-s", "-B", "-m", "services.messaging.transcoding_child")
# Nothing of ours: the settings hold secrets. One arena, because each takes address space.
CHILD_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
ROOT = Path(__file__).parents[2]


class Task(StrEnum):
    """What is made of a file."""

    VOICE = "voice"  # mono opus in ogg
    VIDEO = "video"  # H.264 and AAC in MP4
    PICTURE = "picture"  # JPEG, or PNG where it is see-through
    STICKER = "sticker"  # WebP of 512 pixels a side, moving where the file moves


class Refusal(StrEnum):
    """Why the child made nothing."""

    BROKEN = "broken"
    NOTHING_INSIDE = "nothing_inside"
    UNSUPPORTED = "unsupported"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    TOO_HEAVY = "too_heavy"


class Refused(Exception):
    """Raised in the child: nothing is made."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why = why


class Loss(StrEnum):
    """What of the file is not in what was made of it."""

    CUT = "cut"  # the rest of a sticker that moves for too long
    STILL = "still"  # all but the first picture


@dataclass(frozen=True)
class Limits:
    """What a child may take, and how long a recording may last.

    `memory` is the child's address space and `output` its file, both in bytes.
    """

    cpu_seconds: int = 90
    wall_seconds: int = 120
    memory: int = 1024 * MB
    output: int = OUTPUT_BYTES
    voice_seconds: int = 15 * 60
    video_seconds: int = 3 * 60


LIMITS = Limits()


@dataclass(frozen=True)
class Transcoded:
    content: bytes = field(repr=False)
    losses: frozenset[Loss] = frozenset()


class NothingToConvert(InvalidInput):
    code = "arquivo_sem_conteudo"
    message = N_("Este arquivo {format} não tem o som ou a imagem que esta mensagem leva.")
    hint = N_("Confira se escolheu o arquivo certo, ou mande-o como documento.")


class FormatNotConverted(InvalidInput):
    """`params`: `format` as people call it, and `wanted`, what goes without a conversion."""

    code = "formato_nao_convertido"
    message = N_("Não foi possível converter este arquivo {format}: o que há dentro dele não é conhecido.")
    hint = N_("Salve-o como {wanted} no seu aparelho e envie de novo, ou mande-o como documento.")


class RecordingTooLong(InvalidInput):
    """`params["minutes"]` is the limit."""

    code = "gravacao_longa"
    message = N_("A gravação passa de {minutes} minutos, o limite para converter.")
    hint = N_("Corte-a em partes e envie de novo, ou mande-a como documento.")


class ConversionTooHeavy(InvalidInput):
    """It took more time or memory than a child may; `params` as those of FormatNotConverted."""

    code = "conversao_pesada"
    message = N_("A conversão deste arquivo {format} passou do tempo ou da memória permitidos e foi interrompida.")
    hint = N_("Envie um arquivo menor ou mais curto, ou já em {wanted}.")


class ConversionsBusy(RateLimited):
    code = "conversoes_ocupadas"
    message = N_("Há arquivos demais sendo convertidos agora.")
    hint = N_("Nada se perdeu. Espere {seconds} s e envie de novo.")


WANTED = {Task.VOICE: "OGG", Task.VIDEO: "MP4", Task.PICTURE: "JPEG", Task.STICKER: "WebP"}


def transcode(task: Task, content: bytes, format_name: str, limits: Limits = LIMITS) -> Transcoded:
    """Make of `content` what `task` says; waits for it, seconds to two minutes. `format_name` is for the sentences.

    Raises: FileBroken, PictureTooLarge, NothingToConvert, FormatNotConverted, RecordingTooLong, ConversionTooHeavy,
    ConversionsBusy.
    """
    with (
        conversion_place(),
        tempfile.TemporaryFile(buffering=0) as source,
        tempfile.TemporaryFile(buffering=0) as target,
    ):
        source.write(content)
        outcome = _run_child(task, source.fileno(), target.fileno(), limits)
        if isinstance(outcome, Refusal):
            _refuse(outcome, task, format_name, limits)
        target.seek(0)
        return Transcoded(target.read(), outcome)


def _nameless_file() -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0)


@functools.cache
def _places() -> tuple[threading.BoundedSemaphore, threading.BoundedSemaphore]:
    return threading.BoundedSemaphore(AT_ONCE + WAITING), threading.BoundedSemaphore(AT_ONCE)


@contextlib.contextmanager
def conversion_place() -> Iterator[None]:
    """One of few places; a short line may wait for one."""
    line, places = _places()
    if not line.acquire(blocking=False):
        raise ConversionsBusy("the line is full", seconds=WAIT_SECONDS)
    try:
        if not places.acquire(timeout=WAIT_SECONDS):
            raise ConversionsBusy("no place became free", seconds=WAIT_SECONDS)
        try:
            yield
        finally:
            places.release()
    finally:
        line.release()


def _run_child(task: Task, source: int, target: int, limits: Limits) -> frozenset[Loss] | Refusal:
    command = [*CHILD, task, str(source), str(target), json.dumps(asdict(limits))]
    # Its standard input ends when this process does, and with it the child.
    with (
        _nameless_file() as trace,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=CHILD_ENVIRONMENT,
            pass_fds=(source, target),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=trace,
        ) as child,
    ):
        assert child.stdout is not None
        try:
            status = child.wait(limits.wall_seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return Refusal.TOO_HEAVY
        finally:
            child.kill()
        if status == 0:
            return _outcome(json.loads(child.stdout.read()))
        trace.seek(0)
        log.warning("a conversion did not end by itself", task=task, status=status, error=_error_name(trace.read()))
    return _refusal_of(status)


def _outcome(said: dict[str, Any]) -> frozenset[Loss] | Refusal:
    return Refusal(said["refused"]) if "refused" in said else frozenset(map(Loss, said["losses"]))


def _error_name(trace: bytes) -> str:
    """The kind of the error that ended a traceback, without what it says."""
    last = trace.decode(errors="replace").strip().rpartition("\n")[2]
    return last.partition(":")[0][:80]


def _refusal_of(status: int) -> Refusal:
    """A decoder that fell over met a broken file; whoever else was ended had taken too much."""
    if status > 0:
        return Refusal.UNSUPPORTED
    fell = -status in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
    return Refusal.BROKEN if fell else Refusal.TOO_HEAVY


def _refuse(why: Refusal, task: Task, format_name: str, limits: Limits) -> NoReturn:
    names = {"format": format_name, "wanted": WANTED[task]}
    match why:
        case Refusal.NOTHING_INSIDE:
            raise NothingToConvert(task, **names)
        case Refusal.UNSUPPORTED:
            raise FormatNotConverted(task, **names)
        case Refusal.TOO_LONG:
            seconds = limits.voice_seconds if task is Task.VOICE else limits.video_seconds
            raise RecordingTooLong(task, minutes=seconds // 60)
        case Refusal.TOO_LARGE:
            raise PictureTooLarge(task)
        case Refusal.TOO_HEAVY:
            raise ConversionTooHeavy(task, **names)
    raise FileBroken(task)
