"""The files of a report: everything it says is gathered, put into words and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.core.digest import digest
from runner.records.sweep import summarize
from runner.report import comparisons, disagreements, facts, formats, page, plots, results
from runner.report.comparisons import Build
from runner.report.points import Point, command, load_points


def write_report(folders: Sequence[Path], target: Path, build: Build, rows: int = 50) -> list[Path]:
    """Write the report of the runs and sweeps in ``folders`` into ``target``; the files written.

    ``build`` makes a metric from its node in a config, ``rows`` of each set of rows are given to read.
    """
    points = load_points(folders)
    content = compose_page(points, folders, build, rows)
    target.mkdir(parents=True, exist_ok=True)
    texts = {
        "index.html": page.html(content),
        "table.md": page.markdown(content),
        "table.tex": page.latex(content),
        "table.csv": summarize([point.record for point in points]).write_csv(),
        "comparison.csv": comparisons.frame(content.compared.tables).write_csv(),
    }
    texts = {name: text for name, text in texts.items() if text.strip()}
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in texts]


def compose_page(points: Sequence[Point], folders: Sequence[Path], build: Build, rows: int) -> page.Page:
    """Everything that the page says, before it is put into words."""
    compared = comparisons.compare(points, build)
    return page.Page(
        title=", ".join(dict.fromkeys(point.record.name for point in points)),
        command=command(points, folders),
        facts=facts.gather(points),
        results=results.table(points),
        compared=compared,
        matrices=plots.matrices(points),
        curves=plots.curves(points),
        reliability=plots.reliability(points),
        training=plots.training(points),
        cost=plots.cost(points),
        disagreements=[disagreements.find_disagreements(family, build, rows) for family in compared.families],
    )


def compare_with_first(folders: Sequence[Path], build: Build) -> tuple[str, str]:
    """A sweep's points compared with the first: in a line, and as CSV; empty where rows differ."""
    table = comparisons.with_first(load_points(folders), build) if len(folders) <= comparisons.MOST else None
    return (formats.against_first(table), comparisons.frame([table]).write_csv()) if table else ("", "")


def name_report(folders: Sequence[Path]) -> str:
    """The name of a report: its folder's, or one that the same folders always have."""
    first = folders[0].resolve()
    own = f"{first.parent.name}-{first.name}" if first.name.isdigit() else first.name
    rest = [str(folder.resolve()) for folder in folders]
    return own if len(folders) == 1 else f"{own}-and-{len(folders) - 1}-more-{digest(rest)[:6]}"
