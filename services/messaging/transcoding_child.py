"""The process that converts one file: `python -m services.messaging.transcoding_child TASK SOURCE TARGET LIMITS`.

`SOURCE` and `TARGET` are numbers of open files. It answers with one line of JSON on its standard output. It ends
itself at its limits, and when its standard input ends, which its parent holds open.
"""

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from io import FileIO

from services.messaging.transcoding import Limits, Loss, Refusal, Refused, Task

# The file's bytes → what was made, and what is lost in it.
Converter = Callable[[bytes], tuple[bytes, set[Loss]]]


def main(arguments: list[str]) -> None:
    """Convert one file and say what came of it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task, source, target, limits = Task(arguments[0]), arguments[1], arguments[2], Limits(**json.loads(arguments[3]))
    convert = _converter(task, limits)  # what it imports must be read before no file can be opened any more
    with open(int(source), "rb") as file:
        file.seek(0)
        content = file.read()
    with open(int(target), "wb", buffering=0) as file:
        _restrict(limits)
        answer = _answer(convert, content, file, limits.output)
    sys.stdout.write(json.dumps(answer))


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def _converter(task: Task, limits: Limits) -> Converter:
    """Only the libraries of this task are imported."""
    if task in (Task.VOICE, Task.VIDEO):
        from services.messaging import transcoding_av

        if task is Task.VOICE:
            return partial(transcoding_av.write_voice, most_seconds=limits.voice_seconds)
        return partial(transcoding_av.write_video, most_seconds=limits.video_seconds)
    from services.messaging import transcoding_pictures

    return transcoding_pictures.write_picture if task is Task.PICTURE else transcoding_pictures.write_sticker


def _restrict(limits: Limits) -> None:
    """From here on: no further file or connection, and an end to time, processor and memory."""
    os.nice(10)
    signal.alarm(limits.wall_seconds)
    for which, most in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.output),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (most, most))


def _answer(convert: Converter, content: bytes, file: FileIO, most: int) -> dict[str, object]:
    try:
        made, losses = convert(content)
        if len(made) > most:
            raise Refused(Refusal.TOO_HEAVY)
        file.write(made)
    except Refused as refused:
        return {"refused": refused.why}
    except MemoryError:
        return {"refused": Refusal.TOO_HEAVY}
    return {"losses": sorted(losses)}


if __name__ == "__main__":
    main(sys.argv[1:])
