"""``runner estimate``: a table with a line per point and the total, and below it the prices used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from omegaconf import DictConfig
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.cli.screen import console
from runner.config.hydra_job import get_overrides, list_typed
from runner.core.errors import RunnerError, count_of
from runner.core.paths import OUTPUTS
from runner.core.types import format_dollars
from runner.experiment.estimate import Point, estimate_plan
from runner.experiment.estimate.power import count_comparisons
from runner.experiment.plan import make_plan
from runner.experiment.seeds import SweptSeeds
from runner.experiment.unused import Unused, warn_of_unused
from runner.money.price import Price
from runner.providers.local.weights import stay_offline
from runner.report.formats import format_number

TIMES = 3
"""The second number of rows that is told."""
COLUMNS = ("rows", "stored", "calls", "judge calls", "tokens read", "written", "trained", "USD from", "to")


class Estimate:
    """Estimates every point of a sweep, and shows them at its end."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.refused: list[tuple[list[str], Exception]] = []
        """The overrides of points that cannot be run, and why."""
        self._seen: set[str] = set()
        self._seeds = SweptSeeds()
        self._unused = Unused()

    def __call__(self, config: DictConfig) -> None:
        """Estimate one point."""
        try:
            with stay_offline():
                plan = make_plan(config, asks=False)
                self._seeds.note(plan)
                self._seeds.check()
                self._unused.note(plan, list_typed(get_overrides()))
                self.points.append(estimate_plan(plan, self._seen, get_overrides(), OUTPUTS))
        except RunnerError as error:
            self.refused.append((get_overrides(), error))
            raise

    def finish(self) -> None:
        """Print the estimates, if there are any."""
        if self.points:
            show_points(self.points, self.refused)
            warn_of_unused(self._unused.list_common())


