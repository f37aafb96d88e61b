"""The table of a sweep fits screens of any width."""

from __future__ import annotations

import io

import polars as pl
import pytest
from rich.console import Console

from runner.cli.screen.sweep_table import describe_agreement, fit_table, sort_by_rank
from runner.report.formats import format_number

FRAME = pl.DataFrame(
    {
        "job": [0, 1],
        "subset": ["Natural", "Neighbor"],
        "pairwise_agreement": [0.97, 0.5],
        "pairwise_agreement_low": [0.93, 0.4],
        "pairwise_agreement_high": [1.0, 0.6],
        "pairwise_agreement_published": [0.97, 0.58],
        "pairwise_agreement_standing": ["met", "missed"],
        "kappa": [0.125, None],
        "status": ["finished", "finished"],
        "reason": [None, None],
    }
)


def shown(width: int, frame: pl.DataFrame = FRAME) -> str:
    console = Console(width=width, file=io.StringIO(), soft_wrap=True)
    console.print(fit_table(frame, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_wide_screen_shows_intervals() -> None:
    """On a wide screen a cell has value, interval and a tick or the published figure; titles are full."""
    text = shown(120)
    assert "pairwise_agreement" in text
    assert "0.970 (0.930 – 1.000) ✓" in text
    assert "0.500 (0.400 – 0.600) ✗ 0.580" in text


def test_a_narrower_screen_shows_values_and_broken_titles() -> None:
    """On a narrower screen titles are broken, and no number is cut."""
    text = shown(38)
    assert "0.500 ✗ 0.580" in text
    assert "0.125" in text
    assert "pairwise_agreement" not in text
    assert "agreement" in text


def test_what_does_not_fit_is_named() -> None:
    """Columns that do not fit are left out from the right and named."""
    text = shown(34)
    assert "0.500 ✗ 0.580" in text
    assert "0.125" not in text
    assert "too wide for this screen: kappa" in text


def test_the_best_point_comes_first() -> None:
    """The objective is the first score, with what is said of each point; those without a rank are last."""
    rest = pl.DataFrame(
        {
            "job": [0, 1, 2, 3],
            "n_shot": [0, 1, 3, 9],
            "f1": [0.1, None, 0.9, 0.5],
            "f1_low": [0.0, None, 0.8, 0.4],
        }
        | {"kappa": [0.2, None, 0.3, 0.1], "status": ["finished", "failed", "finished", "finished"]}
    )
    sorted_ = sort_by_rank(rest, "kappa", [2, 0], {2: "best", 0: "worse, p 0.010"})
    assert sorted_["job"].to_list() == [2, 0, 3, 1]
    assert sorted_.columns[:4] == ["job", "n_shot", "kappa", "against best"]
    assert sorted_["against best"].to_list() == ["best", "worse, p 0.010", None, None]
    assert sort_by_rank(rest, "", [], {}) is rest


@pytest.mark.parametrize(
    ("column", "values", "there"),
    [
        ("status", ["finished", "finished"], False),
        ("status", ["finished", "failed"], True),
        ("cost_usd", [0.0, 0.0], False),
        ("cost_usd", [0.0, 0.2], True),
    ],
)
def test_status_and_cost_are_shown_where_there_is_something_to_say(
    column: str, values: list[object], there: bool
) -> None:
    """Status and cost are shown only if a point failed or cost money."""
    frame = FRAME.with_columns(pl.Series(column, values))
    assert (column in shown(120, frame)) is there


def test_published_figures_are_counted() -> None:
    """Figures that are met are counted over all points and scores; nothing is shown without figures."""
    assert describe_agreement(FRAME) == "published: 1 of 2 figures met"
    assert describe_agreement(FRAME.drop("pairwise_agreement_standing")) == ""


def test_numbers_have_three_decimals_and_counts_none() -> None:
    """Numbers have three decimals, counts have none, and undefined values are a dash."""
    assert [format_number(value) for value in (0.5, 1.0, None)] == ["0.500", "1.000", "–"]
    assert [format_number(value, bounded=False) for value in (105.0, 0.5)] == ["105", "0.500"]
