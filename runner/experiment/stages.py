"""The stages of a run, which :mod:`runner.experiment.run` calls in order. Each takes and returns values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from runner import metrics, parse
from runner.config.dataset_schema import DatasetConfig
from runner.core.errors import ConfigError, DataError, MetricError, RunnerError, suggest
from runner.core.once import once
from runner.core.provider import REPLAY
from runner.core.types import Score
from runner.data import dataset
from runner.data.fingerprint import describe_rows
from runner.engine.allowance import Allowance
from runner.engine.ledger import Ledger
from runner.experiment.gaps import explain_no_answers, find_first_error
from runner.experiment.plan import Plan
from runner.experiment.reference import Answering, compare_figures, describe_averages
from runner.experiment.scoring import Scored, keep_known
from runner.experiment.tally import Tally, follow
from runner.metrics.repeated import EACH, find_spreads, over_repeats
from runner.money.usage import count_usage
from runner.pipeline import gold, label_probability, repeats, shots
from runner.pipeline.answer import OpenBar, Responder, answer_rows, parse_answers, render_chats
from runner.pipeline.judge import Judge, Panel, judge_rows, leave_unjudged
from runner.records.progress import JUDGE

log = logging.getLogger(__name__)

PROBABILITY = "probability"


@dataclass(frozen=True)
class Rows:
    """The rows of a data set: the evaluated split, the train split, and a description of all splits."""

    evaluated: pl.DataFrame
    train: pl.DataFrame
    described: list[dict[str, Any]]
    """Per split: name, source, digest, number of rows."""


@dataclass(frozen=True)
class Measurements:
    """What was measured on a frame of predictions."""

    scores: dict[str, Score] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    reference: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    first_error: str | None = None
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the scores of rows that were asked several times: the variance between rows and between repeats."""
    no_spread: dict[str, str] = field(default_factory=dict)
    """Why other scores of such rows do not have it."""
    failures: list[RunnerError] = field(default_factory=list)
    """Why metrics failed; the scores of the others are there."""

    def check(self) -> None:
        """Raise :class:`MetricError` if a metric failed."""
        if self.failures:
            reasons = "\n".join(map(str, self.failures))
            raise MetricError(
                f"{reasons}; the answers are kept, so the same command measures again for nothing"
            )


def load_rows(config: DatasetConfig) -> Rows:
    """Load the evaluated split and the train split of a data set.

    Raises :class:`DataError` if the evaluated split is empty.
    """
    return choose_splits(config, dataset.load_rows(config))


def choose_splits(config: DatasetConfig, frame: pl.DataFrame) -> Rows:
    """Pick the splits that a run uses from all rows of a data set; raises as :func:`load_rows`."""
    evaluated, train = (
        frame.filter(pl.col("split") == name) for name in (config.split.evaluate, config.split.train)
    )
    if evaluated.is_empty():
        found = ", ".join(frame["split"].unique().sort())
        raise DataError(
            f"dataset.split.evaluate: {config.split.evaluate!r} has no rows; the splits are: {found}"
        )
    return Rows(evaluated, train, describe_rows(config, frame))


def render(plan: Plan, rows: Rows) -> pl.DataFrame:
    """Return the evaluated rows with their shots and chats, each row as often as it is asked.

    Raises for templates or shots that do not fit.
    """
    prompt = plan.responder.prompt
    prompt.check(rows.evaluated.columns)
    _warn_of_oversight(plan.responder, rows.evaluated.columns, "prompt")
    plan.responder.check(rows.evaluated.columns)
    chosen = shots.choose_shots(rows.train, rows.evaluated, plan.config.hyperparameter.n_shot, prompt)
    shown = rows.train[sorted({number for numbers in chosen for number in numbers})]
    tags, is_judged = plan.responder.provider.thinking_tags, plan.panel is not None
    gold.check_turns(shown, prompt, plan.responder.parser, "shot", tags, is_judged)
    frame = rows.evaluated.with_columns(shots.list_shot_ids(rows.train, chosen))
    frame = render_chats(frame, prompt, shots.list_shot_rows(rows.train, chosen))
    frame = repeats.repeat_rows(frame, repeats.count_repeats(plan.responder, frame))
    return repeats.read_beside(plan.responder, frame)


def answer(
    responder: Responder,
    frame: pl.DataFrame,
    ledger: Ledger,
    open_bar: OpenBar,
    allowance: Allowance | None = None,
    tally: Tally | None = None,
) -> pl.DataFrame:
    """Ask the model about all rows; add completions, predictions and gold values."""
    bar = open_bar(responder.provider.model, frame.height)
    with (tally or Tally()).open_stage(responder, frame.height) as stage:
        answered = answer_rows(frame, responder, ledger, follow(bar, stage), allowance, stage.note)
    return add_predictions(responder, answered)


