"""The rehearsal of a run: everything that follows the answers is done without them, before money is spent."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import polars as pl

from runner import metrics, parse
from runner.config.groups.reference import ReferenceConfig
from runner.core.errors import ConfigError, RunnerError, suggest
from runner.core.identity import digest
from runner.core.provider import REPLAY
from runner.core.types import REPEAT, Direction
from runner.engine.ledger import Ledger
from runner.experiment import model, stages
from runner.experiment.conditions import check_conditions, read_conditions
from runner.experiment.plan import Plan
from runner.experiment.reference import AVERAGES, check_figures, read_figures, select_averages
from runner.experiment.scoring import FIGURES, keep_known, rehearse_steps
from runner.metrics.repeated import check_repeats
from runner.money.usage import count_usage
from runner.parse.sides import list_values
from runner.pipeline.answer import leave_unanswered
from runner.pipeline.judge import VERDICT
from runner.pipeline.repeats import take_first, warn_of_equal

log = logging.getLogger(__name__)

FREE = ("name", "hyperparameter", "budget_usd", "max_failed", "tracking")
"""Settings that change nothing of what a rehearsal finds, apart from some hyperparameters."""


def rehearse(plan: Plan, frame: pl.DataFrame) -> dict[str, Direction]:
    """Run all stages after the answers on empty answers, to find errors before anything is paid.

    Returns the scores that are known to come, each with its direction. Raises for what could not be measured
    later: a gold value that is missing or cannot be read, a column that does not exist, an objective or a
    condition that names no score, a published figure that cannot be compared.
    """
    read_figures(plan.config.reference)
    averages = select_averages(plan.config.reference) if plan.config.average_over else ReferenceConfig()
    read_figures(averages, AVERAGES)
    repeats = int(frame[REPEAT].max() or 0) + 1 if REPEAT in frame.columns else 1  # type: ignore[arg-type]
    warn_of_equal(plan.responder, repeats)
    for judge in plan.panel.judges if plan.panel else ():
        warn_of_equal(judge.responder, judge.responder.repeats)
    frame = leave_empty(plan, frame)
    usage = count_usage(frame) | (dict.fromkeys(FIGURES, 0.0) if plan.config.scoring.steps else {})
    frame, repeats = rehearse_steps(plan, frame, repeats)
    check_made_columns(plan, frame)
    check_repeats(plan.metrics, frame, plan.config.scoring.reduce.value, repeats)
    directions, are_all = metrics.rehearse(plan.metrics, frame, keep_known(find_labels(plan), frame))
    read_conditions(plan.config.require)
    if are_all:
        check_objective(plan.config.objective, directions)
        check_figures(plan.config.reference, directions)
        check_figures(averages, directions, AVERAGES)
        check_conditions(plan.config.require, directions, usage)
    return directions


def leave_empty(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, each once, with all columns that follow the answers, as if nobody had answered."""
    frame = leave_unanswered(take_first(frame), plan.responder)
    frame = stages.add_probability(plan, stages.add_predictions(plan.responder, frame))
    return stages.judge_nothing(plan, frame)


class Rehearsal:
    """Rehearses the plans of a sweep: reads each data set once, and skips what it has rehearsed before."""

    def __init__(self) -> None:
        self._rows: dict[str, stages.Rows] = {}
        self._known: dict[str, dict[str, Direction]] = {}
        self._faults: dict[str, RunnerError] = {}
        self._orders: set[str] = set()

    def __call__(self, plan: Plan) -> dict[str, Direction]:
        """Do what :func:`rehearse` does, and check the training of the plan, if it has one."""
        config = plan.config
        settings = {name: value for name, value in vars(config).items() if name not in FREE}
        given = config.hyperparameter
        key = digest(
            [repr(settings), repr(given) if plan.tuner else [given.n_shot, given.logprobs, given.repeats]]
        )
        if fault := self._faults.get(key):
            raise fault
        if key not in self._known:
            try:
                self._known[key] = self._rehearse(plan)
            except RunnerError as error:
                self._faults[key] = error
                raise
        return self._known[key]

    def _rehearse(self, plan: Plan) -> dict[str, Direction]:
        data = digest(repr(plan.config.dataset))
        if data not in self._rows:
            self._rows[data] = stages.load_rows(plan.config.dataset)
        frame = stages.render(plan, self._rows[data])
        directions = rehearse(plan, frame)
        self._check_training(plan, frame)
        return directions

    def _check_training(self, plan: Plan, frame: pl.DataFrame) -> None:
        if plan.tuner is None or plan.config.checkpoint == "base":
            model.find_existing_provider(plan, plan.config.checkpoint)
            return
        with closing(Ledger(plan.config.ledger.url)) as ledger:
            model.check_training(plan, frame, ledger, self._orders)


