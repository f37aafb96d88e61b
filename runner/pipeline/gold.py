"""Refuse gold turns that the prompt's own parser would not read as the target.

A model that is shown or taught such turns answers in their form, and then its right answers are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from runner import parse
from runner.config.schema import ShotPlacement
from runner.core.errors import PromptError, count_of
from runner.core.types import Parser, Reading, write_value
from runner.parse.thinking import split_thinking
from runner.pipeline.prompt import Prompt

_LETTERS = 60
_MARK = "goldturn7f3a"
"""Stands for a gold turn, to see whether a template shows it."""


def check_turns(
    rows: pl.DataFrame,
    prompt: Prompt,
    parser: Parser,
    noun: str,
    tags: Sequence[str] = (),
    judged: bool = False,
) -> None:
    """Check the gold turns of ``rows``, which are shown as shots or taught (``noun`` says which).

    The parser must read each of them, without the thinking between ``tags``, as the target of its row; of a
    list of acceptable answers, as one of them. Without a column ``target`` it must read anything at all, and
    so for free text that a judge reads (``judged``), which may say the target in other words.
    Nothing is checked with ``prompt.check_assistant=false``.

    Raises:
        PromptError: with the first such row, its turn, what was read of it, and the number of such rows.
        DataError: for a row without a gold turn, or with a target that the parser cannot read.
    """
    if rows.is_empty() or not prompt.config.check_assistant:
        return
    if noun == "shot" and not _shows_gold(prompt, rows.row(0, named=True)):
        _check_shown(rows, prompt, parser)
        return
    turns = [prompt.render_gold(row) for row in rows.iter_rows(named=True)]
    targets = None if judged and isinstance(parser, parse.Text) else _read_targets(rows, parser)
    readings = _read(parser, [_drop_thinking(turn, tags) for turn in turns], targets)
    wrong = [
        number
        for number, reading in enumerate(readings)
        if reading.value is None or not _is_target(reading.value, targets, number)
    ]
    if wrong:
        turn = turns[wrong[0]]
        raise PromptError(
            f"prompt.assistant: the gold turn {_shorten(turn)} of row {rows['id'][wrong[0]]}"
            f" {_describe(parser, readings[wrong[0]], targets, wrong[0])}"
            f" ({len(wrong):,} of {count_of(rows.height, noun)}). {_advise(parser, rows)}"
        )


def _check_shown(rows: pl.DataFrame, prompt: Prompt, parser: Parser) -> None:
    """Check what a user template shows of shots without their gold turns: the target must be read in it.

    It may be a whole line, or stand alone in any lay-out (``note -> good``), which the parser need not know.
    """
    if "target" not in rows.columns or rows["target"].null_count():
        return
    targets = _read_targets(rows, parser)
    for number, row in enumerate(rows.iter_rows(named=True)):
        shown = _render_shot(prompt, row)
        lines = [line for line in (shown * 2).splitlines() if line.strip()]
        names = _find_names(parser, row["target"], targets, number, shown * 2)
        readings = _read(parser, [shown, *lines, *names], targets)
        if not any(one.value is not None and _is_target(one.value, targets, number) for one in readings):
            raise PromptError(
                f"prompt.user: the shot {rows['id'][number]} is shown as {_shorten(shown, end=True)}, in"
                f" which prompt.parser ({parse.name_parser(parser)}) does not read its target"
                f" {_show(targets, number)}. Show shot.gold, and let prompt.assistant show what prompt.parser"
                " reads; prompt.check_assistant=false allows other forms"
            )


def _find_names(
    parser: Parser, target: Any, targets: pl.Series | None, number: int, shown: str
) -> Iterator[str]:
    """The texts of a target (as written, and names of the parser's label) that stand in what is shown."""
    written = target if isinstance(target, list) else [target]
    read = _list_targets(targets, number)
    named = (name for value in read for name in parse.list_names(parser).get(str(value), ()))
    for name in dict.fromkeys([*map(write_value, written), *named]):
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", shown, re.IGNORECASE):
            yield name


def _render_shot(prompt: Prompt, shot: dict[str, Any]) -> str:
    """What the user turn shows more with a shot than without it; the shot itself is the question.

    Where both begin alike it may start in the middle, and end with its beginning; twice in a row it has all.
    """
    without, shown = (_render_user(prompt, shot, shots) for shots in ([], [{**shot, "gold": _MARK}]))
    pairs = zip(without, shown, strict=False)
    start = next((at for at, (one, other) in enumerate(pairs) if one != other), len(without))
    return shown[start : max(start, len(shown) - (len(without) - start))] or shown


def _shows_gold(prompt: Prompt, row: dict[str, Any]) -> bool:
    """Whether shots are shown with their gold turn, in turns of their own or by the user template."""
    if prompt.config.shots.placement == ShotPlacement.turns:
        return True
    if not prompt.assistant.source.strip():
        return False
    return _MARK in _render_user(prompt, row, [{**row, "gold": _MARK}]).lower()


def _render_user(prompt: Prompt, row: dict[str, Any], shots: list[dict[str, Any]]) -> str:
    return prompt.user.render({**row, "row": row, "shots": shots})


def _drop_thinking(turn: str, tags: Sequence[str]) -> str:
    return split_thinking(turn, tags)[0] or ""


def _read_targets(rows: pl.DataFrame, parser: Parser) -> pl.Series | None:
    """The targets as they will be compared with predictions; None where the rows have none."""
    return parse.parse_target(parser, rows["target"], rows["id"]) if "target" in rows.columns else None


def _read(parser: Parser, texts: list[str], targets: pl.Series | None) -> list[Reading]:
    column = pl.Series("turn", texts, dtype=pl.String)
    values, readings = parse.read_column(parser, column, None if targets is None else targets.dtype)
    return [
        Reading(value, reading.rule if reading else "")
        for value, reading in zip(values.to_list(), readings, strict=True)
    ]


def _is_target(value: Any, targets: pl.Series | None, number: int) -> bool:
    accepted = _list_targets(targets, number)
    if isinstance(value, list) and accepted in (value, [[one] for one in value]):
        return True  # of a parser of lists
    return not accepted or any(_is_equal(value, one) for one in accepted)


def _list_targets(targets: pl.Series | None, number: int) -> list[Any]:
    """The acceptable values of a row; none where it has no target."""
    target = None if targets is None else targets[number]
    return target.to_list() if isinstance(target, pl.Series) else [] if target is None else [target]


def _is_equal(value: Any, target: Any) -> bool:
    """Whether a value is the target; a number may be rounded, as a model would write it."""
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, target)):
        return bool(value == target)
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    step = 10.0 ** min(exponent, 0) if isinstance(exponent, int) else 0.0
    is_rounded = isinstance(target, float) and abs(value - target) <= step / 2 * (1 + 1e-6)
    return is_rounded or math.isclose(value, target, rel_tol=1e-6)


