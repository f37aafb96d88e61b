"""One row of a recorded run, whole: its chat, answer, scores, the judge's words, costs and values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType

from runner.cli.show.read import Recorded
from runner.cli.show.values import clean, join_lines, make_chat, make_pairs, make_part, make_title, show_value
from runner.core.errors import count_of
from runner.core.types import REPEAT, RESERVED, list_members

LETTERS = 100
"""How many letters are shown of a value that the chat shows, too."""


def make_row(run: Recorded, place: int) -> list[RenderableType]:
    """Everything about one row: its chat, the answer and how it was read, scores, verdict, costs, values.

    ``place`` is that of the row among the rows. If it was asked several times all answers are shown.
    """
    places = run.list_places(place)
    row = run.frame.row(places[0], named=True)
    note = f"{place + 1:,} of {len(run.ids):,}"
    note += _describe_state(run, places[0]) if len(places) == 1 else f", {len(places)} answers"
    parts: list[RenderableType] = [make_part(make_title(f"row {clean(row['id'])}", note))]
    if row.get("messages"):
        shots = row.get("shots")
        shown = f"shots {', '.join(map(clean, map(str, shots)))}" if shots else ""
        parts.append(make_part(make_title("chat", shown), make_chat(row["messages"])))
    for line in places:
        number = run.frame[REPEAT][line] if REPEAT in run.frame.columns else line
        of = f"repeat {number}{_describe_state(run, line)}" if len(places) > 1 else ""
        parts += _make_answer(run, run.frame.row(line, named=True), of)
    parts.append(make_part(make_title("values"), make_pairs(_list_values(run, row))))
    return parts


def _describe_state(run: Recorded, line: int) -> str:
    state = run.grades.name(line)
    rule = f" ({run.grades.rule})" if state in ("right", "wrong") else ""
    return f", {state}{rule}" if state else ""


def _make_answer(run: Recorded, row: dict[str, Any], note: str) -> list[RenderableType]:
    """The answer and what the judge says of it."""
    answer = [("thinking", row.get("reasoning")), ("error", row.get("error"))]
    lines = [(name, clean(str(value))) for name, value in answer if value is not None]
    lines.append(("completion", _show_text(row["completion"])))
    lines.append(("prediction", show_value(row["prediction"])))
    lines += [("", clean(str(row["reading"])))] if row.get("reading") else []
    lines += [("target", show_value(row["target"]))] if "target" in row else []
    lines += [(name, show_value(row[name])) for name in _list_scores(run)]
    lines += [("cost", _describe_call(row, ""))]
    judged = [
        make_part(make_title(f"judge {name}"), *_make_verdict(row, f"judge_{name}_"))
        for name in list_members(row)
    ]
    if judged:
        judged.append(make_part(make_title("judges"), make_pairs([("verdict", show_value(row["verdict"]))])))
    elif "verdict" in row:
        judged = [make_part(make_title("judge"), *_make_verdict(row))]
    return [make_part(make_title("answer", note), make_pairs(lines)), *judged]


def _show_text(text: Any) -> str:
    """A text as it came; nothing and an empty text are told apart."""
    return show_value(text) if text is None or not str(text).strip() else clean(str(text))


def _list_scores(run: Recorded) -> list[str]:
    names = [name for name in run.record.row_scores if name in run.frame.columns]
    return [*names, *(["probability"] if "probability" in run.frame.columns else [])]


def _make_verdict(row: dict[str, Any], own: str = "judge_") -> Iterable[RenderableType]:
    """What one judge was asked and said; its columns begin with ``own``."""

    def get(name: str) -> Any:
        return row.get(f"{own}{name}")

    if get("messages"):
        yield make_chat(get("messages"))
    said = [("thinking", "reasoning"), ("error", "error")]
    lines = [(label, clean(str(get(name)))) for label, name in said if get(name) is not None]
    verdict = row["verdict"] if own == "judge_" else get("verdict")
    lines += [("its words", _show_text(get("completion"))), ("verdict", show_value(verdict))]
    lines += [("of", show_value(get("verdicts")))] if get("verdicts") else []
    lines += [("", clean(str(get("reading"))))] if get("reading") else []
    yield make_pairs([*lines, ("cost", _describe_call(row, own))])


def _describe_call(row: dict[str, Any], prefix: str) -> str:
    """Tokens, dollars, time and who answered, as far as they are known."""

    def get(name: str) -> Any:
        return row.get(f"{prefix}{name}")

    counts = [(get("input_tokens"), "read"), (get("output_tokens"), "written")]
    parts = [f"{count_of(count, 'token')} {what}" for count, what in counts if count is not None]
    parts += [f"${get('cost_usd'):.6f}"] if get("cost_usd") is not None else []
    parts += [f"{get('latency_s'):.1f} s"] if get("latency_s") is not None else []
    parts += ["from the ledger" if get("ledger_key") else "recorded"] if get("stored") else []
    parts += [f"ended by {get('finish_reason')}"] if get("finish_reason") else []
    parts += [f"from {get('answered_by')}"] if get("answered_by") else []
    return clean(" · ".join(map(join_lines, parts))) or "not known"


def _list_values(run: Recorded, row: dict[str, Any]) -> list[tuple[str, str]]:
    """The values of the data set, those that the run did not add; a long one that the chat shows is cut."""
    added = {*RESERVED, *run.record.row_scores, "id", "target"}
    judges = tuple(f"judge_{name}_" for name in list_members(row))
    chat = "\n".join(str(turn.get("content")) for turn in row.get("messages") or () if turn)
    lines = []
    for name, value in row.items():
        if name in added or name.startswith(judges):
            continue
        is_shown = isinstance(value, str) and len(value) > LETTERS and value in chat
        shown = f"{show_value(value, LETTERS)}, as in the chat" if is_shown else show_value(value)
        lines.append((name, shown))
    return lines
