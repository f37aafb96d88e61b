"""The rehearsal of a sweep: every point is composed, built and tried before the first call."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from runner import tracking
from runner.config.composer import copy_config
from runner.config.explain import tell_places
from runner.config.groups.reference import AveragesConfig
from runner.config.hydra_job import get_hydra_overrides, get_overrides, list_typed, use_settings
from runner.config.points import find_swept
from runner.core.errors import ConfigError, count_of, is_mistake
from runner.core.types import Direction
from runner.experiment.plan import Plan, make_plan
from runner.experiment.rehearsal import Rehearsal
from runner.experiment.seeds import SweptSeeds
from runner.experiment.unused import Unused, warn_of_unused
from runner.records.averages import AveragePlan, check_plan, group_points
from runner.records.ranking import WORDS, choose_objective

log = logging.getLogger(__name__)

MOST_NUMBERS = 12
OPTUNA = {"higher": "maximize", "lower": "minimize"}


def make_checked_plan(config: DictConfig, asks: bool = True) -> Plan:
    """Return the plan of a config, whose address of MLflow is checked, too."""
    plan = make_plan(config, asks)
    tracking.check(plan.config.tracking)
    return plan


def plan_averages(
    points: Mapping[int, DictConfig], fixed: Mapping[str, str], are_all: bool
) -> AveragePlan | None:
    """How the points of a sweep are averaged, by ``average_over``; None if they are not.

    ``fixed`` are the overrides that they share. ``are_all`` is false for a sample of points that are chosen
    one after another. Raises :class:`ConfigError` for a key that is not swept, for points that say different
    things, and for a published average of other points than these.
    """
    settings = [_read_averages(point) for point in points.values()]
    over = settings[0][0] if settings else []
    if any(keys != over for keys, _ in settings):
        raise ConfigError("average_over: not all points of the sweep have the same keys")
    if not over:
        return None
    if not are_all:
        raise ConfigError(
            "average_over: this sweeper chooses one point after another, so none belong together"
        )
    plan = AveragePlan(over, [find_swept(get_overrides(point.hydra), fixed) for point in points.values()])
    check_plan(plan)
    for group in group_points(plan):
        _check_published([settings[place][1] for place in group])
    return plan


def _read_averages(point: DictConfig) -> tuple[list[str], AveragesConfig]:
    """The keys over which a point is averaged, and the published averages that it is compared with."""
    over = list(dict.fromkeys(point.get("average_over") or []))
    reference: Any = OmegaConf.to_object(point.reference) if over else None
    return over, reference.averages if reference and reference.compare else AveragesConfig()


def _check_published(averages: Sequence[AveragesConfig]) -> None:
    """Raise :class:`ConfigError` if the points of one average are not those of a published one."""
    figures, wanted = averages[0].figures, averages[0].points
    cases = list(dict.fromkeys(str(one.case) for one in averages if one.figures))
    if len(cases) > 1:
        raise ConfigError(
            f"reference.averages.case: the points of one average have several: {', '.join(cases)}"
        )
    if figures and wanted is not None and wanted != len(averages):
        raise ConfigError(
            f"reference.averages.points: the published averages are over {count_of(wanted, 'point')}, and"
            f" one of this sweep is over {len(averages)}; sweep them all, or set average_over=[]"
            " or reference.compare=false"
        )


def rehearse_sweep(config: DictConfig, points: Mapping[int, DictConfig], are_all: bool, asks: bool) -> None:
    """Rehearse the points of a sweep, by number. Raises :class:`ConfigError` that names all mistakes.

    A sweeper that chooses its points one after another has none yet. Then a sample is rehearsed (``are_all``
    is false), and Optuna gets the direction of the objective, unless it is set.
    """
    rehearsal, seeds, mistakes = Rehearsal(), SweptSeeds(), dict[str, list[int]]()
    unused = Unused()
    with _be_silent():
        for number, point in points.items():
            try:
                with _use_job(point, number) as task, tell_places(point.hydra):
                    plan = make_checked_plan(task, asks)
                    scores = rehearsal(plan)
                    seeds.note(plan)
                    unused.note(plan, list_typed(get_overrides(point.hydra)))
                    _set_direction(config, task.objective, {} if are_all else scores)
            except Exception as error:
                if is_mistake(error):
                    mistakes.setdefault(str(error), []).append(number)
                else:  # the point itself reports it
                    log.debug("point %d could not be rehearsed", number, exc_info=True)
    if mistakes:
        raise ConfigError(_describe_mistakes(mistakes, len(points)))
    seeds.check()
    warn_of_unused(unused.list_common())


def _describe_mistakes(mistakes: Mapping[str, list[int]], points: int) -> str:
    """Each mistake once, after the numbers of its points; without these where every point has it."""
    if len(mistakes) == 1 and len(next(iter(mistakes.values()))) >= points:
        return next(iter(mistakes))
    lines = [f"{_list_numbers(numbers)} {said}" for said, numbers in mistakes.items()]
    wrong = sum(map(len, mistakes.values()))
    lines.append(f"nothing was asked, since {wrong} of {count_of(points, 'point')} cannot be run")
    return "\nerror: ".join(lines)


def _list_numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - MOST_NUMBERS} more:" if len(numbers) > MOST_NUMBERS else ""
    return " ".join(f"[{number}]" for number in numbers[:MOST_NUMBERS]) + more


def _set_direction(config: DictConfig, name: str | None, scores: Mapping[str, Direction]) -> None:
    """Let Optuna look for the better end of the objective, unless the user says which end."""
    sweeper = config.hydra.sweeper
    objective = choose_objective(name, scores)
    given = getattr(sweeper.get("direction"), "name", sweeper.get("direction"))  # a text, or Optuna's enum
    if not isinstance(given, str) or scores.get(objective or "") not in WORDS:
        return
    fitting = OPTUNA[scores[str(objective)]]
    typed = any("hydra.sweeper.direction=" in text for text in get_hydra_overrides(config.hydra))
    if not typed and given == OPTUNA["lower"]:  # Optuna's own default
        with open_dict(config.hydra):
            sweeper.direction = fitting
    elif given != fitting:
        print(
            f"hydra.sweeper.direction={given} looks for the worst {objective}, of which"
            f" {WORDS[scores[str(objective)]]}",
            file=sys.stderr,
        )


@contextmanager
def _use_job(point: DictConfig, number: int) -> Iterator[DictConfig]:
    """Yield the config of a point as its job gets it; ``${hydra:…}`` has the values of this job."""
    with open_dict(point):
        point.hydra.job.id, point.hydra.job.num = f"job_id_{number}", number
        point.hydra.runtime.output_dir = str(Path(str(point.hydra.sweep.dir)) / str(number))
    task = copy_config(point)
    with open_dict(task):
        del task["hydra"]
    settings: Any = HydraConfig.instance()
    before, settings.cfg = settings.cfg, point
    try:
        with use_settings(point.hydra):
            yield task
    finally:
        settings.cfg = before


@contextmanager
def _be_silent() -> Iterator[None]:
    """Log no warnings, since each point gives its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
