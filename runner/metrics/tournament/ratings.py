"""Ratings of players, such as models, from games: rows in which a verdict names the better of two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import Direction, Score, write_column, write_value
from runner.metrics.base import UNREAD, get_column, name_rows
from runner.metrics.bootstrap import Floats, draw_resamples, tally
from runner.metrics.tournament.fit import Games, fit_strengths, play_in_random_orders
from runner.parse.sides import FIRST, SECOND, TIE, find_family, make_family, spell

SCALE = 400 / np.log(10)
"""Points of a rating per unit of log odds: 400 points are odds of ten to one."""
RESULTS = {FIRST: 1.0, SECOND: 0.0, TIE: 0.5}
"""What the first player of a game gets."""


@dataclass(kw_only=True)
class _Tournament(ABC):
    """What both ratings share.

    first, second   columns of the two players of a game, as they were shown
    prediction      column of the verdict: the better position, or a player's name, or a tie
    positions       the values for the first and the second position; by default a and b, 1 and 2, or first
                    and second
    ties            the values for a tie; by default ``tie``, ``draw``, ``equal``, and c beside a and b
    unparsed        what a game without a verdict is in the strict reading: a ``tie``, or a game that the
                    ``first`` or ``second`` player has won
    base            the mean rating of all players, or the rating of ``anchor``
    anchor          a player whose rating is ``base``; null: the mean of all is
    direction       whether a ``higher`` rating is better for what you compare; by default ``none`` is
    group           column of the unit that is drawn for the interval; null: games are drawn
    confidence, resamples, seed   of the percentile bootstrap

    Scores: ``name_PLAYER`` for each player, ``n`` its games. The parsed reading leaves out games without a
    verdict. The interval is that of Chiang et al. 2024, "Chatbot Arena": the quantiles over resamples.
    """

    first: str = "first"
    second: str = "second"
    prediction: str = "prediction"
    positions: Sequence[Any] | None = None
    ties: Sequence[Any] | None = None
    unparsed: Literal["tie", "first", "second"] = "tie"
    base: float = 1000.0
    anchor: str | None = None
    group: str | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    direction: Direction = "none"
    name: str = ""

    default_name: ClassVar[str]

    def __post_init__(self) -> None:
        self.name = self.name or self.default_name
        if self.unparsed not in (known := ("tie", "first", "second")):
            raise ConfigError(
                f"metric {self.name}: unparsed {self.unparsed!r}{suggest(str(self.unparsed), known)}"
            )
        if self.positions is not None and len({spell(value) for value in self.positions}) != 2:
            raise ConfigError(f"metric {self.name}: expected two positions, got {self.positions}")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"metric {self.name}: confidence {self.confidence} is not between 0 and 1")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        games, players = self._read_games(frame)
        groups = get_column(frame, self.group, self.name) if self.group else None
        parsed = games["result"].is_not_null()
        whole = games.with_columns(pl.col("result").fill_null(self._unread))
        strict = self._rate(whole, players, groups)
        if not parsed.any():
            strict = [Score(None, n=score.n, reason=UNREAD) for score in strict]
        some = strict
        if not parsed.all():
            some = self._rate(
                games.filter(parsed), players, groups.filter(parsed) if groups is not None else None
            )
        names = [f"{self.name}_{player}" for player in players]
        return dict(zip(names, strict, strict=True)) | {
            f"{name}_parsed": score for name, score in zip(names, some, strict=True)
        }

    @property
    def _unread(self) -> float:
        return {"tie": 0.5, "first": 1.0, "second": 0.0}[self.unparsed]

    def _read_games(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """The numbers of the players and the result of each game, null without a verdict; and the players."""
        sides = [write_column(get_column(frame, name, self.name)) for name in (self.first, self.second)]
        for side in sides:
            if empty := side.is_null().arg_true().to_list():
                raise DataError(
                    f"metric {self.name}: column {side.name!r} names no player in {name_rows(frame, empty)}"
                )
        if same := (sides[0] == sides[1]).arg_true().to_list():
            raise DataError(
                f"metric {self.name}: a player plays against itself in rows {name_rows(frame, same)}"
            )
        players = sorted({*sides[0], *sides[1]})
        if self.anchor is not None and self.anchor not in players:
            raise ConfigError(
                f"metric {self.name}: anchor {self.anchor!r} plays no game{suggest(self.anchor, players)}"
            )
        number = {player: place for place, player in enumerate(players)}
        games = {
            "one": [number[player] for player in sides[0]],
            "other": [number[player] for player in sides[1]],
            "result": pl.Series(self._read_results(frame, *sides), dtype=pl.Float64),
        }
        return pl.DataFrame(games), players

    def _read_results(self, frame: pl.DataFrame, one: pl.Series, other: pl.Series) -> list[float | None]:
        """The result of each game from the view of ``one``; null without a verdict."""
        said = get_column(frame, self.prediction, self.name)
        family = self._make_family(said)
        results: list[float | None] = []
        unclear = []
        for row, (value, first, second) in enumerate(zip(said.to_list(), one, other, strict=True)):
            result = None if value is None else _read_result(value, first, second, family)
            place = None if value is None else family.get(spell(value))
            if place is not None and result != RESULTS[place]:
                unclear.append(row)
            results.append(result)
        if unclear:
            raise DataError(
                f"metric {self.name}: {write_value(said[unclear[0]])!r} is the name of a player and of the"
                f" other position in {count_of(len(unclear), 'row')} ({name_rows(frame, unclear)}); give the"
                " players other names by a step, or, if players are meant, positions of other names"
                f" (metric.{self.name}.positions=[first,second])"
            )
        return results

    def _make_family(self, said: pl.Series) -> dict[str, int]:
        """The verdicts that name a position or a tie, with what they name."""
        values = said.drop_nulls().unique()
        family = dict(find_family(values) if self.positions is None else make_family(self.positions))
        if not family:
            family = dict.fromkeys(("tie", "draw", "equal"), TIE)
        if self.ties is not None:
            family = {name: place for name, place in family.items() if place != TIE}
            family |= {spell(value): TIE for value in self.ties}
        return family

    def _rate(self, games: pl.DataFrame, players: Sequence[str], groups: pl.Series | None) -> list[Score]:
        played = [
            int(((games["one"] == player) | (games["other"] == player)).sum())
            for player in range(len(players))
        ]
        if games.is_empty():
            return [Score(None, n=0, reason=UNREAD) for _ in players]
        sample = tally(games, groups)
        kinds = Games(*(sample.cells[name].to_numpy() for name in Games._fields))
        found = self._place(self.rate(kinds, sample.counts[None, :], len(players), exact=True), players)[0]
        low, high = np.full((2, len(players)), np.nan)
        if sample.units > 1 and self.resamples > 0:
            drawn = [
                self.rate(kinds, block, len(players), exact=False)
                for block in draw_resamples(sample, self.resamples, self.seed)
            ]
            placed = self._place(np.concatenate(drawn), players)
            known = placed[np.isfinite(placed).all(axis=1)]
            if 2 * len(known) > len(placed):
                tail = (1 - self.confidence) / 2
                low, high = np.quantile(known, [tail, 1 - tail], axis=0)
        why = "some players never lose to, or never win against, the others, so no rating is the best one"
        scores = []
        for value, start, end, n in zip(found, low, high, played, strict=True):
            bounds = (float(start), float(end)) if end > start else (None, None)
            known = np.isfinite(value)
            scores.append(
                Score(float(value), bounds[0], bounds[1], n) if known else Score(None, n=n, reason=why)
            )
        return scores

    def _place(self, ratings: Floats, players: Sequence[str]) -> Floats:
        """Ratings moved so that the anchor, or the mean, is ``base``."""
        at = ratings.mean(axis=1) if self.anchor is None else ratings[:, list(players).index(self.anchor)]
        return ratings - at[:, None] + self.base

    @abstractmethod
    def rate(self, games: Games, counts: Floats, players: int, exact: bool) -> Floats:
        """Ratings of shape (resamples, players), NaN where undefined, for counts of (resamples, games).

        ``exact`` is for the value itself, and not for its interval.
        """


def _read_result(value: Any, one: str, other: str, family: dict[str, int]) -> float | None:
    """What the first player gets; None for what names neither a player, nor a position, nor a tie."""
    name = write_value(value)
    if name in (one, other):
        return 1.0 if name == one else 0.0
    place = family.get(spell(value))
    return None if place is None else RESULTS[place]


@dataclass(kw_only=True)
class BradleyTerry(_Tournament):
    """Bradley-Terry ratings: the odds that one player beats another are 10 to the difference / 400.

    The maximum of the likelihood (Bradley and Terry 1952), in which a tie is half a win for each, as in
    Chiang et al. 2024, "Chatbot Arena". The order of the games does not matter. It is undefined where some
    players only win or only lose against the others (Ford 1957).
    """

    default_name: ClassVar[str] = "bradley_terry"

    def rate(self, games: Games, counts: Floats, players: int, exact: bool) -> Floats:
        wins = np.zeros((len(counts), players, players))
        for kind, (a, b, score) in enumerate(zip(*games, strict=True)):
            wins[:, a, b] += counts[:, kind] * score
            wins[:, b, a] += counts[:, kind] * (1 - score)
        return np.asarray(SCALE * fit_strengths(wins))


@dataclass(kw_only=True)
class Elo(_Tournament):
    """Elo ratings: after each game the winner takes ``k`` times the share that the loser was expected to get.

    k         how far a game moves a rating, as in Elo 1978, "The Rating of Chessplayers"
    shuffles  in how many random orders the games are played

    The order of the games matters, and rows have none that means anything. So it is the mean over random
    orders (``seed``); each resample is played in ten. With few games or a small ``k`` all ratings stay near
    ``base``: ``BradleyTerry`` has no such settings.
    """

    k: float = 4.0
    shuffles: int = 100
    default_name: ClassVar[str] = "elo"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k <= 0 or self.shuffles < 1:
            raise ConfigError(f"metric {self.name}: k must be above 0, and shuffles at least 1")

    def rate(self, games: Games, counts: Floats, players: int, exact: bool) -> Floats:
        orders = self.shuffles if exact else min(10, self.shuffles)
        random = np.random.default_rng(self.seed)
        return play_in_random_orders(games, counts, players, self.k, orders, random)
