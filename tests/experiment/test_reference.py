"""Published figures are read as the paper prints them and compared with measured ones."""

from __future__ import annotations

from typing import Any

import pytest
from commandline import CommandLine

from runner.config.groups.reference import ReferenceConfig
from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.experiment.reference import (
    Answering,
    check_figures,
    compare_figures,
    find_lost_percent,
    read_figure,
    read_figures,
)
from runner.records.published import describe_standing, read_comparisons, summarize_standings

MEASURED = {"accuracy": Score(0.57504, 0.5, 0.6, 100), "alpha": Score(None)}
RECORDED, ASKED = Answering(("recorded",), recorded=True), Answering(("gpt-4",))


def compare(value: Any, answering: Answering = ASKED, **config: Any) -> dict[str, Any]:
    """A published accuracy beside a measured 0.57504 (0.5 to 0.6)."""
    (row,) = compare_figures(ReferenceConfig(figures={"accuracy": value}, **config), MEASURED, answering)
    return row


def meets(value: Any, **config: Any) -> bool | None:
    """Whether an exact replay meets it."""
    return compare(value, RECORDED, exact=True, **config)["agrees"]


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
        compare(written)


@pytest.mark.parametrize(
    ("printed", "measured", "is_lost"),
    [
        ("70.0", 0.7, True),
        ("70.0%", 0.7, False),
        ("70.0", 0.1, False),
        ("3.5", 3.4, False),
        ("1", 0.01, False),
    ],
)
def test_a_lost_percent_sign_is_told(printed, measured, is_lost):
    """A figure above 1 whose hundredth part is near the measured share."""
    figure = vars(read_figure(printed, "f1")) | {"metric": "f1"}
    hint = find_lost_percent(figure | {"published": figure["value"]}, Score(measured))
    assert hint.endswith("write 70.0% if it is a percentage") == is_lost


def test_only_an_exact_replay_meets_a_figure() -> None:
    """The measured value must round to the figure or differ by at most the tolerance; no interval counts."""
    assert meets(0.59) is False
    assert meets("57.50%") is True
    assert meets("57.51%") is False
    assert meets("57.51%", tolerance=0.0001) is True
    assert meets("23/40") is False


@pytest.mark.parametrize(
    ("published", "config", "words"),
    [
        (0.575, {"exact": True}, "inside the interval (n = 100)"),
        (0.59, {}, "inside the interval (n = 100)"),
        (0.61, {}, "outside the interval (n = 100)"),
        (0.61, {"tolerance": 0.04}, "within the tolerance (n = 100)"),
        (0.59, {"model": "gpt-4"}, "inside the interval (n = 100)"),
        (0.59, {"model": "smollm2-135m"}, "beside: another model"),
        (0.59, {"model": "gpt-4o", "exact": True}, "beside: another model"),
    ],
)
def test_a_model_that_is_asked_anew_never_agrees(published: float, config: Any, words: str) -> None:
    """It has an interval, in which the published value lies or not; that of another model is only shown."""
    row = compare(published, **config)
    assert row["agrees"] is None
    assert describe_standing(row) == words


@pytest.mark.parametrize(
    ("model", "standing"),
    [
        ("gpt-4-0613", "inside"),
        ("GPT-4", "inside"),
        ("openai/gpt-4", "inside"),
        ("gpt-4-2024-01-01", "inside"),
        ("gpt-4o", "other"),
        ("gpt-4-mini", "other"),
        ("gpt-4-latest", "other"),
        ("smollm2", "other"),
    ],
)
def test_a_dated_version_is_the_published_model(model: str, standing: str) -> None:
    """A name is the same with a vendor before it or a date after it, and with nothing else."""
    assert compare(0.59, Answering((model,)), model="gpt-4")["standing"] == standing


def test_each_case_may_have_its_model() -> None:
    """``model`` may map cases to names."""
    config = ReferenceConfig(case="a", model={"a": "x", "b": "gpt-4"}, figures={"a": {"accuracy": 0.59}})
    assert compare_figures(config, MEASURED, ASKED)[0]["standing"] == "other"


def test_what_has_no_measured_value_has_no_standing() -> None:
    """An undefined score is neither inside nor outside, met nor missed."""
    (row,) = compare_figures(ReferenceConfig(figures={"alpha": 0.3}), MEASURED, ASKED)
    assert (row["standing"], row["agrees"], describe_standing(row)) == (None, None, "–")


