"""The stages of a run, which :mod:`runner.experiment.run` calls in order. Each takes and returns values."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from runner import metrics, parse
from runner.config.dataset_schema import DatasetConfig
from runner.core.errors import (
    ConfigError,
    DataError,
    MetricError,
    ProviderError,
    RunnerError,
    count_of,
    suggest,
)
from runner.core.types import Parser, Score
from runner.data import dataset
from runner.data.fingerprint import describe_rows
from runner.engine.allowance import Allowance
from runner.engine.ledger import Ledger
from runner.experiment.plan import Plan
from runner.experiment.reference import Answering, check_figures, compare_figures, read_figures
from runner.money.usage import count_usage
from runner.parse.sides import list_names
from runner.pipeline import label_probability, shots
from runner.pipeline.answer import (
    OpenBar,
    Responder,
    answer_rows,
    leave_unanswered,
    parse_answers,
    render_chats,
)
from runner.pipeline.judge import VERDICT, judge_rows, leave_unjudged

log = logging.getLogger(__name__)

SAMPLE_LETTERS = 80
PROBABILITY = "probability"
REPLAY = "replay"
"""The provider whose answers were recorded earlier."""


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
    frame = dataset.load_rows(config)
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
    """Return the evaluated rows with their shots and chats; raise for templates or shots that do not fit."""
    prompt = plan.responder.prompt
    prompt.check(rows.evaluated.columns)
    plan.responder.check(rows.evaluated.columns)
    chosen = shots.choose_shots(rows.train, rows.evaluated, plan.config.hyperparameter.n_shot, prompt)
    frame = rows.evaluated.with_columns(shots.list_shot_ids(rows.train, chosen))
    return render_chats(frame, prompt, shots.list_shot_rows(rows.train, chosen))


def rehearse(plan: Plan, frame: pl.DataFrame) -> None:
    """Run all stages after the answers on empty answers, to find errors before anything is paid.

    Raises for what could not be measured later: a gold value that is missing or cannot be read, a column that
    does not exist, an objective that no metric gives, a published figure that cannot be compared.
    """
    read_figures(plan.config.reference)
    frame = leave_unanswered(frame, plan.responder)
    frame = add_probability(plan, add_predictions(plan.responder, frame))
    if plan.judge:
        check_judge(plan, frame)
        frame = leave_unjudged(frame, plan.judge, plan.sides)
    check_made_columns(plan, frame)
    names = metrics.rehearse(plan.metrics, frame, find_labels(plan))
    if names is not None:
        check_objective(plan.config.objective, names)
        check_figures(plan.config.reference, names)


def find_labels(plan: Plan) -> dict[str, list[str]]:
    """Return all values that predictions, gold values and verdicts can have, where this is known."""
    labels = list_values(plan.responder.parser)
    judged = plan.sides.verdicts if plan.sides else list_values(plan.judge.parser) if plan.judge else []
    return {"prediction": labels, "target": labels, VERDICT: judged}


def list_values(parser: Parser) -> list[str]:
    """Return all values that a parser can give; empty where they are not a closed set."""
    return parse.classes(parser) or list_names(parser)


def check_made_columns(plan: Plan, frame: pl.DataFrame) -> None:
    """Refuse a metric of a column that a setting would make: the verdict, or the probability of a label."""
    positive, labels = plan.config.dataset.params.get("positive"), parse.classes(plan.responder.parser)
    if plan.judge and not any(reads_verdicts(metric) for metric in plan.metrics.values()):
        log.warning(
            "no metric reads the judge's verdicts; metric=verdict_share does, and judge=none saves its calls"
        )
    for key, metric in plan.metrics.items():
        read = {value for name, value in vars_of(metric).items() if name != "name" and isinstance(value, str)}
        if VERDICT in read and VERDICT not in frame.columns:
            raise ConfigError(
                f"metric.{key}: the rows have no column 'verdict'; set judge, such as judge=correctness"
            )
        if PROBABILITY not in read:
            continue
        if PROBABILITY not in frame.columns:
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


def answer(
    responder: Responder,
    frame: pl.DataFrame,
    ledger: Ledger,
    open_bar: OpenBar,
    allowance: Allowance | None = None,
) -> pl.DataFrame:
    """Ask the model about all rows; add completions, predictions and gold values."""
    bar = open_bar(responder.provider.model, frame.height)
    return add_predictions(responder, answer_rows(frame, responder, ledger, bar, allowance))


def add_predictions(responder: Responder, frame: pl.DataFrame) -> pl.DataFrame:
    """Parse the predictions, and the gold values with the same parser."""
    frame = parse_answers(frame, responder.parser)
    if "target" not in frame.columns:
        return frame
    return frame.with_columns(target=parse.parse_target(responder.parser, frame["target"], frame["id"]))


def add_probability(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the probability of the positive class, if the answers have log-probabilities."""
    positive = plan.config.dataset.params.get("positive")
    return label_probability.add_probability(frame, parse.classes(plan.responder.parser), positive)


