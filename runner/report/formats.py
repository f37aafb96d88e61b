"""Values as the templates print them, each escaped for where it goes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from runner.report.comparisons import Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "…": r"\ldots{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
}


def escaped_latex(text: str) -> str:
    r"""A text that LaTeX prints as it is.

    >>> escaped_latex("50% of f1_macro")
    '50\\% of f1\\_macro'
    """
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def stacked(name: str) -> Markup:
    r"""A column's title for LaTeX, broken after its underscores where it is long.

    >>> str(stacked("mean_absolute_error"))
    '\\shortstack[r]{mean\\_\\\\absolute\\_\\\\error}'
    """
    words = textwrap.wrap(name.replace("_", "_ "), 12, break_long_words=False)
    lines = [escaped_latex(line.replace(" ", "")) for line in words]
    broken_lines = r"\\".join(lines)
    return Markup(rf"\shortstack[r]{{{broken_lines}}}" if len(lines) > 1 else broken_lines)


def label(title: str) -> Markup:
    """What a LaTeX label may hold: letters, digits and hyphens."""
    return Markup(re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-"))


def escaped_markdown(text: str) -> str:
    r"""A text that markdown shows as it is, also inside a table.

    >>> escaped_markdown("a|b *c* <d>")
    'a\\|b \\*c\\* \\<d\\>'
    """
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def number(value: float | None, bounded: bool = True) -> str:
    """Three decimals, or a dash for what is not defined; a whole number without an interval is a count."""
    if value is None:
        return "–"
    count = value.is_integer() and abs(value) > 1 and not bounded
    return f"{value:.0f}" if count else f"{value:.3f}"


def p_value(value: float | None) -> str:
    """Three decimals, and never a bare 0.

    >>> p_value(0.0123), p_value(0.00001), p_value(None)
    ('0.012', '< 0.001', '–')
    """
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def against_first(table: Table) -> str:
    """Comparisons with one point in a line: ``f1 against [0], paired: [1] p 0.015, [2] p < 0.001 (Holm)``."""
    each = ", ".join(f"{one.names[0]} p {p_value(one.adjusted)}" for one in table.comparisons)
    return f"{table.metric} against {table.comparisons[0].names[1]}, paired by row: {each} (Holm)"


def signed(value: float | None) -> str:
    """A difference with its sign: ``+0.050``, ``−0.050``."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def broken(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def batches(rows: Sequence[Any], size: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """Pages of rows, each with the number of its first row, from 1."""
    for first in range(0, len(rows), size):
        yield first + 1, rows[first : first + size]
