"""Measure and print the table: ``python -m tests.benchmarks [case ...]``.

Every case runs the bare loop beside the runner, so ratios hold where seconds drift; the load of the machine
stands above each. Exits 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.benchmarks.cases import CASES, Line, run

HEADER = ("case", "ours", "floor", "ratio", "target", "met", "")
WIDTHS = (32, 14, 14, 7, 8, 4, 0)


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=raw)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; default: all")
    wanted = parser.parse_args().cases or list(CASES)
    for name in wanted:
        if name not in CASES:
            parser.error(f"{name!r} is none of {', '.join(CASES)}")
    print(_row(HEADER))
    met = True
    for name in wanted:
        print(f"{name}: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
        for line in run(name):
            met &= line.met is not False
            print(_row(_cells(line)), flush=True)
    return 0 if met else 1


def _cells(line: Line) -> tuple[str, ...]:
    bound = "" if line.most is None else f"<= {line.most:g}"
    return (
        line.case,
        _number(line.ours, line.unit),
        _number(line.floor, line.unit),
        "" if line.ratio is None else f"{line.ratio:.2f}",
        bound if line.least is None else f">= {line.least:g}",
        {None: "", True: "yes", False: "NO"}[line.met],
        line.note,
    )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def _row(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


sys.exit(main())