def show_points(points: Sequence[Point], refused: Sequence[tuple[Sequence[str], Exception]] = ()) -> None:
    """Print the estimates of a sweep's points, or of a single run, and name the points that cannot be run."""
    shown = list_own_words([*(point.overrides for point in points), *(words for words, _ in refused)])
    names = [text or point.name for text, point in zip(shown, points, strict=False)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("point", *COLUMNS):
        table.add_column(title, justify="left" if title == "point" else "right", no_wrap=True)
    for point, name in zip(points, names, strict=True):
        table.add_row(name, *_make_cells([point]))
    if len(points) > 1:
        table.add_row("total", *_make_cells(points), style="bold")
    lines: list[RenderableType] = [table]
    for text, (_, error) in zip(shown[len(points) :], refused, strict=True):
        lines.append(Text(f"not in the table: {text}, which cannot be run: {error}"))
    lines += [Text(line) for line in list_powers(points)]
    lines += [Text(line, style="dim") for line in list_notes(points)]
    console.print(Group(*lines))


def name_points(points: Sequence[Point]) -> list[str]:
    """Name each point by the overrides that not all points share, or else by the experiment."""
    own = list_own_words([point.overrides for point in points])
    return [text or point.name for text, point in zip(own, points, strict=True)]


def list_own_words(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Of each point the overrides that not all points share."""
    shared = set.intersection(*map(set, overrides))
    return [", ".join(word for word in words if word not in shared) for words in overrides]


def list_powers(points: Sequence[Point]) -> list[str]:
    """Return what each point could show, in two lines; points of which the same is true share them."""
    powers = count_comparisons([point.power for point in points])
    said: dict[str, list[str]] = {}
    for point, name, power in zip(points, name_points(points), powers, strict=True):
        if power:
            said.setdefault(describe_power(replace(point, power=power)), []).append(name)
    return [
        (f"{', '.join(names)}: " if len(names) < len(points) else "") + text for text, names in said.items()
    ]


def describe_power(point: Point) -> str:
    """Say which difference a point could show, what three times the rows would, and where this is from."""
    power = point.power
    assert power is not None
    rows = f"{power.n:,} {power.unit[: -1 if power.n == 1 else None]}"
    rows += f" × {power.repeats} repeats" if power.repeats > 1 else ""
    found = power.detect(power.difference)
    if power.difference is None:
        return f"{power.metric}: which difference {rows} would show is not known; {power.basis}"
    if found is None:
        few = power.difference.units < 1
        groups = f" in {count_of(round(power.n * power.difference.units), 'group')}" if few else ""
        return f"{power.metric}: {rows}{groups}; too few to say which difference they show ({power.basis})"
    other = "another model" if power.comparisons == 1 else "another point"
    size, more = (
        _format_difference(each, power.is_share) for each in (found, power.detect(power.difference, TIMES))
    )
    text = f"{power.metric}: {rows} would show a difference of {size} from {other} (4 times of 5)"
    cost = point.extend_usd(TIMES)
    text += f"\n  {TIMES * power.n:,} {power.unit}, {TIMES} times as many, would show {more}"
    text += f"; all of them would cost up to ${_format_cost(cost)}" if cost else ""
    notes = [power.basis]
    if usual := power.detect(power.usual):
        notes.append(
            f"{_format_difference(usual, power.is_share)} if both are right, or both wrong, on four of five"
            f" {power.unit}"
        )
    if power.comparisons > 1:
        notes.append(f"corrected for {power.comparisons} comparisons")
    if power.half_width:
        notes.append(f"95% interval of the score: ± {_format_difference(power.half_width, power.is_share)}")
    return f"{text}\n  {'; '.join(notes)}"


def _format_cost(dollars: float) -> str:
    return f"{dollars:,.2f}" if dollars >= 1 else format_dollars(dollars)


def _format_difference(value: float | None, is_share: bool) -> str:
    if value is None:
        return "none"
    return f"{100 * value:.1f} points" if is_share else format_number(value)


def list_notes(points: Sequence[Point]) -> list[str]:
    """Return the lines below the table: prices and their dates, what is unknown, and the least time."""
    prices = {name: price for point in points for name, price in point.prices.items()}
    lines = [_describe_price(name, price) for name, price in prices.items()]
    lines += _explain_calls(points)
    if any(point.usd[1] is None and point.usd[0] is not None for point in points):
        lines.append("no upper bound: hyperparameter.max_tokens is not set")
    if any(point.training_usd is None for point in points):
        lines.append("training: no price is known (prices.models)")
    trainings = {point.training_price: None for point in points if point.trained and point.training_price}
    lines += [f"training: {price.describe_training()}" for price in trainings]
    if hosted := [point for point in points if point.hosted_minutes]:
        each = "each " if len(hosted) > 1 else ""
        stands = f"{each}taken to stand {hosted[0].hosted_minutes:g} min (provider.deployment.minutes)"
        unknown = "; no price is known" if any(point.hosting_usd is None for point in hosted) else ""
        lines.append(f"hosting: {count_of(len(hosted), 'deployment')}, {stands}{unknown}")
    if any(point.usd[0] is None for point in points) and any(point.known_usd is not None for point in points):
        lines.append("'at least' leaves out what has no known price")
    minutes = sum(point.minutes for point in points)
    if minutes:
        lines.append(f"at least {minutes:.1f} min, by requests_per_minute and tokens_per_minute")
    missing = dict.fromkeys(text for point in points for text in point.missing)
    lines += [f"a run needs this, too: {text}" for text in missing]
    if any(point.batch for point in points):
        lines.append("a batch may take 24 h")
    return [*lines, "tokens are estimated, prices are without cache discounts; nothing was asked"]


def _explain_calls(points: Sequence[Point]) -> list[str]:
    """Why there are other numbers of calls than of rows: repeats, equal chats, recorded answers, judges."""
    lines = []
    asked, different = (sum(each) for each in zip(*((p.asked, p.answers.asked) for p in points), strict=True))
    if different < asked and any(point.answers.calls for point in points):
        lines.append(
            f"calls: {asked:,} answers are to {count_of(different, 'different chat')}, each asked once"
        )
    if questions := {point.questions for point in points if point.judgments}:
        each = " or ".join(f"{number:,}" for number in sorted(questions))
        lines.append(
            f"judge calls: {each} for each answer (judges × orders × repeats); equal ones are asked once"
        )
    return lines


def _describe_price(name: str, price: Price | None) -> str:
    if price is None:
        return f"{name}: no price is known (prices.models, prices.path, provider.priced_as)"
    return f"{name}: {price.describe()}"


def _make_cells(points: Sequence[Point]) -> list[str]:
    works = [work for point in points for work in point.works]
    judged = [work for point in points for work in point.judgments.values()]
    counts = [
        sum(point.rows for point in points),
        sum(work.stored for work in works),
        sum(point.answers.calls for point in points),
        sum(work.calls for work in judged) if judged else None,
    ]
    spans = [
        _format_span([work.read for work in works]),
        _format_span([work.written for work in works]),
        _format_count(sum(point.trained for point in points) or None),
    ]
    most = _format_dollars([point.usd[1] for point in points])
    return [*map(_format_count, counts), *spans, _format_least(points), most]


def _format_least(points: Sequence[Point]) -> str:
    """The lower bound in dollars; of what is known, where some price is not."""
    if all(point.usd[0] is not None for point in points):
        return _format_dollars([point.usd[0] for point in points])
    known = [point.known_usd for point in points if point.known_usd is not None]
    return f"at least {format_dollars(sum(known))}" if known else "?"


def _format_count(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}"


def _format_span(bounds: Sequence[tuple[float, float | None]]) -> str:
    low = sum(low for low, _ in bounds)
    highs = [high for _, high in bounds if high is not None]
    if len(highs) < len(bounds):
        return f"{low:,.0f} – ?"
    return f"{low:,.0f}" if round(sum(highs)) == round(low) else f"{low:,.0f} – {sum(highs):,.0f}"


def _format_dollars(amounts: Sequence[float | None]) -> str:
    known = [amount for amount in amounts if amount is not None]
    return format_dollars(sum(known)) if len(known) == len(amounts) else "?"
