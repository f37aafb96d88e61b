"""Ratings of players against values computed by hand and by another optimiser."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from runner.core.errors import ConfigError, DataError
from runner.metrics.tournament import BradleyTerry, Elo


def play(*games: tuple[str, str, str | None, int]) -> pl.DataFrame:
    """Each game so many times."""
    rows = [(one, other, said) for one, other, said, times in games for _ in range(times)]
    schema = {"first": pl.String, "second": pl.String, "prediction": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


THREE = play(
    ("x", "y", "A", 6), ("y", "x", "A", 2), ("y", "z", "A", 5), ("z", "y", "A", 3), ("x", "z", "B", 1),
    ("z", "x", "B", 7), ("x", "y", "tie", 2),
)  # fmt: skip


def values(metric, frame: pl.DataFrame) -> dict[str, float | None]:
    return {name: score.value for name, score in metric(frame).items() if not name.endswith("_parsed")}


def test_odds_of_three_to_one():
    """Two players: the difference is 400 times the logarithm of the odds."""
    found = values(BradleyTerry(resamples=0), play(("x", "y", "A", 3), ("y", "x", "A", 1)))
    assert found["bradley_terry_x"] - found["bradley_terry_y"] == pytest.approx(400 * np.log10(3))
    assert sum(found.values()) == pytest.approx(2000)


def test_strengths_are_those_of_another_optimiser():
    """The likelihood with ties as half wins, maximised by SciPy; the anchor has the base."""
    wins = np.array([[0, 7, 7], [3, 0, 5], [1, 3, 0]])

    def loss(free):
        strength = np.array([0.0, *free])
        return (wins * np.log1p(np.exp(strength[None, :] - strength[:, None]))).sum()

    wanted = np.array([0.0, *minimize(loss, [0.0, 0.0], tol=1e-12).x]) * 400 / np.log(10) + 1000
    found = values(BradleyTerry(anchor="x", resamples=0), THREE)
    assert list(found.values()) == pytest.approx(list(wanted), abs=1e-2)


def test_a_player_may_be_named_and_positions_may_be_swapped():
    """The winner by its name, or by the position at which it was shown, is the same game."""
    named = play(("x", "y", "x", 2), ("y", "x", "y", 1))
    placed = play(("x", "y", "[[A]]", 1), ("y", "x", "[[B]]", 1), ("x", "y", "[[B]]", 1))
    metric = BradleyTerry(resamples=0)
    assert list(values(metric, named).values()) == pytest.approx(list(values(metric, placed).values()))


def test_a_verdict_that_may_be_a_player_or_a_position_is_refused():
    """The player B was shown first, and the verdict is A: the first position, or the other player?"""
    games = play(("A", "B", "A", 2), ("B", "A", "A", 1))
    with pytest.raises(DataError, match=r"'A' is the name of a player and of the other position in 1 row"):
        BradleyTerry()(games)
    found = values(BradleyTerry(positions=["first", "second"], resamples=0), games.vstack(games[2:]))
    assert found == {"bradley_terry_A": None, "bradley_terry_B": None}  # A has won all games


def test_a_player_that_only_wins_has_no_rating():
    """The likelihood has no maximum then, and the reason is told."""
    score = BradleyTerry()(play(("x", "y", "A", 3)))["bradley_terry_x"]
    assert (score.value, score.low, score.n) == (None, None, 3)
    assert "never lose" in score.reason


def test_a_verdict_that_was_not_read_is_a_tie_or_left_out():
    """Strictly it is half a win for each; parsed, there was no such game."""
    games = play(("x", "y", "A", 3), ("y", "x", "A", 1), ("x", "y", None, 2), ("x", "y", "unclear", 1))
    scores = BradleyTerry(resamples=0)(games)
    assert scores["bradley_terry_x"].value == pytest.approx(1000 + 200 * np.log10(4.5 / 2.5))
    assert scores["bradley_terry_x_parsed"].value == pytest.approx(1000 + 200 * np.log10(3))
    assert [scores[f"bradley_terry_x{end}"].n for end in ("", "_parsed")] == [7, 4]
    unread = BradleyTerry()(play(("x", "y", None, 2)))
    assert {score.value for score in unread.values()} == {None}


def test_the_interval_covers_the_true_difference():
    """In 19 of 20 drawn tournaments or so; here at least 26 of 30."""
    random = np.random.default_rng(1)
    hits = 0
    for seed in range(30):
        wins = int(random.binomial(100, 0.64))
        games = play(("x", "y", "A", wins), ("x", "y", "B", 100 - wins))
        score = BradleyTerry(anchor="y", resamples=200, seed=seed)(games)["bradley_terry_x"]
        hits += score.low <= 1000 + 400 * np.log10(0.64 / 0.36) <= score.high
    assert hits >= 26


def test_elo_by_hand():
    """Games of one kind have no order: 1000 + k/2, then k times what was not expected."""
    one = values(Elo(k=32, resamples=0), play(("x", "y", "A", 1)))
    assert one == {"elo_x": 1016.0, "elo_y": 984.0}
    two = values(Elo(k=32, resamples=0), play(("x", "y", "A", 2)))
    assert two["elo_x"] == pytest.approx(1016 + 32 * (1 - 1 / (1 + 10 ** (-32 / 400))))


def test_elo_is_the_mean_over_orders():
    """Of a win and a loss the later one counts more, so that over all orders they are near to even."""
    games = play(("x", "y", "A", 1), ("x", "y", "B", 1))
    assert values(Elo(k=32, shuffles=2000, resamples=0), games)["elo_x"] == pytest.approx(1000, abs=0.2)
    assert values(Elo(), THREE) == values(Elo(), THREE.reverse())  # the order of the rows is nothing
    score = Elo()(THREE)["elo_x"]
    assert score.low < score.value < score.high


@pytest.mark.parametrize(
    ("metric", "games", "said"),
    [
        (BradleyTerry(), play(("x", "x", "A", 1)), "plays against itself"),
        (
            BradleyTerry(),
            pl.DataFrame({"first": [None], "second": ["y"], "prediction": ["A"]}),
            "names no player",
        ),
        (BradleyTerry(anchor="w"), THREE, "anchor 'w' plays no game"),
        (BradleyTerry(first="frist"), THREE, "no column 'frist'"),
    ],
)
def test_mistakes_are_named(metric, games, said):
    """Before anything is paid, since the players are columns of the rows."""
    with pytest.raises((ConfigError, DataError), match=said):
        metric(games)


def test_wrong_options_are_refused():
    """When the metric is made."""
    for options in ({"unparsed": "wrong"}, {"positions": ["a"]}, {"confidence": 2}):
        with pytest.raises(ConfigError, match="metric bradley_terry"):
            BradleyTerry(**options)
    with pytest.raises(ConfigError, match="k must be above 0"):
        Elo(k=0)
