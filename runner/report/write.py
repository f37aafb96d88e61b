"""The files of a report: gather its content, render it and write it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.core.errors import DataError, describe_error
from runner.core.identity import digest
from runner.records.averages import Average, describe_averages
from runner.records.sweep import summarize
from runner.report import answers, comparisons, disagreements, facts, page, plots, results
from runner.report.best import describe_best, find_best
from runner.report.comparisons import MAX_POINTS, TIME_LIMIT_S, Build, Table
from runner.report.points import Point, find_command, load_averages, load_points, name_job, name_points

log = logging.getLogger(__name__)


def write_report(folders: Sequence[Path], target: Path, build: Build, rows: int = 1000) -> list[Path]:
    """Write the report of the runs and sweeps in ``folders`` into ``target`` and return the files written.

    ``build`` makes a metric from its node in a config. ``rows`` is how many rows of each family are shown;
    those worth reading come first.
    """
    points = load_points(folders)
    averages = load_averages(points)
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
        "table.csv": summarize([point.record for point in points], averages).write_csv(),
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
    averages = load_averages(points)
    ranked = [*map(Point.of, averages)] or points
    best = find_best(ranked, build)
    return page.Page(
        title=", ".join(dict.fromkeys(point.record.name for point in points)),
        names=name_points([*points, *map(Point.of, averages)]),
        command=find_command(points, folders),
        facts=facts.gather_facts(points),
        results=results.tabulate_results(points, averages),
        comparisons=compared,
        verdicts=best.name_verdicts(ranked),
        ranked=[*describe_best(ranked, best), *describe_averages(averages)],
        matrices=plots.plot_confusion_matrices(points),
        curves=plots.plot_sweep(points),
        reliability=plots.plot_reliability(points),
        training=plots.plot_training(points),
        cost=plots.plot_cost(points),
        chats=[chat for family in families for chat in answers.find_chats(family)],
        disagreements=[disagreements.find_disagreements(family, build, rows, texts) for family in families],
    )


@dataclass(frozen=True)
class Ending:
    """How the points of a sweep rank, or its averages if it has some.

    Points are named by their numbers in the sweep, averages by their labels.
    """

    lines: list[str] = field(default_factory=list)
    objective: str = ""
    order: list[int | str | None] = field(default_factory=list)
    """The ranked points, the best first."""
    verdicts: dict[int | str | None, str] = field(default_factory=dict)
    """Of each ranked point: ``best``, or how it compares with the best."""
    csv: str = ""
    """The comparisons with the best as a table."""


def rank_points(folders: Sequence[Path], build: Build, averages: Sequence[Average] = ()) -> Ending:
    """What the end of a sweep says of its points: how they rank by the objective, in words and as CSV.

    If there are averages, these are ranked instead: the best of several seeds was chosen by chance.

    Many points are ranked without being tested, since that takes long.
    """
    points = [*map(Point.of, averages)] or load_points(folders, with_rows=len(folders) <= MAX_POINTS)
    best = find_best(points, build, TIME_LIMIT_S)
    table = Table(best.ranking.objective, best.comparisons, len(best.comparisons))
    return Ending(
        lines=describe_best(points, best),
        objective=best.ranking.objective,
        order=[name_job(points[place].record) for place in best.order],
        verdicts={name_job(points[place].record): verdict for place, verdict in best.verdicts.items()},
        csv=comparisons.tabulate_comparisons([table]).write_csv() if best.comparisons else "",
    )


def name_report(folders: Sequence[Path]) -> str:
    """Name a report after its folder; the same folders always have the same name."""
    first = folders[0].resolve()
    own = f"{first.parent.name}-{first.name}" if first.name.isdigit() else first.name
    rest = [str(folder.resolve()) for folder in folders]
    return own if len(folders) == 1 else f"{own}-and-{len(folders) - 1}-more-{digest(rest)[:6]}"
