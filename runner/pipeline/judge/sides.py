"""Two outputs that are judged in both orders, and which of them an answer of the judge names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runner.config.schema import JudgeConfig
from runner.core.errors import ConfigError, suggest
from runner.core.types import Parser
from runner.parse import list_fields
from runner.parse.sides import FIRST, SECOND, TIE, list_names, place_names

TIED = "tie"
"""The verdict that neither of two sides won."""
PLACES = {"first": FIRST, "second": SECOND, TIED: TIE}


@dataclass(frozen=True)
class Sides:
    """Two columns that are judged in both orders, and what the judge's answers mean.

    ``places`` gives each answer the output that it names: 0 the first shown, 1 the second, 2 a tie. Any other
    answer is no verdict.
    """

    columns: tuple[str, str]
    places: Mapping[str, int]

    @property
    def verdicts(self) -> list[str]:
        """All verdicts that there can be."""
        return [*self.columns, TIED]


def make_sides(judge: JudgeConfig, parser: Parser, key: str = "judge.prompt") -> Sides | None:
    """The sides of a judge that is asked in both orders, or None. ``key`` is where its prompt is.

    Raises :class:`ConfigError` for anything but two columns, for a parser that cannot give the names of the
    two sides, and for names in ``judge.sides`` that the parser cannot give.
    """
    named = {side: names for side, names in asdict(judge.sides).items() if names is not None}
    if judge.both_orders is None:
        if named:
            raise ConfigError("judge.sides: it names the sides of judge.both_orders, which is not set")
        return None
    columns = tuple(judge.both_orders)
    if len(set(columns)) != 2 or len(columns) != 2 or TIED in columns:
        raise ConfigError(
            f"judge.both_orders: expected two different columns, none named {TIED!r}, got {list(columns)}"
        )
    if list_fields(parser):
        raise ConfigError(
            "judge.both_orders: a parser of several fields reads each order, and there is one verdict;"
            " name the parser of the verdict alone"
        )
    known = list_names(parser)
    places = _read_places(named, known, key) if named else place_names(known)
    if places is None:
        given = f"gives {', '.join(known)}" if known else "has no closed set of answers"
        raise ConfigError(
            f"{key}.parser: it {given}, so it is not known which answer names the first output "
            "and which the second; use a parser with the labels a and b (A and B, 1 and 2, perhaps a tie), "
            "or say it in judge.sides, such as judge.sides={first: A, second: B, tie: C}"
        )
    return Sides((columns[0], columns[1]), places)


def _read_places(sides: Mapping[str, Any], known: Sequence[str], key: str) -> dict[str, int]:
    """The place of each name in ``judge.sides``."""
    places: dict[str, int] = {}
    for side, names in sides.items():
        for name in names if isinstance(names, list) else [names]:
            if name is None or isinstance(name, bool):
                raise ConfigError(f"judge.sides.{side}: {name!r} is no name; put quotes around it")
            if known and str(name) not in known:
                raise ConfigError(
                    f"judge.sides.{side}: {key}.parser never gives {name!r}{suggest(str(name), known)}"
                )
            if places.setdefault(str(name), PLACES[side]) != PLACES[side]:
                raise ConfigError(f"judge.sides.{side}: {name!r} names two sides")
    if lacking := [side for side in ("first", "second") if PLACES[side] not in places.values()]:
        raise ConfigError(f"judge.sides.{lacking[0]}: it must name the answer for the {lacking[0]} output")
    return places


def name_winner(verdict: Any, order: str, sides: Sides) -> str | None:
    """The column that a judge's answer names in this order, ``tie``, or None."""
    place = None if verdict is None else sides.places.get(_to_name(verdict))
    if place is None or place == TIE:
        return None if place is None else TIED
    return sides.columns[place if order == "ab" else 1 - place]


def _to_name(verdict: Any) -> str:
    return str(int(verdict) if isinstance(verdict, float) and verdict.is_integer() else verdict)
