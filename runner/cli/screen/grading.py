"""Which rows of a recorded run are right, wrong, unread or failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.files import require_plain
from runner.core.types import CUT, list_members
from runner.records.folder import PREDICTIONS
from runner.records.record import Record, find_scored
from runner.records.result import list_right_scores

VERDICT = "verdict"
SAID = ("error", "judge_error", "completion", "prediction", VERDICT, "judge_completion", "target")


@dataclass(frozen=True)
class Grades:
    """Of each row, whether it is right; null where nothing says so. ``rule`` says what decides."""

    right: list[bool | None]
    unparsed: list[bool]
    """Rows with an answer or a judge's answer that was not read."""
    failed: list[bool]
    rule: str
    disagreeing: list[bool] | None = None
    """Rows on which the judges of a panel say different things; of one judge, rows that a metric of
    predictions and one of verdicts grade differently. None without two such."""

    def name(self, row: int) -> str:
        """The row's state in a word: failed, unread, wrong, right, or nothing if it is not known."""
        if self.failed[row]:
            return "failed"
        if self.unparsed[row]:
            return "unread"
        return {True: "right", False: "wrong", None: ""}[self.right[row]]

    def choose(self, names: Iterable[str]) -> list[int]:
        """The rows that are any of ``wrong``, ``unparsed``, ``error`` and ``disagreeing``.

        A row without an answer is wrong.
        """
        sides = {
            "wrong": [right is False for right in self.right],
            "unparsed": self.unparsed,
            "error": self.failed,
            "disagreeing": self.disagreeing or [False] * len(self.right),
        }
        chosen = [sides[name] for name in names]
        return [row for row, found in enumerate(zip(*chosen, strict=True)) if any(found)]


def grade_rows(record: Record, frame: pl.DataFrame) -> Grades:
    """Grade the rows of a run, by their scores in the record as far as it has some.

    The first metric that says right or wrong decides, one of verdicts before others. Without one, a
    prediction is compared with its target. A row without a prediction (or verdict, if these decide) is wrong
    wherever right ones are known.
    """
    metrics = _list_metrics(record, frame)
    if metrics:
        said, rule = next(iter(metrics.items()))
        right = [_decide(score, value) for score, value in zip(frame[rule], _list(frame, said), strict=True)]
    elif _is_comparable(frame):
        pairs = zip(_list(frame, "prediction"), _list(frame, "target"), strict=True)
        right = [None if target is None else _is_target(value, target) for value, target in pairs]
        rule = "the prediction is the target"
    else:
        right, rule = [None] * frame.height, ""
    answers = _has(frame, "completion", "prediction")
    verdicts = _has(frame, "judge_completion", VERDICT)
    failures = zip(_list(frame, "error"), _list(frame, "judge_error"), strict=True)
    return Grades(
        right=right,
        unparsed=[one or other for one, other in zip(answers, verdicts, strict=True)],
        failed=[any(error is not None for error in errors) for errors in failures],
        rule=rule,
        disagreeing=_find_disagreeing(frame, metrics),
    )


def count_wrong(record: Record, folder: Path) -> int:
    """How many recorded rows are wrong; 0 for free text that no metric grades, or if they cannot be read."""
    try:
        file = require_plain(find_scored(folder))
        wanted = {*SAID, *record.row_scores} & set(pl.read_parquet_schema(file))
        frame = pl.read_parquet(file, columns=sorted(wanted))
        grades = grade_rows(record, frame)
        is_text = frame["prediction"].dtype == pl.String and not record.labels
        return 0 if is_text and grades.rule not in record.row_scores else len(grades.choose(["wrong"]))
    except Exception:  # a line of advice is no reason to fail
        return 0


def read_cut(folder: Path, column: str) -> list[str]:
    """The values of ``finish_reason`` that say that a token limit ended the answer; none if unreadable."""
    try:
        reasons = pl.read_parquet(require_plain(folder / PREDICTIONS), columns=[column])[column]
        return reasons.filter(reasons.str.contains(CUT)).to_list()
    except Exception:  # a line of advice is no reason to fail
        return []


def _list_metrics(record: Record, frame: pl.DataFrame) -> dict[str, str]:
    """What :func:`list_right_scores` finds among the scores that the rows have."""
    there = {
        name: kind
        for name, kind in record.row_scores.items()
        if name in frame.columns and frame[name].dtype.is_numeric()
    }
    return list_right_scores(there, record.config.get("metric") or {})


def _find_disagreeing(frame: pl.DataFrame, metrics: Mapping[str, str]) -> list[bool] | None:
    if members := list_members(frame.columns):
        said = zip(*(_list(frame, f"judge_{name}_verdict") for name in members), strict=True)
        return [len({verdict for verdict in row if verdict is not None}) > 1 for row in said]
    return _compare(frame, *metrics.values()) if len(metrics) == 2 else None


def _compare(frame: pl.DataFrame, one: str, other: str) -> list[bool]:
    pairs = zip(frame[one], frame[other], strict=True)
    return [None not in pair and pair[0] != pair[1] for pair in pairs]


def _is_comparable(frame: pl.DataFrame) -> bool:
    """Whether predictions can be told right by their targets: not so real numbers, which are never equal."""
    if not {"prediction", "target"} <= set(frame.columns) or frame["target"].null_count() == frame.height:
        return False
    sides = (frame["prediction"], frame["target"])
    return not any(side.dtype.is_float() and (side % 1 != 0).any() for side in sides)


def _decide(score: Any, said: Any) -> bool | None:
    if score is None:
        return False if said is None else None
    return bool(score == 1)


def _is_target(value: Any, target: Any) -> bool:
    return value is not None and (value in target if isinstance(target, list) else value == target)


def _list(frame: pl.DataFrame, name: str) -> list[Any]:
    return frame[name].to_list() if name in frame.columns else [None] * frame.height


def _has(frame: pl.DataFrame, text: str, value: str) -> list[bool]:
    """Rows with a text of which no value was read."""
    if value not in frame.columns:
        return [False] * frame.height
    pairs = zip(_list(frame, text), _list(frame, value), strict=True)
    return [said is not None and read is None for said, read in pairs]
