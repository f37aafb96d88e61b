"""What a run would send: its splits, columns and first rows, and the chat of one row. Nothing is asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from runner import parse
from runner.cli.show.choose import find_row
from runner.cli.show.cost import describe_call, describe_run
from runner.cli.show.page import show_page
from runner.cli.show.values import (
    clean,
    has_text,
    join_lines,
    make_chat,
    make_pairs,
    make_part,
    make_title,
    name_type,
    show_value,
)
from runner.config.dataset_schema import DatasetConfig
from runner.config.hydra_job import get_overrides, list_typed
from runner.config.schema import RunnerConfig
from runner.core.errors import ConfigError, RunnerError, count_of
from runner.core.provider import REPLAY
from runner.core.types import write_value
from runner.data import dataset
from runner.experiment import stages
from runner.experiment.estimate import estimate_plan
from runner.experiment.plan import Plan, make_plan
from runner.experiment.unused import find_unused, warn_of_unused
from runner.money.forecast import add_placeholders
from runner.pipeline.judge import Panel, pose_questions
from runner.pipeline.repeats import take_first
from runner.providers.local.weights import stay_offline

ROWS, LETTERS, LABELS = 3, 240, 8
"""How many rows are shown, how many letters of a value, and how many labels of a split."""


def show_preview(config: DictConfig) -> None:
    """Show the rows and one chat of an experiment. What is known before a mistake is shown all the same."""
    parts: list[RenderableType] = []
    try:
        with stay_offline():
            _fill(parts, config)
    finally:
        show_page(parts)


def _fill(parts: list[RenderableType], config: DictConfig) -> None:
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, RunnerConfig)
    is_one = typed.show.row is not None
    frame = dataset.load_rows(typed.dataset)
    evaluated = frame.filter(pl.col("split") == typed.dataset.split.evaluate)
    chosen = _choose_rows(evaluated if evaluated.height else frame, typed)
    parts.append(make_title(typed.name, f"{typed.dataset.name}, {count_of(frame.height, 'row')}"))
    if not is_one:
        parts.append(make_part(make_title("splits"), _make_splits(frame, typed.dataset, _find_uses(typed))))
        parts.append(make_part(make_title("columns"), _make_columns(frame)))
    for row in chosen.iter_rows(named=True):
        title = make_title(f"row {clean(row['id'])}", f"of the split {clean(row['split'])}")
        most = None if is_one else LETTERS
        values = [
            (name, show_value(row[name], most)) for name in frame.columns if name not in ("id", "split")
        ]
        parts.append(make_part(title, make_pairs(values)))
    plan = make_plan(config, asks=False)
    warn_of_unused(find_unused(plan, list_typed(get_overrides())))
    rows = stages.choose_splits(typed.dataset, frame)
    chats = take_first(stages.render(plan, rows))
    place = chats["id"].to_list().index(chosen["id"][0]) if chosen.height else 0
    _fill_chat(parts, plan, chats[place])
    point = estimate_plan(plan, set(), get_overrides())
    parts.append(make_part(make_title("the whole run"), make_pairs(describe_run(point, plan))))


def _choose_rows(frame: pl.DataFrame, config: RunnerConfig) -> pl.DataFrame:
    """The rows to show: the one that is named, or the first ones, in which the text stands."""
    asked = config.show
    if asked.row is not None:
        return frame[find_row(frame["id"].to_list(), asked.row)]
    if asked.text is not None:
        found = [has_text(asked.text, row.values()) for row in frame.iter_rows(named=True)]
        frame = frame.filter(pl.Series(found, dtype=pl.Boolean))
        if frame.is_empty():
            raise ConfigError(f"show.text: {asked.text!r} stands in no row")
    return frame.head(ROWS if asked.rows is None else asked.rows)


def _find_uses(config: RunnerConfig) -> dict[str, str]:
    """What a run uses each split for."""
    split, uses = config.dataset.split, {}
    if config.finetune.name != "none" and config.finetune.dataset is None:
        uses = {split.train: "trained on", split.validation: "validation of the training"}
    elif config.hyperparameter.n_shot:
        uses = {split.train: f"shots ({config.hyperparameter.n_shot} a row)"}
    limit = f" (dataset.limit={config.dataset.limit})" if config.dataset.limit else ""
    return {**{name: use for name, use in uses.items() if name}, split.evaluate: f"evaluated{limit}"}


def _make_splits(frame: pl.DataFrame, config: DatasetConfig, uses: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("  split", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("used")
    table.add_column("target" if "target" in frame.columns else "", overflow="fold")
    names = frame["split"].unique(maintain_order=True).to_list()
    for name in sorted(names, key=lambda name: name != config.split.evaluate):
        rows = frame.filter(pl.col("split") == name)
        labels = _describe_values(rows["target"]) if "target" in frame.columns else ""
        table.add_row(
            *map(Text, (f"  {clean(name)}", f"{rows.height:,}", uses.get(name, "not used"), labels))
        )
    return table


def _describe_values(column: pl.Series) -> str:
    """The values of a column with their counts, or how many there are."""
    values = column.to_list()
    counts = Counter(map(_identify, values))
    if len(counts) <= LABELS:
        firsts = {_identify(value): value for value in reversed(values)}
        shown = sorted((show_value(firsts[key], 24), count) for key, count in counts.items())
        return " · ".join(f"{value} × {count:,}" for value, count in shown)
    empty = f", {column.null_count():,} null" if column.null_count() else ""
    if column.dtype.is_numeric():
        return f"{show_value(column.min())} to {show_value(column.max())}{empty}"
    return f"{count_of(len(counts), 'value').replace('value', 'different value')}{empty}"


def _identify(value: Any) -> tuple[str, str]:
    return type(value).__name__, write_value(value)


def _make_columns(frame: pl.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), expand=True)
    table.add_column("  column", overflow="fold", max_width=30)
    table.add_column("type", no_wrap=True)
    table.add_column("null", justify="right", no_wrap=True)
    table.add_column("different", justify="right", no_wrap=True)
    table.add_column("such as", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
    for name in frame.columns:
        if name == "split":
            continue
        column = frame[name]
        known = column.drop_nulls()
        values = known.to_list()
        example = join_lines(show_value(values[0] if values else None)[:200])
        different = len(set(map(str, values)))
        cells = [f"  {clean(name)}", name_type(column.dtype), str(column.null_count() or "")]
        table.add_row(*map(Text, [*cells, f"{different:,}", example]))
    return table


def _fill_chat(parts: list[RenderableType], plan: Plan, frame: pl.DataFrame) -> None:
    """Add the chat of a row, its gold, what the judge would be asked, and what a training row would be."""
    row = frame.row(0, named=True)
    shots = f", shots {', '.join(map(clean, row['shots']))}" if row["shots"] else ""
    is_replay = plan.responder.provider.name == REPLAY
    how = "which is not sent: its answer is recorded" if is_replay else "as it would be sent"
    parts.append(
        make_part(
            make_title("chat", f"of row {clean(row['id'])}{shots}, {how}"),
            make_chat(row["messages"]),
            *([] if is_replay else [make_pairs(describe_call(plan.responder, row["messages"]))]),
        )
    )
    if is_replay:
        parts.append(make_part(make_title("recorded answer"), make_pairs(_describe_recorded(plan, frame))))
    parts.append(make_part(make_title("gold"), make_pairs(_describe_gold(plan, frame))))
    if plan.panel:
        _fill_judges(parts, plan, plan.panel, frame)
    if plan.tuner is not None:
        parts.append(make_part(*_make_training_row(plan)))


def _describe_recorded(plan: Plan, frame: pl.DataFrame) -> list[tuple[str, str]]:
    """The answer that a replay gives for a row, as it is written and read."""
    value = frame[0, getattr(plan.responder.provider, "column", "")]
    text = value if isinstance(value, str) else write_value(value)
    return [("answer", show_value(value)), *_describe_reading(plan, None if value is None else text, None)]


def _describe_reading(plan: Plan, text: str | None, gold: Any) -> list[tuple[str, str]]:
    """What the parser reads of a text, and by which rule. ``gold`` is the type of the targets, if known."""
    texts = pl.Series("turn", [text], dtype=pl.String)
    read, readings = parse.read_column(plan.responder.parser, texts, gold)
    said = parse.describe(readings, texts)[0]
    lines = [(f"as {parse.name_parser(plan.responder.parser)} reads it", show_value(read[0]))]
    return [*lines, *([("", clean(said))] if said else [])]


def _describe_gold(plan: Plan, frame: pl.DataFrame) -> list[tuple[str, str]]:
    """The target as it is written and read, and the gold turn as it is written and read."""
    row, parser = frame.row(0, named=True), plan.responder.parser
    name = parse.name_parser(parser)
    if "target" not in row:
        return [("target", "the rows have no column 'target', so there is nothing to compare answers with")]
    lines = [("target", show_value(row["target"]))]
    target = None
    try:
        target = parse.parse_target(parser, frame["target"], frame["id"])
        value = target[0].to_list() if isinstance(target[0], pl.Series) else target[0]
        lines.append((f"as {name} reads it", show_value(value)))
    except RunnerError as error:
        lines.append((f"as {name} reads it", f"cannot be read: {clean(str(error))}"))
    if not plan.responder.prompt.assistant.source.strip():
        return [*lines, ("gold turn", "the prompt has none (prompt.assistant)")]
    try:
        turn = plan.responder.prompt.render_gold(row)
    except RunnerError as error:
        return [*lines, ("gold turn", clean(str(error)))]
    kind = None if target is None else target.dtype
    return [*lines, ("gold turn", clean(turn)), *_describe_reading(plan, turn, kind)]


def _fill_judges(parts: list[RenderableType], plan: Plan, panel: Panel, frame: pl.DataFrame) -> None:
    """Add what each judge would be asked if the answer were the gold turn."""
    stand_in, note = "(the answer)", "with words in place of the answer"
    try:
        stand_in = plan.responder.prompt.render_gold(frame.row(0, named=True))
        note = "with the gold turn in place of the answer"
    except RunnerError:
        pass
    answered = add_placeholders(frame).with_columns(completion=pl.lit(stand_in))
    answered = stages.add_predictions(plan.responder, answered)
    stages.check_judges(panel, answered)
    for judge in panel.judges:
        who = f"judge {judge.name}".strip()
        for question in pose_questions(answered, judge).iter_rows(named=True):
            order = f", order {question['order']}" if judge.sides else ""
            messages = question["judge_messages"]
            parts.append(
                make_part(
                    make_title(who, f"its chat {note}{order}"),
                    make_chat(messages),
                    make_pairs(describe_call(judge.responder, messages)),
                )
            )


def _make_training_row(plan: Plan) -> tuple[Text, RenderableType]:
    """The first training row: its chat with the gold turn."""
    data = plan.config.finetune.dataset or plan.config.dataset
    limited = plan.config.finetune.dataset is not None
    trained = dataset.load_training_rows(data, data.split.train, "finetune.dataset", limited)
    if trained.is_empty():
        return make_title("training"), Text("")
    row = trained.row(0, named=True)
    note = f"row {clean(row['id'])}, the first of {trained.height:,} of {data.name}, split {data.split.train}"
    return make_title("training", note), make_chat(plan.responder.prompt.render_training_chat(row))
