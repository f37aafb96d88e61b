"""Published figures are read as the paper prints them and compared with measured ones."""

from __future__ import annotations

from typing import Any

import pytest
from commandline import CommandLine

from runner.config.schema import ReferenceConfig
from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.experiment.reference import compare_figures, read_figure, read_figures

MEASURED = {"accuracy": Score(0.57504, 0.5, 0.6, 100), "alpha": Score(None)}


def agrees(value: Any, **config: Any) -> bool | None:
    """Whether a published accuracy agrees with a measured 0.57504 (0.5 to 0.6)."""
    return compare_figures(ReferenceConfig(figures={"accuracy": value}, **config), MEASURED)[0]["agrees"]


@pytest.mark.parametrize(
    ("written", "value", "half_digit"),
    [
        (0.85, 0.85, 0.005),
        ("0.850", 0.85, 0.0005),
        (105, 105, 0.5),
        ("57.50%", 0.575, 0.00005),
        ("83/92", 83 / 92, 0),
        (-0.05, -0.05, 0.005),
        (9e-05, 0.00009, 0.000005),
    ],
)
def test_a_figure_is_written_as_the_paper_prints_it(written: Any, value: float, half_digit: float) -> None:
    """Numbers, strings, percentages and fractions are read with the precision of their last printed digit."""
    figure = read_figure(written, "here")
    assert figure.value == pytest.approx(value, abs=1e-15)
    assert figure.half_digit == pytest.approx(half_digit, abs=1e-15)
    assert figure.printed == str(written)


@pytest.mark.parametrize("written", ["high", "1/0", "1/2/3", True, "nan", ".5%%"])
def test_what_is_no_figure_is_refused_by_its_key(written: Any) -> None:
    """A word, an impossible fraction and a boolean are errors that name their key."""
    with pytest.raises(ConfigError, match=r"reference\.figures\.accuracy: .* is not a number"):
        agrees(written)


def test_a_figure_inside_the_interval_or_the_tolerance_agrees() -> None:
    """By default a figure agrees if it lies in the interval or within the tolerance."""
    assert agrees(0.59) is True
    assert agrees(0.61) is False
    assert agrees(0.61, tolerance=0.04) is True


def test_exact_wants_the_printed_digits_and_no_interval() -> None:
    """With ``exact`` the measured value must round to the figure or differ by at most the tolerance."""
    assert agrees(0.59, exact=True) is False
    assert agrees("57.50%", exact=True) is True
    assert agrees("57.51%", exact=True) is False
    assert agrees("57.51%", exact=True, tolerance=0.0001) is True
    assert agrees("23/40", exact=True) is False


def test_what_has_no_measured_value_neither_agrees_nor_disagrees() -> None:
    """An undefined score has no verdict."""
    assert compare_figures(ReferenceConfig(figures={"alpha": 0.3}), MEASURED)[0]["agrees"] is None


def test_the_case_of_a_run_picks_its_figures() -> None:
    """``case`` selects its mapping of figures; a case without figures gives no rows."""
    cases = {"base": {"accuracy": 0.5}, "last": {"accuracy": 0.9}}
    assert read_figures(ReferenceConfig(case="last", figures=cases))["accuracy"].value == 0.9
    assert compare_figures(ReferenceConfig(case="2", figures=cases), MEASURED) == []
    with pytest.raises(ConfigError, match=r"reference\.case must say"):
        read_figures(ReferenceConfig(figures=cases))


def test_columns_name_the_figures_of_a_list() -> None:
    """With ``columns`` a case is a list of figures, with null where there is none."""
    config = ReferenceConfig(case="a", columns=["accuracy", "f1"], figures={"a": [0.5, None], "b": [0.5]})
    assert list(read_figures(config)) == ["accuracy"]
    config.case = "b"
    with pytest.raises(ConfigError, match=r"reference\.figures\.b: .* nor 2 values"):
        read_figures(config)


def test_a_figure_that_is_not_measured_stays_open() -> None:
    """A figure whose metric was not measured is shown without a verdict."""
    (row,) = compare_figures(ReferenceConfig(figures={"recall": 0.5}), MEASURED)
    assert (row["published"], row["measured"], row["agrees"]) == (0.5, None, None)


def test_unreadable_figures_stop_a_run_before_it_starts(runner: CommandLine) -> None:
    """Figures that cannot be read stop a run before anything is paid."""
    outcome = runner("tracking=none", "+reference.figures.accuracy=high")
    assert (outcome.code, "reference.figures.accuracy: 'high' is not a number" in outcome.err) == (2, True)
    assert not list(runner.folder.glob("outputs/ledger.db"))
