"""How templates print values; texts are escaped for HTML, LaTeX or markdown.

The command line imports this module, so it needs nothing heavy.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from markupsafe import Markup

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

_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ufff9-\ufffb]"
)


def escape_latex(text: str) -> str:
    r"""Escape what LaTeX would read as a command.

    >>> escape_latex("50% of f1_macro")
    '50\\% of f1\\_macro'
    """
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def stack_words(name: str) -> Markup:
    r"""A column's title for LaTeX; a long one is broken into lines after its underscores.

    >>> str(stack_words("mean_absolute_error"))
    '\\shortstack[r]{mean\\_\\\\absolute\\_\\\\error}'
    """
    words = textwrap.wrap(name.replace("_", "_ "), 12, break_long_words=False)
    lines = [escape_latex(line.replace(" ", "")) for line in words]
    broken_lines = r"\\".join(lines)
    return Markup(rf"\shortstack[r]{{{broken_lines}}}" if len(lines) > 1 else broken_lines)


def make_label(title: str) -> Markup:
    """A LaTeX label of a title: letters, digits and hyphens."""
    return Markup(re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-"))


def escape_markdown(text: str) -> str:
    r"""Escape what markdown would read as markup, also inside a table.

    >>> escape_markdown("a|b *c* <d>")
    'a\\|b \\*c\\* \\<d\\>'
    """
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def reveal_controls(value: Any) -> Any:
    """A text with its control characters as numbers, also of those that turn the reading direction.

    >>> reveal_controls("a\\x1b[2Jb\\u202ec\\n"), reveal_controls(1)
    ('a⟨1B⟩[2Jb⟨202E⟩c\\n', 1)
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _CONTROLS.sub(lambda found: f"⟨{ord(found[0]):02X}⟩", value)


def format_number(value: float | None, bounded: bool = True) -> str:
    """Three decimals, or a dash for None; a whole number without an interval is shown as a count.

    >>> format_number(1.0, False), format_number(1.0), format_number(0.5, False)
    ('1', '1.000', '0.500')
    """
    if value is None:
        return "–"
    count = value.is_integer() and not bounded
    return f"{value:.0f}" if count else f"{value:.3f}"


def format_p_value(value: float | None) -> str:
    """Three decimals; a value below 0.001 is not shown as 0.

    >>> format_p_value(0.0123), format_p_value(0.00001), format_p_value(None)
    ('0.012', '< 0.001', '–')
    """
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_difference(value: float | None) -> str:
    """A difference with its sign: ``+0.050``, ``−0.050``."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def allow_breaks(name: str) -> Markup:
    """A name that a browser may break after its underscores and equals signs."""
    return Markup("=<wbr>").join(
        Markup("_<wbr>").join(part.split("_")) for part in reveal_controls(name).split("=")
    )


def truncate(text: str, length: int, note: str = "") -> str:
    """The text, or its beginning and a note of its length."""
    if len(text) <= length:
        return text
    return text[:length].rstrip() + (note or f" … [cut; {len(text):,} characters in all]")


def shorten_name(name: str, length: int = 36) -> str:
    """A name without control characters, cut in its middle where it is long: names often differ at the end.

    >>> shorten_name("a-long-name, n_shot=3", 13)
    'a-long…shot=3'
    """
    name = reveal_controls(name)
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}…{name[half + 1 - length :]}"