def find_labels(plan: Plan) -> dict[str, list[str]]:
    """Return all values that predictions, gold values and verdicts can have, where this is known."""
    labels = list_values(plan.responder.parser)
    judged = plan.panel.columns if plan.panel else {VERDICT: []}
    return {"prediction": labels, "target": labels, **judged}


def check_made_columns(plan: Plan, frame: pl.DataFrame) -> None:
    """Refuse a metric of a column that a setting would make: the verdict, or the probability of a label."""
    positive, labels = plan.config.dataset.params.get("positive"), parse.classes(plan.responder.parser)
    named = [metric for key, metric in plan.metrics.items() if key not in plan.added]
    if plan.panel and not any(map(reads_verdicts, named)):
        log.warning(
            "no metric reads the judge's verdicts; metric=verdict_share does (metric.verdict_share.value says"
            " which it counts), and judge=none saves its calls"
        )
    for key, metric in plan.metrics.items():
        read = {value for name, value in vars_of(metric).items() if name != "name" and isinstance(value, str)}
        if VERDICT in read and VERDICT not in frame.columns:
            raise ConfigError(
                f"metric.{key}: the rows have no column 'verdict'; set judge, such as judge=correctness"
            )
        if stages.PROBABILITY not in read:
            continue
        if stages.PROBABILITY not in frame.columns:
            raise ConfigError(f"metric.{key}: the rows have no column 'probability'; {explain_missing(plan)}")
        asked = vars_of(metric).get("positive", positive)
        if str(positive) in labels and str(asked) != str(positive):
            raise ConfigError(
                f"metric.{key}.positive: {asked!r}, but the column 'probability' is that of {positive!r} "
                "(dataset.params.positive)"
            )


def reads_verdicts(metric: object) -> bool:
    """Whether a metric may read verdicts; what a metric without settings reads is not known."""
    settings = vars_of(metric)
    return not settings or VERDICT in map(str, settings.values()) or VERDICT in str(settings.get("metric"))


def vars_of(metric: object) -> dict[str, Any]:
    """Return the settings of a metric; a plain function has none."""
    return dict(getattr(metric, "__dict__", {}))


def explain_missing(plan: Plan) -> str:
    """Return which setting makes the probability of a label."""
    provider, labels = plan.responder.provider, parse.classes(plan.responder.parser)
    if provider.name == REPLAY:
        return "recorded answers have no log-probabilities; name a column that has probabilities"
    if not provider.gives_logprobs(plan.responder.sampling):
        return "set hyperparameter.logprobs, such as hyperparameter.logprobs=20"
    if not labels:
        return "prompt.parser must have a closed set of labels, such as runner.parse.Label"
    positive = plan.config.dataset.params.get("positive")
    return f"dataset.params.positive={positive} must name one of the labels{suggest(str(positive), labels)}"


def check_objective(objective: str | None, names: Iterable[str]) -> None:
    """Raise :class:`ConfigError` if the objective is not among the names of the scores."""
    known = list(names)
    if objective is not None and objective not in known:
        raise ConfigError(f"objective: {objective!r} is not a metric{suggest(objective, known)}")