def add_predictions(responder: Responder, frame: pl.DataFrame) -> pl.DataFrame:
    """Parse the predictions, and the gold values with the same parser."""
    if "target" not in frame.columns:
        return parse_answers(frame, responder.parser)
    target = parse.parse_target(responder.parser, frame["target"], frame["id"])
    return parse_answers(frame, responder.parser, gold=target.dtype).with_columns(target)


def add_probability(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the probability of the positive class, if the answers have log-probabilities."""
    positive = plan.config.dataset.params.get("positive")
    return label_probability.add_probability(frame, plan.responder.parser, positive)


def require_answers(frame: pl.DataFrame) -> None:
    """Raise what :func:`explain_no_answers` returns."""
    if error := explain_no_answers(frame):
        raise error


def judge(
    plan: Plan,
    frame: pl.DataFrame,
    ledger: Ledger,
    open_bar: OpenBar,
    allowances: Sequence[Allowance | None] = (),
    tally: Tally | None = None,
) -> pl.DataFrame:
    """Add the verdicts of the judges, if the plan has any."""
    panel = plan.panel
    if panel is None:
        return frame
    check_judges(panel, frame)
    bar, first = open_bar(panel.label, frame.height), panel.judges[0].responder
    with (tally or Tally()).open_stage(first, frame.height, JUDGE) as stage:
        notes = [stage.note_for(judge.responder) for judge in panel.judges]
        return judge_rows(frame, panel, ledger, follow(bar, stage), allowances, notes)


def check_judges(panel: Panel, frame: pl.DataFrame) -> None:
    """Refuse a judge's template or sides that name a column which the rows do not have.

    Recorded verdicts must be as many as the judge is asked. No row may have a member's columns already.
    """
    for judge in panel.judges:
        _check_judge(judge, frame)


def _check_judge(judge: Judge, frame: pl.DataFrame) -> None:
    repeats.count_repeats(judge.responder, frame)
    own = f"judge_{judge.name}_"
    if judge.name and (taken := [name for name in frame.columns if name.startswith(own)]):
        raise ConfigError(f"judge.members.{judge.name}: the rows already have a column {taken[0]!r}")
    sides = judge.sides.columns if judge.sides else ()
    for side in sides:
        if side not in frame.columns:
            raise ConfigError(f"judge.both_orders: no column {side!r}{suggest(side, frame.columns)}")
    prompt = judge.responder.prompt
    known = [*frame.columns, *(["first", "second"] if sides else [])]
    prompt.check(known, judge.prompt_key)
    _warn_of_oversight(judge.responder, known, judge.prompt_key)
    shown = {name for turn in (prompt.system, prompt.user) if turn for name in turn.variables}
    if sides and "row" not in shown and (hidden := {"first", "second"} - shown):
        raise ConfigError(
            f"{judge.prompt_key}.user: it does not show {{{{ {min(hidden)} }}}}, "
            "so the judge would get the same question in both orders"
        )


def _warn_of_oversight(responder: Responder, columns: Sequence[str], key: str) -> None:
    if responder.provider.name != REPLAY and (said := responder.prompt.find_oversight(columns)):
        _warn(f"{key}.user: {said}")


@once
def _warn(said: str) -> None:
    """Warn of what all points of a sweep share, once."""
    log.warning("%s", said)


def judge_nothing(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of a judge, if the plan has one, without a call."""
    if plan.panel is None:
        return frame
    check_judges(plan.panel, frame)
    return leave_unjudged(frame, plan.panel)


def find_answering(plan: Plan) -> Answering:
    """Return who answers: the model by its names, of which a fine-tuned one has those of its base."""
    provider, checkpoint = plan.responder.provider, plan.config.checkpoint
    chosen = checkpoint not in (None, "base", "last") and not str(checkpoint).isdigit()
    names = [checkpoint] if chosen else [provider.model, provider.priced_as]
    return Answering(tuple(str(name) for name in names if name), provider.name == REPLAY)


def find_averages(plan: Plan) -> list[dict[str, Any]]:
    """Return the published averages to which the run belongs as a point of a sweep that is averaged."""
    return describe_averages(plan.config.reference, find_answering(plan)) if plan.config.average_over else []


def measure(plan: Plan, frame: pl.DataFrame, scored: Scored) -> Measurements:
    """Return scores with intervals, plain figures, and the comparison with published ones.

    Scores are those of the rows that ``scoring.steps`` made (``scored``), figures those of the answered rows.
    """
    if frame.is_empty():
        return Measurements()
    rule, rows = plan.config.scoring.reduce.value, scored.frame
    scores, failures = metrics.try_all(over_repeats(plan.metrics, rows, rule), rows)
    labels = parse.classes(plan.responder.parser)
    spread, no_spread = find_spreads(plan.metrics, rows, scores) if rule == EACH else ({}, {})
    return Measurements(
        scores=scores,
        figures=count_usage(frame) | scored.figures,
        reference=compare_figures(plan.config.reference, scores, find_answering(plan)),
        labels=keep_known({"prediction": labels}, rows).get("prediction", []),
        first_error=find_first_error(frame),
        spread=spread,
        no_spread=no_spread,
        failures=failures,
    )
