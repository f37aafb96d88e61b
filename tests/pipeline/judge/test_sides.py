"""A judge in both orders: what its answers mean, and which judges are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import parse
from runner.config.schema import JudgeConfig, SidesConfig
from runner.core.errors import ConfigError
from runner.parse.sides import list_names, place_names
from runner.pipeline.judge import Sides, make_sides, name_winner

ORDERS = ["completion", "target"]


def sides(parser: Any, **names: Any) -> Sides:
    found = make_sides(JudgeConfig(name="j", both_orders=ORDERS, sides=SidesConfig(**names)), parser)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("parser", "first", "second", "tie"),
    [
        (parse.Label(["a", "b"]), "a", "b", None),
        (parse.Label({"A": ["first"], "B": ["second"], "C": ["tie"]}), "A", "B", "C"),
        (parse.Label([1, 2]), 1, 2, None),
        (parse.Label(["first", "second", "tie"]), "first", "second", "tie"),
        (parse.Regex(r"\[\[([ABC])\]\]"), "A", "B", "C"),
        (parse.Regex(r"(\[\[[ABC]\]\])", then=parse.Label(["A", "B", "C"])), "A", "B", "C"),
        (parse.Regex(r"winner: (?P<who>A|B|tie)", group="who"), "A", "B", "tie"),
        (parse.Json("winner", then=parse.Label(["A", "B", "tie"])), "A", "B", "tie"),
    ],
)
def test_usual_names_are_known(parser: Any, first: Any, second: Any, tie: Any) -> None:
    """The first name wins for the side shown first, in each order; other words are no verdict."""
    known = sides(parser)
    assert [name_winner(first, order, known) for order in ("ab", "ba")] == ORDERS
    assert [name_winner(second, order, known) for order in ("ab", "ba")] == ORDERS[::-1]
    assert tie is None or name_winner(tie, "ab", known) == "tie"
    assert [name_winner(other, "ab", known) for other in ("hm", "", None, 3, "ab")] == [None] * 5


@pytest.mark.parametrize(
    "parser",
    [
        parse.Text(),
        parse.Number(minimum=1, maximum=2),
        parse.Number(choices=[1, 2]),
        parse.Label(["good", "bad"]),
        parse.Label(["A", "B", "C", "D"]),
        parse.Label(["A", "2"]),
        parse.Label(["A>B", "B>A"]),
        parse.Label([0, 1, 2]),
        parse.Regex(r"(\w+)"),
        parse.Regex(r"\[\[([AB])\]\]", group=0),
        parse.Regex(r"(?i)\[\[([AB])\]\]"),
        parse.Json("winner"),
        parse.Label(["a", "tie"]),
    ],
)
def test_a_parser_that_cannot_give_the_names_is_refused(parser: Any) -> None:
    """The error names the parser and the key that would say what its answers mean."""
    with pytest.raises(ConfigError, match=r"judge\.prompt\.parser: .* judge\.sides"):
        sides(parser)


def test_names_can_be_given() -> None:
    """Any names count if the config says whose they are; those that are not named are no verdict."""
    known = sides(parse.Label(["X", "Y", "Z"]), first="Y", second=["X"])
    assert [name_winner(said, "ab", known) for said in "XYZ"] == ["target", "completion", None]
    known = sides(parse.Number(), first=0, second=1, tie=2)
    assert [name_winner(said, "ba", known) for said in (0, 1, 2, 3)] == ["target", "completion", "tie", None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"first": "A"}, r"judge\.sides\.second"),
        ({"first": "A", "second": "A"}, r"judge\.sides\.second: 'A' names two sides"),
        ({"first": "A", "second": "D"}, r"judge\.sides\.second: .* never gives 'D'"),
        ({"first": True, "second": "B"}, r"judge\.sides\.first: True is no name; put quotes"),
    ],
)
def test_wrong_names_are_refused(given: Any, message: str) -> None:
    """Each mistake names its key."""
    with pytest.raises(ConfigError, match=message):
        sides(parse.Label(["A", "B"]), **given)


@pytest.mark.parametrize("columns", [["completion"], ["a", "b", "c"], ["a", "a"], ["tie", "a"], []])
def test_anything_but_two_columns_is_refused(columns: list[str]) -> None:
    """Both orders need two columns, and the verdict "tie" must not be one of them."""
    with pytest.raises(ConfigError, match=r"judge\.both_orders: expected two different columns"):
        make_sides(JudgeConfig(name="j", both_orders=columns), parse.Label(["a", "b"]))


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True))
def test_names_are_known_or_not_at_all(names: list[str]) -> None:
    """Either every name has a place and both sides have one, or none is known."""
    places = place_names(names)
    assert places is None or (set(places) == set(names) and {0, 1} <= set(places.values()))


def test_names_that_a_pattern_captures() -> None:
    """A set of letters or a list of words is closed; a range, a class or a case-insensitive one is not."""
    assert list_names(parse.Regex(r"\(([ab])\)", pick="last")) == ["a", "b"]
    assert list_names(parse.Regex(r"(yes|no)")) == ["yes", "no"]
    for pattern in (r"([A-C])", r"(\w)", r"([^ab])", r"(?i)([ab])", r"([ab]+)", r"(a)(b)"):
        assert list_names(parse.Regex(pattern)) == []
