"""What is measured, each against its floor in the same minute."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import local
from tests.benchmarks.work import Cost, Mock, Workplace, measure, mock

JITTERED = {"latency_ms": 200, "jitter": 0.5}
LIMITED = {"rps": 50, "burst": 50}
SECONDS = attrgetter("seconds")


@dataclass(frozen=True)
class Line:
    """One line of the table; ``most`` and ``least`` bound the ratio, or ``ours`` where there is no floor."""

    case: str
    ours: float
    unit: str
    floor: float | None = None
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.floor is None else self.ours / self.floor

    @property
    def met(self) -> bool | None:
        """None where nothing is promised."""
        if self.most is None and self.least is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


def no_latency(folder: Path) -> Iterator[Line]:
    """1,000 rows, 50 at a time: the calls alone, then the whole process, then all of it again."""
    work = Workplace(folder, 1000)
    work.runner_once()
    with mock() as floor, mock() as ours:
        bare = work.bare(floor.url)
        whole = work.runner(ours.url)
        rate = work.rows / _calls_s(ours)
        floor_rate = work.rows / float(bare.out.split()[0])
        yield Line("calls without latency", rate, "rows/s", floor_rate, least=0.5)
        yield Line("whole process", whole.seconds, "s", most=5, note=_cpu(whole))
        again = work.runner(ours.url)
        assert ours.stats()["total"] == work.rows, "a finished row was asked again"
        start = work.runner(ours.url, "dataset.limit=1")
        more = again.seconds - start.seconds
        note = f"{again.seconds:.1f} s, of one row {start.seconds:.1f} s; {_cpu(again)}"
        yield Line("again, beyond start", more, "s", most=1, note=note)


def latency(folder: Path) -> Iterator[Line]:
    """200 ms with jitter: the whole process against the bare loop."""
    work = Workplace(folder, 1000)
    work.runner_once()
    with mock(**JITTERED) as floor, mock(**JITTERED) as ours:
        bare = work.bare(floor.url)
        whole = work.runner(ours.url)
        note = f"calls {_calls_s(ours):.1f} s; {_cpu(whole)}"
        yield Line("200 ms, jittered", whole.seconds, "s", bare.seconds, most=1.6, note=note)


def live(folder: Path) -> Iterator[Line]:
    """A run that MLflow shows while it is under way, against one that is logged at its end only."""
    work = Workplace(folder, 1000)
    work.runner_once()
    late = "import runner.tracking.live as l, runner.cli.main as m; l.SHOWN_AFTER_S = 1e6; m.main()"
    shown, hidden = [], []
    with mock(**JITTERED) as ours:
        for turn in range(3):
            fresh = f"ledger.url=sqlite:///live{turn}.db"
            shown.append(work.runner(ours.url, fresh))
            command = [sys.executable, "-c", late, *work.command(ours.url, f"{fresh}.late")[3:]]
            hidden.append(measure(command, folder))
    for name, value in (("seconds", SECONDS), ("processor", attrgetter("cpu_s"))):
        one, other = (min(map(value, costs)) for costs in (shown, hidden))
        yield Line(f"shown while it runs, {name}", one, "s", other, most=1.03)


def limits(folder: Path) -> Iterator[Line]:
    """50 requests a second allowed: told, and found out."""
    work = Workplace(folder, 1000)
    work.runner_once()
    told = ("provider.requests_per_minute=3000",)
    for case, overrides, most in (("limit told", told, 1.1), ("limit found", (), 1.25)):
        with mock(**LIMITED) as ours:
            whole = work.runner(ours.url, f"ledger.url=sqlite:///{len(overrides)}.db", *overrides)
            stats = ours.stats()
        assert stats["ok"] == work.rows, f"{work.rows - stats['ok']} rows were lost"
        note = f"{stats['limited']} refused; {_cpu(whole)}"
        yield Line(f"50 requests/s, {case}", whole.seconds, "s", 20.0, most=most, note=note)
        refused = 100 * stats["limited"] / stats["total"]
        yield Line("  answers 429", refused, "%", most=1 if overrides else None)


def refusal(folder: Path) -> Iterator[Line]:
    """The first request is refused without a limit, against a run in which none is."""
    work = Workplace(folder, 600)
    work.runner_once()
    costs = []
    for early in (0, 1):
        with mock(**JITTERED, early=early) as ours:
            costs.append(work.runner(ours.url, f"ledger.url=sqlite:///early{early}.db"))
    none, one = costs
    yield Line("one early 429", one.seconds, "s", none.seconds, most=1.5, note=_cpu(one))


def growth(folder: Path) -> Iterator[Line]:
    """10,000 and 100,000 rows: time by row, and memory."""
    by_row: list[float] = []
    for rows in (10_000, 100_000):
        work = Workplace(folder / str(rows), rows)
        work.runner_once()
        with mock() as floor, mock() as ours:
            bare = work.bare(floor.url)
            whole = work.runner(ours.url)
            note = f"calls {_calls_s(ours):.1f} s; {_cpu(whole)}"
        by_row.append(whole.seconds / rows)
        floor_s = float(bare.out.split()[0])
        yield Line(f"{rows:,} rows", whole.seconds, "s", floor_s, note=note)
        yield Line("  peak memory", whole.peak_mb, "MB", most=1000)
    yield Line("  time a row, 100,000 to 10,000", by_row[1], "s", by_row[0], most=1.1)


def sweep(folder: Path) -> Iterator[Line]:
    """20 points of 125 rows at 1 s latency, against one point; the better of two each, in turns."""
    work = Workplace(folder, 125, concurrency=2500)
    work.runner_once()
    ones, sweeps = [], []
    with mock(latency_ms=1000) as ours:
        for first in (0, 20):
            ones.append(work.runner(ours.url, f"hyperparameter.seed={first + 1000}"))
            seeds = ",".join(map(str, range(first, first + 20)))
            sweeps.append(
                work.runner(ours.url, "-m", "hydra/launcher=concurrent", f"hyperparameter.seed={seeds}")
            )
        one, many = min(ones, key=SECONDS), min(sweeps, key=SECONDS)
        note = f"peak {ours.stats()['peak']} at once; {_cpu(many)}"
    yield Line("sweep of 20 points", many.seconds, "s", one.seconds, most=2, note=note)


def start(folder: Path) -> Iterator[Line]:
    """The commands that compute nothing."""
    for options in (("--help",), ("--cfg", "job")):
        command = [sys.executable, "-m", "runner", *options]
        best = min((measure(command, folder) for _ in range(3)), key=SECONDS)
        yield Line(f"runner {' '.join(options)}", best.seconds, "s", most=1, note=_cpu(best))


def embedded(folder: Path) -> Iterator[Line]:
    """The local model against a bare loop over the same llama.cpp server."""
    ours, floor = local.rates(folder)
    yield Line("embedded model", ours, "rows/s", floor, least=0.9)


CASES: dict[str, Callable[[Path], Iterator[Line]]] = {
    case.__name__: case
    for case in (start, no_latency, latency, live, limits, refusal, growth, sweep, embedded)
}


def run(name: str) -> Iterator[Line]:
    """Measure one case in a folder of its own."""
    with TemporaryDirectory() as folder:
        yield from CASES[name](Path(folder))


def _calls_s(server: Mock) -> float:
    """From the first request to the last answer."""
    stats = server.stats()
    return float(stats["last"] - stats["first"])


def _cpu(cost: Cost) -> str:
    return f"{cost.cpu_s:.1f} s of processor"