def test_the_case_of_a_run_picks_its_figures() -> None:
    """``case`` selects its mapping of figures; one without published figures has null."""
    cases = {"base": {"accuracy": 0.5}, "last": {"accuracy": 0.9}, "2": None}
    assert read_figures(ReferenceConfig(case="last", figures=cases))["accuracy"].value == 0.9
    assert read_figures(ReferenceConfig(case="2", figures=cases)) == {}
    with pytest.raises(ConfigError, match=r"reference\.case must say .*\(base, last, 2\)"):
        read_figures(ReferenceConfig(figures=cases))


def test_a_case_without_figures_is_an_error_unless_nothing_is_compared() -> None:
    """The nearest case is named, and how to compare nothing."""
    config = ReferenceConfig(case="lst", figures={"base": {"accuracy": 0.5}, "last": {"accuracy": 0.9}})
    with pytest.raises(ConfigError, match=r"reference\.case: 'lst'.*did you mean 'last'.*compare=false"):
        read_figures(config)
    config.compare = False
    assert read_figures(config) == {}


def test_a_figure_of_a_score_that_the_run_does_not_have_is_an_error() -> None:
    """The nearest score is named, and how to compare nothing."""
    config = ReferenceConfig(figures={"acuracy": 0.5})
    with pytest.raises(ConfigError, match=r"no score 'acuracy'; did you mean 'accuracy'.*compare=false"):
        check_figures(config, ["accuracy", "f1"])
    check_figures(ReferenceConfig(figures={"accuracy": 0.5}), ["accuracy", "f1"])


def test_counts_of_standings_in_words() -> None:
    """Figures that are met, inside an interval and of other models are counted apart."""
    rows = [{"standing": name, "n": 8} for name in ("met", "missed", "inside", "outside", "other", None)]
    assert summarize_standings(rows) == (
        "1 of 2 figures met; published value inside the interval for 1 of 2 figures (n = 8); "
        "1 figure of another model, only shown beside"
    )


def test_older_records_agree_only_if_they_are_exact_replays() -> None:
    """What was called agreement because of an interval is none any more."""
    rows = [{"metric": "f1", "agrees": value} for value in (True, False, None)]
    assert [row["standing"] for row in read_comparisons(rows, exact=True)] == ["met", "missed", None]
    anew = read_comparisons(rows, exact=False)
    assert [row["standing"] for row in anew] == ["inside", "outside", None]
    assert [row["agrees"] for row in anew] == [None] * 3


def test_columns_name_the_figures_of_a_list() -> None:
    """With ``columns`` a case is a list of figures, with null where there is none."""
    config = ReferenceConfig(case="a", columns=["accuracy", "f1"], figures={"a": [0.5, None], "b": [0.5]})
    assert list(read_figures(config)) == ["accuracy"]
    config.case = "b"
    with pytest.raises(ConfigError, match=r"reference\.figures\.b: .* nor 2 values"):
        read_figures(config)


def test_a_line_of_a_table_is_a_list_of_figures() -> None:
    """A case may be a line of text, as printed: no quotes for a final 0, and a dash for no figure."""
    columns = ["accuracy", "f1", "kappa"]
    config = ReferenceConfig(case="a", columns=columns, figures={"a": "57.50%  - 0.50", "b": "0.5 0.6"})
    assert {name: figure.printed for name, figure in read_figures(config).items()} == {
        "accuracy": "57.50%",
        "kappa": "0.50",
    }
    config.case = "b"
    with pytest.raises(ConfigError, match=r"reference\.figures\.b: .* nor 3 values"):
        read_figures(config)


def test_unreadable_figures_stop_a_run_before_it_starts(runner: CommandLine, shared_data: Any) -> None:
    """Figures that cannot be read stop a run before anything is paid."""
    outcome = runner("estimate", "+reference.figures.accuracy=high")
    assert (outcome.code, "reference.figures.accuracy: 'high' is not a number" in outcome.err) == (2, True)
    assert not list(runner.folder.glob("outputs/runs"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+reference.figures.f1=0.5"], "reference.figures: the run has no score 'f1'"),
        (["reference.case=x", "+reference.figures={y: {accuracy: 0.5}}"], "reference.case: 'x' is none of"),
    ],
)
def test_figures_that_cannot_be_compared_stop_a_run_before_it_starts(
    runner: CommandLine, shared_data: Any, overrides: list[str], message: str
) -> None:
    """Exit code 2 and no call; ``reference.compare=false`` runs without them."""
    outcome = runner("estimate", "tracking=none", *overrides)
    assert (outcome.code, message in outcome.err) == (2, True)
    assert runner("estimate", "tracking=none", "reference.compare=false", *overrides).code == 0