def _describe(parser: Parser, reading: Reading, targets: pl.Series | None, number: int) -> str:
    name = parse.name_parser(parser)
    if reading.value is None:
        return f"cannot be read by prompt.parser ({name}{f': {reading.rule}' if reading.rule else ''})"
    return f"is read by prompt.parser ({name}) as {_show_value(reading.value)}, but the target is " + _show(
        targets, number
    )


def _advise(parser: Parser, rows: pl.DataFrame) -> str:
    field, example = getattr(parser, "field", ""), ""
    if isinstance(parser, parse.Json) and "." not in field:
        is_list = "target" in rows.columns and isinstance(rows["target"].dtype, pl.List)
        shown = '"{{ target }}"' if is_list else "{{ target | tojson }}"
        example = f""", such as '{{"{field}": {shown}}}'"""
    elif isinstance(parser, parse.Label | parse.Number) and parser.pick == "only":
        example = " (prompt.parser.pick=last reads what is named last)"
    return (
        f"Let prompt.assistant show what prompt.parser reads{example};"
        " prompt.check_assistant=false allows other forms"
    )


def _show(targets: pl.Series | None, number: int) -> str:
    target = None if targets is None else targets[number]
    return _show_value(target.to_list() if isinstance(target, pl.Series) else target)


def _show_value(value: Any) -> str:
    return _shorten(value) if isinstance(value, str) else write_value(value)


def _shorten(text: str, end: bool = False) -> str:
    """A text in quotes, at most 60 letters of its beginning or of its end."""
    if len(text) <= _LETTERS:
        return repr(text)
    return repr(f"…{text[1 - _LETTERS :]}" if end else f"{text[: _LETTERS - 1]}…")
