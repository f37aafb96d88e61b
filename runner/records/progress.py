"""How far a run is, in ``progress.json`` of its folder while it is under way.

The file stays where the run was killed or interrupted, so that the next command can say how far it came and
end it in MLflow.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from runner.core.files import require_plain, write_atomically
from runner.records.folder import PROGRESS

EVERY_S = 1.0

TRAINING, ANSWERS, JUDGE = "training", "answers", "judge"


@dataclass(frozen=True)
class Progress:
    """How far a run is. Times are seconds since the epoch."""

    time: float = 0.0
    stage: str = ANSWERS
    """``training``, ``answers`` or ``judge``."""
    done: int = 0
    """Rows of this stage that are done."""
    wanted: int = 0
    """Rows of this stage."""
    earlier: int = 0
    """Rows that stages before this one have finished."""
    rows_per_s: float | None = None
    """Rows a second, over the last ten seconds."""
    errors: int = 0
    """Calls that failed for good."""
    cost_usd: float | None = 0.0
    """Dollars spent on answers so far; None if a price is unknown."""
    share: float | None = None
    """The share of the training that is done, from 0 to 1, where the provider says."""
    tracked: str = ""
    """Where the run is shown while it is under way (:func:`runner.tracking.name_place`); empty: nowhere."""
    run_id: str | None = None
    """Its run there, as soon as there is one."""


def write_progress(folder: Path, progress: Progress) -> None:
    """Write ``progress.json``."""
    with write_atomically(folder / PROGRESS) as file:
        file.write_text(json.dumps(asdict(progress)))


def read_progress(folder: Path) -> Progress | None:
    """What :func:`write_progress` wrote; None without a file that can be read."""
    try:
        found = json.loads(require_plain(folder / PROGRESS).read_text())
        known = {field.name: found[field.name] for field in fields(Progress) if field.name in found}
        progress = Progress(**known)
        numbers = (progress.time, progress.done, progress.wanted, progress.errors)
        is_sound = all(isinstance(number, int | float) for number in numbers)
        is_sound &= isinstance(progress.rows_per_s, float | int | None) and isinstance(progress.tracked, str)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return progress if is_sound else None


def remove_progress(folder: Path) -> None:
    """Remove ``progress.json`` of a run that is over."""
    with suppress(OSError):
        (folder / PROGRESS).unlink(missing_ok=True)


@contextmanager
def keep_progress(folder: Path, read: Callable[[], Progress]) -> Iterator[Callable[[], None]]:
    """Yield a function that starts a thread, which writes ``read()`` into ``folder`` every second.

    Nothing is written in the first second, so that quick runs do not pay for it. The file is removed at the
    end of the block, unless this was interrupted.
    """
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(EVERY_S):
            with suppress(OSError):  # a full disk stops the run elsewhere
                write_progress(folder, read())

    writer = threading.Thread(target=write, name="progress", daemon=True)

    def start() -> None:
        if writer.ident is None:
            writer.start()

    try:
        yield start
    except Exception:
        _end(writer, ended)
        remove_progress(folder)
        raise
    except BaseException:
        _end(writer, ended)
        if writer.ident is not None:
            with suppress(OSError):
                write_progress(folder, read())
        raise
    _end(writer, ended)
    remove_progress(folder)


def _end(writer: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    if writer.ident is not None:
        writer.join()


def say_progress(progress: Progress, started: float, now: float | None = None) -> str:
    """Say how far a run is; ``now`` is given for a run under way, whose time and rate are then named, too.

    >>> say_progress(Progress(done=120, wanted=1000, rows_per_s=14.2), started=100.0, now=171.0)
    '120 of 1,000 rows, 14.2 rows/s, 1:11'
    >>> say_progress(Progress(stage="judge", done=5, wanted=9), started=0.0)
    '5 of 9 rows judged'
    """
    said = f"{progress.done:,} of {progress.wanted:,} rows"
    if progress.stage == JUDGE:
        said += " judged"
    elif progress.stage == TRAINING:
        said = "training" if progress.share is None else f"training, {progress.share:.0%}"
    if now is None:
        return said
    rate = f"{progress.rows_per_s:.1f} rows/s" if progress.rows_per_s else ""
    seconds = max(0, int(now - started))
    hours, minutes = divmod(seconds // 60, 60)
    lasts = f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
    return ", ".join(filter(None, [said, rate, lasts]))
