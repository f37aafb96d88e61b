"""The texts of a report, rendered from templates that escape every value."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner.metrics.statistics.power import LEVEL
from runner.report import formats
from runner.report.answers import Chat
from runner.report.comparisons import Comparisons
from runner.report.disagreements import Disagreements
from runner.report.facts import Facts
from runner.report.formats import format_number
from runner.report.plots import Plot
from runner.report.results import Results

COLUMN, SCREEN = 3, 8
"""How many scores fit side by side in a column of a paper, and on a screen."""


@dataclass(frozen=True)
class Page:
    """All that a report says."""

    title: str
    names: dict[str, str]
    """What each point is called, by its number."""
    command: str | None
    facts: Facts
    results: Results
    comparisons: Comparisons
    verdicts: dict[str, str]
    """What is said of each ranked point, by its number: ``best``, or how it compares with the best. The best
    comes first."""
    ranked: list[str]
    """What is said of the ranking, in lines."""
    matrices: list[Plot]
    curves: list[Plot]
    reliability: list[Plot]
    training: list[Plot]
    cost: Plot | None
    chats: list[Chat]
    disagreements: list[Disagreements]


def render_html(page: Page) -> str:
    """The page as one file, which loads nothing from the network and runs no script but its own.

    Its own script filters the rows. Browsers run no other one, since the page names the script's digest.
    """
    environment = Environment(autoescape=True, finalize=formats.reveal_controls, **_environment_options())
    environment.filters |= HTML_FILTERS
    script = Markup((resources.files("runner.report") / "templates/report.js").read_text("utf-8"))
    values = {
        "panels": page.results.sort_lines(list(page.verdicts)).split_panels(SCREEN),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "level": LEVEL,
        "script": script,
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return environment.get_template("report.html.jinja").render(page=page, **values)


def render_markdown(page: Page) -> str:
    """The table of results in GitHub's markdown."""
    environment = Environment(finalize=_make_finalizer(formats.escape_markdown), **_environment_options())
    return environment.get_template("table.md.jinja").render(page=page)


def render_latex(page: Page) -> str:
    r"""The table of results in the style of booktabs, in panels of a few scores, for ``\input``."""
    environment = Environment(
        finalize=_make_finalizer(formats.escape_latex), **_environment_options(), **LATEX_MARKERS
    )
    environment.filters |= {"stack": formats.stack_words, "label": formats.make_label}
    return environment.get_template("table.tex.jinja").render(
        page=page, panels=page.results.split_panels(COLUMN)
    )


HTML_FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": format_number,
    "p_value": formats.format_p_value,
    "difference": formats.format_difference,
    "breakable": formats.allow_breaks,
    "shorten": formats.shorten_name,
}

LATEX_MARKERS: Mapping[str, Any] = {  # braces mean something else there
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def _environment_options() -> dict[str, Any]:
    loader = PackageLoader("runner.report")
    return {"loader": loader, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}


def _make_finalizer(escape: Callable[[str], str]) -> Callable[[Any], str]:
    """A function that escapes every value that a template prints, unless it is marked as safe."""
    return lambda value: str(value) if isinstance(value, Markup) else escape(str(value))
