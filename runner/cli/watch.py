"""What others see of a run while it is under way: its progress in its folder, and its run in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from runner import tracking
from runner.cli.sweep import open_parent, read_tracking
from runner.cli.sweep_end import close_killed
from runner.config import hydra_job
from runner.core.errors import RunnerError
from runner.experiment.tally import Tally
from runner.records.progress import Progress, keep_progress, write_progress
from runner.records.record import Record
from runner.tracking.live import LiveRun


class Watch:
    """Tells of one run, whose ``tally`` counts what it does."""

    def __init__(self, record: Record, folder: Path, config: DictConfig) -> None:
        self._record, self._folder, self._config = record, folder, config
        self._sweep = Path(hydra_job.get_settings().sweep.dir) if record.sweep else None
        self.tally = Tally(self._resume, self._pause)
        self._on_begin: Callable[[], None] = lambda: None
        self._start_writing: Callable[[], None] = lambda: None
        self._place = ""
        self._live: LiveRun | None = None
        self._is_left_over = False

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep the progress in the folder within the block; an interrupt also ends the run in MLflow.

        It stays there if MLflow, which shows the run, failed at its end: the next command ends the run there.
        """
        with keep_progress(self._folder, self._read) as self._start_writing:
            try:
                yield
            except Exception:
                raise
            except BaseException:
                if self._live:
                    self._live.kill()
                raise
        if self._is_left_over:
            write_progress(self._folder, self._read())

    def prepare(self, on_begin: Callable[[], None]) -> None:
        """Get ready, now that the config is right; ``on_begin`` is called before the first call."""
        self._on_begin = on_begin

    def end(self) -> str | None:
        """Log the run that has ended and return its id in MLflow; None if it is not there."""
        live, mistake = self._live, self._record.mistake
        if mistake:
            if live:
                live.drop()
            return None
        last = live.end() if live else None
        settings = read_tracking(self._config)
        if not settings.enabled:
            return None
        tracked = tracking.log_run(self._folder, settings, self._find_parent(), last)
        self._is_left_over = last is not None and tracked is None
        if tracked and self._sweep is None:
            close_killed(self._folder.parents[1], settings)
        return tracked

    def _resume(self) -> None:
        if self._live is None:
            self._on_begin()
            self._record.write(self._folder)  # what a killed run was
            settings = read_tracking(self._config)
            self._place = tracking.name_place(settings) if settings.enabled else ""
            self._live = LiveRun(self._folder, settings, self.tally.read, self._find_parent)
            self._start_writing()
        self._live.resume(self._record)

    def _pause(self) -> None:
        if self._live:
            self._live.pause()

    def _read(self) -> Progress:
        run_id = self._live.run_id if self._live else None
        return replace(self.tally.read(), tracked=self._place, run_id=run_id)

    def _find_parent(self) -> str | None:
        if self._sweep is None:
            return None
        with suppress(RunnerError):  # logging the run fails with the same error and reports it
            return open_parent(self._sweep, self._config)
        return None
