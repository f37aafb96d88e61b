"""A sweep or a list of runs as one page to read, and as the table of a paper.

    points ─ facts ─ results ─ comparing ─ plots ─ reading ─ page

Each module takes the points and gives plain values; the templates (``runner/templates``) give them words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.core.digest import digest
from runner.records.sweep import summary
from runner.report import comparisons as comparing
from runner.report import disagreements as reading
from runner.report import facts, formats, page, plots, results
from runner.report.comparisons import Build
from runner.report.points import Point, command, find, load


def write(folders: Sequence[Path], target: Path, build: Build, rows: int = 50) -> list[Path]:
    """Write the report of the runs and sweeps in ``folders`` into ``target``; the files written.

    ``build`` makes a metric from its node in a config, ``rows`` of each set of rows are given to read.
    """
    points = load(folders)
    content = compose(points, folders, build, rows)
    target.mkdir(parents=True, exist_ok=True)
    texts = {
        "index.html": page.html(content),
        "table.md": page.markdown(content),
        "table.tex": page.latex(content),
        "table.csv": summary([point.record for point in points]).write_csv(),
        "comparison.csv": comparing.frame(content.compared.tables).write_csv(),
    }
    texts = {name: text for name, text in texts.items() if text.strip()}
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in texts]


def compose(points: Sequence[Point], folders: Sequence[Path], build: Build, rows: int) -> page.Page:
    """Everything that the page says, before it is put into words."""
    compared = comparing.compare(points, build)
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
        readings=[reading.read(family, build, rows) for family in compared.families],
    )


def with_first(folders: Sequence[Path], build: Build) -> tuple[str, str]:
    """A sweep's points compared with the first: in a line, and as CSV; empty where rows differ."""
    table = comparing.with_first(load(folders), build) if len(folders) <= comparing.MOST else None
    return (formats.against_first(table), comparing.frame([table]).write_csv()) if table else ("", "")


def name(folders: Sequence[Path]) -> str:
    """The name of a report: its folder's, or one that the same folders always have."""
    first = folders[0].resolve()
    own = f"{first.parent.name}-{first.name}" if first.name.isdigit() else first.name
    rest = [str(folder.resolve()) for folder in folders]
    return own if len(folders) == 1 else f"{own}-and-{len(folders) - 1}-more-{digest(rest)[:6]}"


__all__ = ["Build", "Point", "compose", "find", "load", "name", "with_first", "write"]
