"""The files of a report, rendered from templates that escape all they are given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner.report import formats
from runner.report.comparisons import LEVEL, Compared
from runner.report.disagreements import Disagreements
from runner.report.facts import Facts
from runner.report.formats import number
from runner.report.plots import Plot
from runner.report.results import Results

COLUMN, SCREEN = 3, 8
"""Scores side by side in a column of text, and on a screen."""


@dataclass(frozen=True)
class Page:
    """All that a report says."""

    title: str
    command: str | None
    facts: Facts
    results: Results
    compared: Compared
    matrices: list[Plot]
    curves: list[Plot]
    reliability: list[Plot]
    training: list[Plot]
    cost: Plot | None
    disagreements: list[Disagreements]


def html(page: Page) -> str:
    """One file with everything in it: it asks the network for nothing and runs no script."""
    environment = Environment(autoescape=True, **_settings())
    environment.filters |= HTML_FILTERS
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    values = {"panels": page.results.panels(SCREEN), "made": made, "level": LEVEL}
    return environment.get_template("report.html.jinja").render(page=page, **values)


def markdown(page: Page) -> str:
    """The table of results in GitHub's markdown."""
    environment = Environment(finalize=_escaping(formats.escaped_markdown), **_settings())
    return environment.get_template("table.md.jinja").render(page=page)


def latex(page: Page) -> str:
    r"""The table of results in the style of booktabs, in panels of a few scores, for ``\input``."""
    environment = Environment(finalize=_escaping(formats.escaped_latex), **_settings(), **LATEX_MARKERS)
    environment.filters |= {"stacked": formats.stacked, "label": formats.label}
    return environment.get_template("table.tex.jinja").render(page=page, panels=page.results.panels(COLUMN))


HTML_FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "p": formats.p_value,
    "signed": formats.signed,
    "batches": formats.batches,
    "broken": formats.broken,
}

LATEX_MARKERS: Mapping[str, Any] = {  # braces mean something else there
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def _settings() -> dict[str, Any]:
    loader = PackageLoader("runner.report")
    return {"loader": loader, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}


def _escaping(escape: Callable[[str], str]) -> Callable[[Any], str]:
    """Escapes every value that a template prints and does not mark as safe, in formats that are no HTML."""
    return lambda value: str(value) if isinstance(value, Markup) else escape(str(value))
