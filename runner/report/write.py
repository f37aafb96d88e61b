"""The files of a report: gather its content, render it and write it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from runner.core.errors import DataError, describe_error
from runner.core.identity import digest
from runner.records.sweep import summarize
from runner.report import answers, comparisons, disagreements, facts, page, plots, results
from runner.report.comparisons import Build, Table
from runner.report.formats import format_p_value
from runner.report.points import Point, find_command, load_points, name_points

log = logging.getLogger(__name__)


def write_report(folders: Sequence[Path], target: Path, build: Build, rows: int = 1000) -> list[Path]:
    """Write the report of the runs and sweeps in ``folders`` into ``target`` and return the files written.

    ``build`` makes a metric from its node in a config. ``rows`` is how many rows of each family are shown;
    those worth reading come first.
    """
    points = load_points(folders)
    try:
        content = compose_page(points, folders, build, rows)
    except Exception as error:  # a record of another version may lack what a table needs
        points = _leave_out_faulty(points, folders, build, rows, error)
        content = compose_page(points, folders, build, rows)
    target.mkdir(parents=True, exist_ok=True)
    texts = {
        "index.html": page.render_html(content),
        "table.md": page.render_markdown(content),
        "table.tex": page.render_latex(content),
        "table.csv": summarize([point.record for point in points]).write_csv(),
        "comparison.csv": comparisons.tabulate_comparisons(content.comparisons.tables).write_csv(),
    }
    texts = {name: text for name, text in texts.items() if text.strip()}
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in texts]


def _leave_out_faulty(
    points: Sequence[Point], folders: Sequence[Path], build: Build, rows: int, error: Exception
) -> list[Point]:
    """The points of which a page can be made; the others are named.

    Raises :class:`DataError` if there are none, and ``error`` if it is the fault of no single point.
    """
    kept: list[Point] = []
    for point in points:
        try:
            compose_page([point], folders, build, rows)
            kept.append(point)
        except Exception as fault:
            where = f"{point.number} {point.folder or point.name}"
            log.warning("%s cannot be reported (%s); it is left out", where, describe_error(fault))
    if len(kept) == len(points):
        raise error
    if not kept:
        raise DataError(f"none of these runs can be reported ({describe_error(error)})") from error
    return kept


def compose_page(points: Sequence[Point], folders: Sequence[Path], build: Build, rows: int) -> page.Page:
    """Gather the content of the page."""
    compared = comparisons.compare_points(points, build)
    families = compared.families
    texts = disagreements.MAX_TEXTS // max(1, len(families))
    return page.Page(
        title=", ".join(dict.fromkeys(point.record.name for point in points)),
        names=name_points(points),
        command=find_command(points, folders),
        facts=facts.gather_facts(points),
        results=results.tabulate_results(points),
        comparisons=compared,
        matrices=plots.plot_confusion_matrices(points),
        curves=plots.plot_sweep(points),
        reliability=plots.plot_reliability(points),
        training=plots.plot_training(points),
        cost=plots.plot_cost(points),
        chats=[chat for family in families for chat in answers.find_chats(family)],
        disagreements=[disagreements.find_disagreements(family, build, rows, texts) for family in families],
    )


def compare_with_first(folders: Sequence[Path], build: Build) -> tuple[str, str]:
    """Compare a sweep's points with the first: a line of text and CSV, both empty if rows differ."""
    table = (
        comparisons.compare_points_with_first(load_points(folders), build)
        if len(folders) <= comparisons.MAX_POINTS
        else None
    )
    return (
        (_summarize_table(table), comparisons.tabulate_comparisons([table]).write_csv())
        if table
        else ("", "")
    )


def _summarize_table(table: Table) -> str:
    """A table of comparisons with one point as a line: ``f1 against [0], paired by row: [1] p 0.015``."""
    each = ", ".join(f"{one.names[0]} p {format_p_value(one.adjusted)}" for one in table.comparisons)
    return f"{table.metric} against {table.comparisons[0].names[1]}, paired by row: {each} (Holm)"


def name_report(folders: Sequence[Path]) -> str:
    """Name a report after its folder; the same folders always have the same name."""
    first = folders[0].resolve()
    own = f"{first.parent.name}-{first.name}" if first.name.isdigit() else first.name
    rest = [str(folder.resolve()) for folder in folders]
    return own if len(folders) == 1 else f"{own}-and-{len(folders) - 1}-more-{digest(rest)[:6]}"
