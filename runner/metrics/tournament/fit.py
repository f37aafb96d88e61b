"""Strengths of players by maximum likelihood, and ratings by playing games one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runner.metrics.bootstrap import Floats

_STEPS, _CLOSE, _LONGEST = 200, 1e-10, 1.0
_BLOCK = 4_000_000
"""How many games are in memory at a time."""


class Games(NamedTuple):
    """Kinds of game, each of shape (kinds,): the numbers of both players, and what the first one gets."""

    one: NDArray[Any]
    other: NDArray[Any]
    result: Floats


def fit_strengths(wins: Floats) -> Floats:
    """Log strengths of the Bradley-Terry model, with mean 0, by Newton's method.

    ``wins`` has shape (tables, players, players): how often the one beat the other. NaN where the best
    strengths are not finite.
    """
    tables, players, _ = wins.shape
    found = np.full((tables, players), np.nan)
    chosen = np.flatnonzero(_is_connected(wins))
    games, scored = wins[chosen] + wins[chosen].transpose(0, 2, 1), wins[chosen].sum(axis=2)
    strength = np.zeros((len(chosen), players))
    for _ in range(_STEPS if len(chosen) else 0):
        share = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
        slope = scored - (games * share).sum(axis=2)
        bend = games * share * (1 - share)
        matrix = -bend + np.eye(players) * bend.sum(axis=2)[:, :, None] + 1 / players  # the mean stays 0
        step = np.clip(np.linalg.solve(matrix, slope[:, :, None])[:, :, 0], -_LONGEST, _LONGEST)
        strength += step - step.mean(axis=1, keepdims=True)
        if np.abs(step).max() < _CLOSE:
            break
    found[chosen] = strength
    return found


def _is_connected(wins: Floats) -> NDArray[np.bool_]:
    """Whether a chain of wins leads from each player to each other one (Ford 1957), per table."""
    players = wins.shape[1]
    reached = (wins > 0) | np.eye(players, dtype=bool)
    for _ in range(max(1, int(np.ceil(np.log2(players))))):
        reached = np.matmul(reached.astype(np.float32), reached.astype(np.float32)) > 0
    return np.asarray(reached.all(axis=(1, 2)))


def play_in_random_orders(
    games: Games,
    counts: Floats,
    players: int,
    k: float,
    orders: int,
    random: np.random.Generator,
) -> Floats:
    """Elo ratings around 0, the mean over random orders of the games, of shape (tables, players).

    ``counts`` has shape (tables, kinds of game): how often each kind was played.
    """
    longest = int(counts.sum(axis=1).max(initial=1))
    size = max(1, _BLOCK // (orders * longest))
    parts = [
        _play(games, counts[start : start + size], players, k, orders, random)
        for start in range(0, len(counts), size)
    ]
    return np.concatenate(parts)


def _play(
    games: Games,
    counts: Floats,
    players: int,
    k: float,
    orders: int,
    random: np.random.Generator,
) -> Floats:
    totals = counts.sum(axis=1).astype(int)
    most, rows = int(totals.max(initial=0)), len(counts) * orders
    rating, line = np.zeros((rows, players)), np.arange(rows)
    kinds = np.full((rows, most), -1)
    for table, count in enumerate(counts):
        played = np.repeat(np.arange(len(count)), count.astype(int))
        for order in range(orders):
            kinds[table * orders + order, : len(played)] = random.permutation(played)
    for game in range(most):
        kind = kinds[:, game]
        a, b = games.one[kind], games.other[kind]
        expected = 1 / (1 + 10 ** ((rating[line, b] - rating[line, a]) / 400))
        gain = np.where(kind >= 0, k * (games.result[kind] - expected), 0.0)
        rating[line, a] += gain
        rating[line, b] -= gain
    return np.asarray(rating.reshape(len(counts), orders, players).mean(axis=1))
