"""A sweep as a whole: its folder, the overrides that its points share, and its parent run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException

from runner.config.hydra_job import get_overrides
from runner.config.schema import TrackingConfig
from runner.core.errors import RunnerError
from runner.engine.fresh import read_fresh
from runner.records.alive import hold_alive, is_alive
from runner.records.folder import list_points, name_folder, read_notes, write_notes
from runner.records.progress import read_progress

if TYPE_CHECKING:
    from runner.pipeline.keeping import SweepKeeper


@dataclass(frozen=True)
class Sweep:
    """A sweep that this process has opened.

    ``keeper`` keeps deployments from point to point, where the points run in this process and are known.
    """

    folder: Path
    config: DictConfig
    keeper: SweepKeeper | None = None
    alive: ExitStack = field(default_factory=ExitStack)

    def end_hosting(self, interrupted: bool) -> None:
        """Delete what was kept; and, after Ctrl-C, what points leave that were killed by their launcher."""
        if self.keeper:
            self.keeper.close()
        elif interrupted and not _runs_here(self.config):
            with suppress(RunnerError, OmegaConfBaseException):
                self._delete_orphans()

    def _delete_orphans(self) -> None:
        from runner.engine.ledger import Ledger
        from runner.experiment.plan import make_deployer
        from runner.pipeline.hosting import delete_leftovers

        tuner = make_deployer(OmegaConf.to_container(self.config.provider, resolve=True))
        if tuner:
            with closing(Ledger(self.config.ledger.url)) as ledger:
                delete_leftovers(tuner, ledger, hurried=True)


def _runs_here(config: DictConfig) -> bool:
    """Whether the points of a sweep run in this process."""
    launcher = config.hydra.launcher
    return bool(launcher.get("in_this_process", "BasicLauncher" in str(launcher.get("_target_"))))


EXPERIMENT_LENGTH = 250
_opened: dict[Path, Sweep] = {}
_open_sweeps: ContextVar[list[Sweep] | None] = ContextVar("opened", default=None)
_parent_lock = threading.Lock()


@contextmanager
def collect_sweeps() -> Iterator[list[Sweep]]:
    """Yield a list to which the sweeps are added that Hydra starts within the block."""
    sweeps: list[Sweep] = []
    token = _open_sweeps.set(sweeps)
    try:
        yield sweeps
    finally:
        _open_sweeps.reset(token)
        for sweep in sweeps:
            _opened.pop(sweep.folder, None)
            sweep.alive.close()


def end_hosting(interrupted: bool) -> None:
    """Delete the deployments of the sweeps that :func:`collect_sweeps` has collected."""
    for sweep in _open_sweeps.get() or ():
        sweep.end_hosting(interrupted)


def kill_sweeps(sweeps: Sequence[Sweep]) -> None:
    """End the parent runs of interrupted sweeps in MLflow, and those of points that were killed with them.

    It takes a second at most; the next command does what is left.
    """
    for sweep in sweeps:
        with suppress(OmegaConfBaseException, OSError):
            progress = [read_progress(point) for point in list_points(sweep.folder) if not is_alive(point)]
            found = [read_notes(sweep.folder).get("parent"), *(one.run_id for one in progress if one)]
            settings = read_tracking(sweep.config)
            if "mlflow" in sys.modules and settings.enabled:
                from runner import tracking

                tracking.kill_runs([str(run_id) for run_id in found if run_id], settings)


def find_keeper(folder: Path) -> SweepKeeper | None:
    """Return what keeps deployments for the sweep in ``folder``; None if its points are not known here."""
    return _opened[folder].keeper if folder in _opened else None


class SweepRefused(BaseException):
    """Ends a sweep before it begins. ``reason`` is the error to show."""

    def __init__(self, reason: RunnerError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class OpenSweep(Callback):
    """Hydra callback that prepares a sweep in the launching process, before the first point starts."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Rehearse the points, and create the folder, and the parent run if points are processes.

        Raises :class:`SweepRefused` if a point has a mistake: Hydra catches any other exception.

        If points are threads, the first one creates the parent run: the others then wait for servers while
        MLflow is imported.
        """
        from runner.cli.sweep_start import plan_averages, rehearse_sweep
        from runner.config.points import compose_points, compose_sample, find_fixed

        _name_fresh(config)
        points, overrides = compose_points(config), get_overrides(config.hydra)
        fixed, tried, are_all = find_fixed(overrides), points or compose_sample(config), bool(points)
        asks = _runs_here(config) or "joblib" in str(config.hydra.launcher)
        try:
            averaged = plan_averages(tried, fixed, are_all)
            rehearse_sweep(config, tried, are_all, asks)
        except RunnerError as error:
            raise SweepRefused(error) from error
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        notes: dict[str, Any] = {"name": name_sweep(config), "fixed": fixed, "overrides": overrides}
        if averaged:
            notes |= {"average_over": averaged.over, "planned": averaged.points}
        sweep = Sweep(folder, config, _make_keeper(config, points))
        sweep.alive.enter_context(hold_alive(folder))
        write_notes(folder, notes | {"started": time.time()})
        settle_experiment(config, folder)
        sweeps = _open_sweeps.get()
        if sweeps is not None:
            _opened[folder] = sweep
            sweeps.append(sweep)
        if not config.hydra.launcher.get("in_this_process", False):
            with suppress(RunnerError):  # the points fail with the same error and report it
                open_parent(folder, config)


def _name_fresh(config: DictConfig) -> None:
    """Give all points of a sweep, and the processes that run them, one name for ``fresh: true``."""
    if config.get("fresh") is True:
        with open_dict(config.hydra):
            config.hydra.overrides.task.append(f"fresh={read_fresh(True)}")


def open_parent(folder: Path, config: DictConfig) -> str | None:
    """Return the id of the sweep's parent run, created at the first call; None if MLflow cannot be used.

    Raises :class:`runner.core.errors.ConfigError` for a wrong address or experiment name.
    """
    from runner import tracking

    with _parent_lock:
        notes = read_notes(folder)
        if notes.get("parent") is None:
            settings = read_tracking(config)
            name, started = notes.get("name", "sweep"), notes.get("started")
            tags = {"folder": name_folder(folder)}
            notes["parent"] = tracking.open_sweep(name, folder.name, settings, tags, started)
            notes["tracked"] = tracking.name_place(settings)
            write_notes(folder, notes)
        return cast("str | None", notes["parent"])


def _make_keeper(config: DictConfig, points: Mapping[int, DictConfig]) -> SweepKeeper | None:
    """Return what keeps deployments, if points in this process may share some."""
    texts = get_overrides(config.hydra)
    trains = OmegaConf.select(config, "finetune.name") not in (None, "none") or any(
        "finetune" in text or "experiment" in text for text in texts
    )
    if not trains or not _runs_here(config):
        return None
    from runner.experiment.model import find_need
    from runner.pipeline.keeping import SweepKeeper

    needs = {}
    for number, point in points.items():
        with suppress(OmegaConfBaseException):  # the point itself reports it
            needs[number] = find_need(_read_plain(point))
    return SweepKeeper({number: need for number, need in needs.items() if need})


def _read_plain(config: DictConfig) -> dict[str, Any]:
    groups = ("finetune", "checkpoint", "dataset", "hyperparameter", "provider", "prompt")
    return {
        name: OmegaConf.to_container(config[name], resolve=True, enum_to_str=True)
        if OmegaConf.is_config(config[name])
        else config[name]
        for name in groups
    }


def get_name(config: DictConfig, otherwise: str = "sweep") -> str:
    """Return the name in a config, or ``otherwise`` if it has none that can be resolved."""
    try:
        return str(config.get("name") or otherwise)
    except OmegaConfBaseException:  # such as p${hydra:job.num}, which only a point has
        return otherwise


def name_sweep(config: DictConfig) -> str:
    """Return the name of a sweep: of its config, or of its points where the name itself is swept."""
    named = str(OmegaConf.to_container(config, resolve=False).get("name"))  # type: ignore[union-attr]
    from runner.config.points import compose_points, list_swept

    if "${hydra:job." in named:  # only a point has it
        return "sweep"
    swept = list_swept(get_overrides(config.hydra))
    if not any("${" in named and key.split(".")[0].split("/")[0] in named for key in swept):
        return get_name(config)
    names = list(dict.fromkeys(get_name(point) for point in compose_points(config).values()))
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join([*names[:3], *more]) or get_name(config)


def settle_experiment(config: DictConfig, sweep: Path | None = None) -> None:
    """Set the experiment in MLflow if the config has none: the name of the run, or of the sweep in ``sweep``.

    All points of a sweep are in one experiment, since MLflow shows a run below its parent only there.
    """
    if config.tracking.experiment_name is None:
        name = read_notes(sweep).get("name") if sweep else None
        with flag_override(config, ["readonly", "struct"], False):
            config.tracking.experiment_name = str(name or get_name(config, "run"))[:EXPERIMENT_LENGTH]


def read_tracking(config: DictConfig) -> TrackingConfig:
    """Return the group ``tracking`` of a config."""
    return cast(TrackingConfig, OmegaConf.to_object(config.tracking))
