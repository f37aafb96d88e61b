"""What is missing in the answers: rows that failed, answers and verdicts that were not read."""

from __future__ import annotations

import logging

import polars as pl

from runner import parse
from runner.core.errors import FailedRowsError, ProviderError, count_of
from runner.core.types import CUT, Parser, advise_on_cut
from runner.engine.live import NOT_ASKED
from runner.pipeline.judge import Panel

log = logging.getLogger(__name__)

SAMPLE_LETTERS = 80
MOST_LABELS = 6


def find_first_error(frame: pl.DataFrame, column: str = "error") -> str | None:
    """The first error of a column with the id of its row; None if there is none."""
    for name, error in frame.select("id", column).drop_nulls(column).head(1).iter_rows():
        return f"row {name}: {error}"
    return None


def explain_no_answers(frame: pl.DataFrame) -> ProviderError | None:
    """Return an error if no row has an answer: such a run has no scores, not scores of 0.

    A row has none if it failed, or if nothing can be read from an answer that is empty or that a token limit
    ended.
    """
    failed, cut = pl.col("error").is_not_null(), pl.col("finish_reason").str.contains(CUT).fill_null(False)
    is_empty = pl.col("completion").str.strip_chars() == ""
    useless = failed | (
        pl.col("prediction").is_null() & (is_empty | (cut & pl.col("completion").is_not_null()))
    )
    counts = frame.select(useless=useless, failed=failed & ~cut, cut=cut, empty=is_empty & ~cut).sum().row(0)
    if counts[0] < frame.height:
        return None
    _, failures, cuts, empties = counts
    rows, found = count_of(frame.height, "row"), find_first_error(frame)
    first = f"; the first: {found}" if found else ""
    if not cuts and not empties:
        return ProviderError(f"none of the {rows} was answered{first}")
    parts = [
        f"{cuts:,} cut by the token limit ({_advise(frame, 'finish_reason')})" if cuts else "",
        f"{empties:,} empty" if empties else "",
        f"{failures:,} failed" if failures else "",
    ]
    return ProviderError(f"none of the {rows} has an answer: {', '.join(filter(None, parts))}{first}")


def check_failed_rows(frame: pl.DataFrame, most: float) -> None:
    """Raise :class:`FailedRowsError` if calls failed for more than the share ``most`` of the rows.

    One failed row never fails a run. An answer that a token limit cut before its text began is the model's,
    and no failed call.
    """
    failed = frame.filter(pl.col("finish_reason").is_null())
    count, first = failed["error"].count(), find_first_error(failed)
    if "judge_error" in frame.columns:
        count, first = count + frame["judge_error"].count(), first or find_first_error(frame, "judge_error")
    if count > max(1, most * frame.height):
        raise FailedRowsError(
            f"{count:,} of {count_of(frame.height, 'row')} failed, above max_failed={most:g};"
            f" the first: {first}; the same command asks these rows again"
        )


def warn_of_unread(parser: Parser, frame: pl.DataFrame) -> None:
    """Warn, with one of them, if more than half of the answers could not be read by the parser.

    Warn, too, if a token limit cut all of them and the texts themselves are measured.
    """
    _warn_of_unread(frame, "completion", "prediction", "answer", parser, "")
    said = frame.drop_nulls("completion")
    is_text = frame["prediction"].dtype == pl.String and not parse.classes(parser)
    if is_text and said.height and said["finish_reason"].str.contains(CUT).all():
        log.warning(
            "the token limit cut %s, so their beginnings are measured; %s",
            "the only answer" if said.height == 1 else f"all {said.height:,} answers",
            _advise(said, "finish_reason"),
        )


def warn_of_unread_verdicts(panel: Panel | None, frame: pl.DataFrame) -> None:
    """Warn, with one of them, if more than half of a judge's answers gave no verdict, or if some failed."""
    for judge in panel.judges if panel else ():
        column = judge.rename("judge_error")
        if first := find_first_error(frame, column):
            who, failed = f"judge {judge.name}" if judge.name else "the judge", frame[column].count()
            left = int(frame[column].str.contains(NOT_ASKED, literal=True).sum())
            rows = count_of(failed, "row") + (f", of which {left:,} were not asked any more" if left else "")
            log.warning("%s failed for %s; the first: %s", who, rows, first)
        said, key = judge.rename("judge_completion"), judge.responder.key
        _warn_of_unread(frame, said, judge.verdict, "verdict", judge.responder.parser, key)


def _advise(frame: pl.DataFrame, column: str, key: str = "") -> str:
    return advise_on_cut(frame.filter(pl.col(column).str.contains(CUT))[column], key)


def _tell_wanted(parser: Parser) -> str:
    """What a parser reads: its name, and its labels or its scale, where it has some."""
    labels = parse.classes(parser)
    ends = [getattr(parser, name, None) for name in ("minimum", "maximum")]
    scale = f"{ends[0]:g} to {ends[1]:g}" if None not in ends else ""
    wanted = ", ".join([*labels[:MOST_LABELS], *(["…"] if labels[MOST_LABELS:] else [])]) or scale
    return parse.name_parser(parser) + (f": {wanted}" if wanted else "")


def _warn_of_unread(frame: pl.DataFrame, text: str, value: str, noun: str, parser: Parser, key: str) -> None:
    said = frame.filter(pl.col(text).is_not_null())
    unread = said.filter(pl.col(value).is_null())
    if 2 * unread.height <= said.height:
        return
    prefix = text.removesuffix("completion")
    reasons = f"{prefix}finish_reason"
    cut = int(unread[reasons].str.contains(CUT).sum())
    hint = f"; {cut:,} cut by the token limit: {_advise(unread, reasons, key)}" if cut else ""
    sample = " ".join(unread[text][0].split())
    log.warning(
        "%s of %s could not be read by %sprompt.parser (%s%s); the first: %r",
        f"{unread.height:,}",
        count_of(said.height, noun),
        key,
        _tell_wanted(parser),
        hint,
        sample if len(sample) <= SAMPLE_LETTERS else f"{sample[:SAMPLE_LETTERS]}…",
    )