def require_answers(frame: pl.DataFrame) -> None:
    """Raise :class:`ProviderError` if every row failed: such a run has no scores, not scores of 0."""
    errors = frame["error"].drop_nulls()
    if errors.len() == frame.height:
        raise ProviderError(
            f"none of the {count_of(frame.height, 'row')} was answered; the first: {errors[0]}"
        )


def warn_if_unparsed(frame: pl.DataFrame) -> None:
    """Warn with the first answer if there are answers, but none could be parsed."""
    answers = frame["completion"].drop_nulls()
    if answers.len() and not frame["prediction"].count():
        sample = " ".join(answers[0].split())[:SAMPLE_LETTERS]
        log.warning(
            "%s, none of which could be parsed; the first: %r", count_of(answers.len(), "answer"), sample
        )


def judge(
    plan: Plan,
    frame: pl.DataFrame,
    ledger: Ledger,
    open_bar: OpenBar,
    allowance: Allowance | None = None,
) -> pl.DataFrame:
    """Add the judge's verdicts, if the plan has a judge."""
    if plan.judge is None:
        return frame
    check_judge(plan, frame)
    bar = open_bar(f"judge {plan.judge.provider.model}", frame.height)
    return judge_rows(frame, plan.judge, ledger, bar, plan.sides, allowance)


def check_judge(plan: Plan, frame: pl.DataFrame) -> None:
    """Refuse a judge's template or sides that name a column which the rows do not have."""
    assert plan.judge is not None
    sides = plan.sides.columns if plan.sides else ()
    for side in sides:
        if side not in frame.columns:
            raise ConfigError(f"judge.both_orders: no column {side!r}{suggest(side, frame.columns)}")
    prompt = plan.judge.prompt
    prompt.check([*frame.columns, *(["first", "second"] if sides else [])], "judge.prompt")
    shown = {name for turn in (prompt.system, prompt.user) if turn for name in turn.variables}
    if sides and "row" not in shown and (hidden := {"first", "second"} - shown):
        raise ConfigError(
            f"judge.prompt.user: it does not show {{{{ {min(hidden)} }}}}, "
            "so the judge would get the same question in both orders"
        )


def find_answering(plan: Plan) -> Answering:
    """Return who answers: the model by its names, of which a fine-tuned one has those of its base."""
    provider, checkpoint = plan.responder.provider, plan.config.checkpoint
    chosen = checkpoint not in (None, "base", "last") and not str(checkpoint).isdigit()
    names = [checkpoint] if chosen else [provider.model, provider.priced_as]
    return Answering(tuple(str(name) for name in names if name), provider.name == REPLAY)


def measure(plan: Plan, frame: pl.DataFrame) -> Measurements:
    """Return scores with intervals, plain figures, and the comparison with published ones."""
    if frame.is_empty():
        return Measurements()
    scores, failures = metrics.try_all(plan.metrics, frame)
    return Measurements(
        scores=scores,
        figures=count_usage(frame),
        reference=compare_figures(plan.config.reference, scores, find_answering(plan)),
        labels=parse.classes(plan.responder.parser),
        first_error=next(iter(frame["error"].drop_nulls()), None),
        failures=failures,
    )
