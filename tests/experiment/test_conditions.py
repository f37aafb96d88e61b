"""``require``: conditions on scores."""

from __future__ import annotations

import operator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.experiment.conditions import check_conditions, count_met, list_unmet, read_conditions

SIGNS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}


@given(
    st.floats(-1e6, 1e6),
    st.sampled_from(sorted(SIGNS)),
    st.floats(-1e6, 1e6),
    st.sampled_from(["", " ", "  "]),
)
def test_a_condition_is_what_it_says(value, sign, bound, space):
    """It is met where Python's operator says so, however the number and the spaces are written."""
    unmet = list_unmet({"m": f"{space}{sign}{space}{bound!r}"}, {"m": Score(value)}, {})
    assert (unmet == []) is SIGNS[sign](value, bound)


NO_TEXT = st.integers() | st.floats() | st.booleans() | st.dictionaries(st.text(), st.text())
NEAR = ["=> 0.8", "0.8", ">= 80%", ">= nan", ">= inf", ">=", "!= 1", ">= 1_0", ">= 1 2"]


@given(st.text("<>=!1.e- ", max_size=5) | NO_TEXT)
def test_anything_else_is_refused(text):
    """A condition has one operator and one number, or it is a mistake, and no other error."""
    with suppress(ConfigError):
        (condition,) = read_conditions({"m": text})
        assert "".join(text.split()).startswith(condition.sign)


@pytest.mark.parametrize("text", NEAR)
def test_near_misses_are_refused(text):
    """The message shows how to write it."""
    with pytest.raises(ConfigError, match=r"require\.f1: .*; write an operator .*such as '>= "):
        read_conditions({"f1": text})


def test_what_can_have_a_condition():
    """Scores, their bounds, figures and costs; null takes a condition away, a list has several."""
    values = {"f1": Score(0.71, 0.6, 0.79996), "none": Score(None)}
    require = {
        "f1": [">= 0.8", "< 0.9"],
        "f1_low": "> 0.5",
        "f1_high": ">= 0.8",
        "parse_rate": "== 1",
        "none": ">= 0",
        "cost_usd": "< 1",
        "gone": None,
    }
    check_conditions(require, values, ["parse_rate"])
    assert list_unmet(require, values, {"parse_rate": 0.5}) == [
        "f1 0.71 is not >= 0.8",
        "f1_high 0.79996 is not >= 0.8",
        "parse_rate 0.5 is not == 1",
        "none is not known, so it is not >= 0",
        "cost_usd is not known, so it is not < 1",
    ]


def test_a_name_that_no_run_has():
    """It is found before the first call."""
    with pytest.raises(ConfigError, match=r"require\.acuracy: .*did you mean 'accuracy'"):
        check_conditions({"acuracy": ">= 1"}, ["accuracy"], ["n"])


def test_published_figures_that_are_not_met():
    """They can fail a run, but only one that can meet them: an exact replay."""
    rows = [{"standing": "met"}, {"standing": "missed"}, {"standing": None}, {"standing": "met"}]
    require = {"figures_met": ">= 1.0", "figures_unmet": "== 0"}
    met = count_met(rows)
    check_conditions(require, [], met)
    assert list_unmet(require, {}, met) == ["figures_met 0.5 is not >= 1", "figures_unmet 2 is not == 0"]
    assert list_unmet(require, {}, count_met(rows[:1])) == []
    assert count_met([{"standing": "inside"}]) == {}
    with pytest.raises(ConfigError, match=r"require\.figures_met: this run meets no .*provider=replay"):
        check_conditions(require, ["accuracy"], ["n"])
