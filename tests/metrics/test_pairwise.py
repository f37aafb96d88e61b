"""Pairs judged in both orders: rules, and the published figures of all recorded LLMBar runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from runner import metrics, parse
from runner.core.errors import ConfigError, DataError


def judged(*pairs: tuple[str, str | None, str | None]) -> pl.DataFrame:
    """Rows of pairs given as (better position in order ab, verdict in ab, verdict in ba)."""
    rows = []
    for number, (gold, ab, ba) in enumerate(pairs):
        other = {"a": "b", "b": "a"}.get(gold, gold)
        rows.append({"pair": number, "order": "ab", "target": gold, "prediction": ab})
        rows.append({"pair": number, "order": "ba", "target": other, "prediction": ba})
    return pl.DataFrame(rows)


def values(scores: dict[str, Any]) -> dict[str, float | None]:
    return {name.removeprefix("pairwise"): score.value for name, score in scores.items()}


def test_a_judge_that_always_says_a_is_right_in_one_order_and_never_agrees() -> None:
    """Position bias: half right on average, nothing right in both orders."""
    scores = values(metrics.Pairwise()(judged(("a", "a", "a"), ("a", "a", "a"))))
    assert (scores["_ab"], scores["_ba"], scores[""]) == (1.0, 0.0, 0.5)
    assert (scores["_both"], scores["_agreement"]) == (0.0, 0.0)


def test_kappas_compare_winners_and_not_positions() -> None:
    """Between the orders, and of each with the target, as scikit-learn on the outputs' numbers."""
    scores = values(
        metrics.Pairwise()(judged(("a", "a", "b"), ("b", "b", "b"), ("b", "a", "a"), ("a", "a", "b")))
    )
    gold, ab, ba = [1, 2, 2, 1], [1, 2, 1, 1], [1, 1, 2, 1]
    assert scores["_agreement_kappa"] == pytest.approx(cohen_kappa_score(ab, ba))
    assert scores["_kappa_ab"] == pytest.approx(cohen_kappa_score(gold, ab))
    assert scores["_kappa_ba"] == pytest.approx(cohen_kappa_score(gold, ba))


@pytest.mark.parametrize(
    ("tie", "ab", "ba"), [("keep", 0, 0), ("wrong", 0, 0), ("first", 1, 0), ("second", 0, 1)]
)
def test_a_tie_goes_where_the_rule_says(tie: Any, ab: float, ba: float) -> None:
    """The first or second presented output wins, which is another one in each order; or nobody does."""
    scores = values(metrics.Pairwise(tie=tie)(judged(("a", "tie", "tie"))))
    assert (scores["_ab"], scores["_ba"]) == (ab, ba)


def test_a_kept_tie_is_right_where_the_target_is_a_tie() -> None:
    """Ties are an outcome of their own, unless the rule takes them away."""
    rows = judged(("tie", "tie", "tie"), ("a", "a", "b"))
    assert values(metrics.Pairwise()(rows))["_both"] == 1.0
    assert values(metrics.Pairwise(tie="wrong")(rows))["_both"] == 0.5


@pytest.mark.parametrize(("unparsed", "ab", "ba"), [("wrong", 0, 0), ("first", 1, 0), ("second", 0, 1)])
def test_an_unparsed_verdict_goes_where_the_rule_says(unparsed: Any, ab: float, ba: float) -> None:
    """The strict reading follows the rule; the parsed one leaves the pair out."""
    scores = metrics.Pairwise(unparsed=unparsed)(judged(("a", None, None), ("a", "a", "b")))
    assert (scores["pairwise_ab"].value, scores["pairwise_ba"].value) == ((ab + 1) / 2, (ba + 1) / 2)
    assert (scores["pairwise_ab_parsed"].value, scores["pairwise_ab_parsed"].n) == (1.0, 1)


def test_two_missing_verdicts_do_not_agree() -> None:
    """Saying nothing twice is no agreement."""
    assert values(metrics.Pairwise()(judged(("a", None, None), ("a", "a", "b"))))["_agreement"] == 0.5


def test_a_pair_without_its_other_order_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A limit that cuts a pair in two costs that pair, and the log says so."""
    scores = metrics.Pairwise()(judged(("a", "a", "b"), ("a", "b", "b")).head(3))
    assert scores["pairwise"].n == 1
    assert "left out 1 pair, of which" in caplog.text


def test_pairs_that_contradict_themselves_are_refused() -> None:
    """Targets that name different outputs, rows twice, and unknown orders."""
    rows = judged(("a", "a", "b"))
    with pytest.raises(DataError, match="name different outputs"):
        metrics.Pairwise()(rows.with_columns(target=pl.lit("a")))
    with pytest.raises(DataError, match="twice in order ab"):
        metrics.Pairwise()(pl.concat([rows, rows]))
    with pytest.raises(DataError, match="'order' must be ab or ba; it is not in rows 0, 1"):
        metrics.Pairwise()(rows.with_columns(order=pl.lit("forward")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tie": "secnd"}, "did you mean 'second'"),
        ({"positions": ["a"]}, "expected two positions, got"),
        ({"per": "x"}, "pairs cannot be averaged per x"),
    ],
)
def test_impossible_rules_are_refused(options: dict[str, Any], message: str) -> None:
    """Before any call is paid."""
    with pytest.raises(ConfigError, match=message):
        metrics.Pairwise(**options)


@pytest.mark.parametrize(
    ("first", "second", "tie"),
    [
        ("a", "b", "tie"),
        ("A", "B", "C"),
        ("[[A]]", "[[B]]", "[[C]]"),
        (1, 2, "tie"),
        ("first", "second", "Tie"),
    ],
)
def test_the_names_of_positions_do_not_matter(first: Any, second: Any, tie: Any) -> None:
    """Usual names are known: a right judge is right, a wrong one is wrong, and a tie is a tie."""
    names = {"a": first, "b": second, "tie": tie, None: None}
    for said in (("a", "b", "tie"), ("b", "a", "a"), ("tie", "tie", None)):
        rows = judged(*((gold, ab, said[0]) for gold, ab in zip(("a", "b", "tie"), said, strict=True)))
        renamed = rows.with_columns(
            pl.Series(name, [str(names[value]) if names[value] is not None else None for value in rows[name]])
            for name in ("target", "prediction")
        )
        assert metrics.Pairwise()(renamed) == metrics.Pairwise()(rows)


@given(
    pairs=st.lists(st.tuples(*[st.sampled_from(["a", "b", "tie"])] * 3), min_size=1, max_size=8).filter(
        lambda pairs: any(gold != "tie" for gold, _, _ in pairs)
    )
)
@settings(max_examples=25, deadline=None)
def test_swapping_names_and_sides_gives_the_same_verdicts(pairs: list[tuple[str, str, str]]) -> None:
    """What is right does not depend on which output is called the first one."""
    metric = metrics.Pairwise(resamples=0)
    swap = {"a": "b", "b": "a", "tie": "tie"}
    plain = values(metric(judged(*pairs)))
    swapped = values(metric(judged(*(tuple(swap[value] for value in pair) for pair in pairs))))
    assert swapped == pytest.approx(plain, nan_ok=True)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (["good", "bad"], "no value of column 'target' is a position"),
        (["a", "2"], "no value of column 'target' is a position"),
        (["0", "1"], "neither a position nor a tie in rows 0"),
        (["a", "d"], "neither a position nor a tie in rows 1, such as 'd'"),
        (["tie", "tie"], "no value of column 'target' is a position"),
    ],
)
def test_a_target_that_names_no_position_is_refused(gold: list[str], message: str) -> None:
    """Numbers from 0, several kinds of names and other words are not guessed."""
    rows = judged(("a", "a", "b")).with_columns(target=pl.Series(gold))
    with pytest.raises(DataError, match=message):
        metrics.Pairwise()(rows)


def test_positions_and_ties_can_be_named() -> None:
    """With names given, no others count; a predicted value that is none of them is no prediction."""
    rows = judged(("a", "a", "b"), ("tie", "tie", "hm"))
    renamed = rows.with_columns(
        pl.col(name).replace({"a": "left", "b": "right", "tie": "same"}) for name in ("target", "prediction")
    )
    metric = metrics.Pairwise(positions=["left", "right"], ties=["same"])
    scores = metric(renamed)
    assert (scores["pairwise_ab"].value, scores["pairwise_ba"].value) == (1.0, 0.5)
    assert scores["pairwise_parsed"].n == 1
    assert metric.score_rows(renamed).to_list() == [1.0, 1.0, 1.0, None]


def rated(*pairs: tuple[int, int | None, int | None]) -> pl.DataFrame:
    """Rows of pairs given as (better output, rating of output 1, rating of output 2)."""
    return pl.DataFrame(
        [
            {"pair": number, "output": output, "label": gold, "prediction": rating}
            for number, (gold, *ratings) in enumerate(pairs)
            for output, rating in zip((1, 2), ratings, strict=True)
        ]
    )


def test_the_higher_rating_wins_and_a_tie_follows_its_rule() -> None:
    """Without ties both orders are the same; a tie won by the second presented differs between them."""
    metric = metrics.PairwiseRating(target="label", tie="second")
    scores = values(metric(rated((1, 5, 2), (2, 5, 2), (2, 3, 3))))
    assert scores["_ab"] == pytest.approx(2 / 3)
    assert scores["_ba"] == pytest.approx(1 / 3)
    assert scores["_agreement"] == pytest.approx(2 / 3)


def test_a_missing_rating_makes_the_pair_unparsed() -> None:
    """One of two ratings is not enough; the rule for unparsed decides, not the rule for ties."""
    scores = metrics.PairwiseRating(target="label", tie="second", unparsed="first")(
        rated((1, 5, None), (1, 5, 2))
    )
    assert (scores["pairwise_ab"].value, scores["pairwise_ba"].value) == (1.0, 0.5)
    assert scores["pairwise_parsed"].n == 1


RUNS = [
    f"{subset}/evaluators/GPT-4/{evaluator}"
    for subset in ("Natural", "Adversarial/Neighbor", "Adversarial/GPTInst")
    for evaluator in ("Vanilla_NoRules", "Vanilla", "Vanilla_1shot", "Vanilla_2shot", "CoT", "Rating")
]
PUBLISHED = {
    "correct_False": "_ab",
    "correct_True": "_ba",
    "correct_average": "",
    "correct_both": "_both",
    "equal": "_agreement",
    "kappa_agreement": "_odd_agreement_kappa",
    "kappa_False": "_odd_kappa_ab",
    "kappa_True": "_odd_kappa_ba",
    "kappa_average": "_odd_kappa",
}


def replayed(pairs: list[dict[str, Any]]) -> pl.DataFrame:
    """One row per order, the verdict parsed from the raw completion."""
    rows = [
        {
            "pair": number,
            "order": order,
            "target": "ab"[(pair["label"] == 2) != swap],
            "completion": pair["results"][0][f"swap = {swap}"]["completion"][0],
        }
        for number, pair in enumerate(pairs)
        for order, swap in (("ab", False), ("ba", True))
    ]
    frame = pl.DataFrame(rows)
    parser = parse.Regex(r"Output \(([ab])\)", pick="last")
    return frame.with_columns(prediction=parse.apply(parser, frame["completion"]))


def replayed_ratings(pairs: list[dict[str, Any]]) -> pl.DataFrame:
    """One row per output, the rating parsed from the raw completion."""
    rows = [
        {
            "pair": number,
            "output": output,
            "label": pair["label"],
            "completion": pair["results"][0][f"score_{output}"][0],
        }
        for number, pair in enumerate(pairs)
        for output in (1, 2)
    ]
    frame = pl.DataFrame(rows)
    return frame.with_columns(prediction=parse.apply(parse.Number(minimum=0, maximum=9), frame["completion"]))


@pytest.mark.parametrize("run", RUNS)
def test_llmbar_as_published(shared_data: Path, run: str) -> None:
    """All nine figures of each of the 18 recorded runs, from the raw completions."""
    folder = shared_data / "llmbar" / "Dataset" / "LLMBar" / run
    pairs = json.loads((folder / "result.json").read_text())
    if run.endswith("Rating"):
        metric: metrics.Pairwise = metrics.PairwiseRating(
            target="label", tie="second", unparsed="first", odd_kappa=True
        )
        scores = values(metric(replayed_ratings(pairs)))
    else:
        scores = values(metrics.Pairwise(odd_kappa=True)(replayed(pairs)))
    for name, published in json.loads((folder / "statistics.json").read_text()).items():
        text = str(published).split("= ")[-1]
        figure = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        assert scores[PUBLISHED[name]] == pytest.approx(figure, abs=1e-12), name


def test_llmbar_counts_two_missing_verdicts_as_agreement() -> None:
    """They are wrong, and where codes are compared they are the second output."""
    frame = judged(("a", "a", "b"), ("a", None, None), ("a", "b", None), ("a", "a", "a"))
    scores = values(metrics.Pairwise(odd_kappa=True, unparsed="tie", resamples=0)(frame))
    assert [scores[end] for end in ("", "_both", "_agreement")] == [3 / 8, 1 / 4, 2 / 4]
    kappa = cohen_kappa_score([1, 0, 0, 1], [1, 0, 0, 0])
    assert scores["_odd_agreement_kappa"] == pytest.approx(kappa)


def test_a_pair_that_nobody_parsed_may_be_won_by_an_output():
    """In both orders the same output wins, unlike with a rule for a position."""
    frame = pl.DataFrame(
        {
            "id": ["a", "b"],
            "pair": [1, 1],
            "order": ["ab", "ba"],
            "prediction": pl.Series([None, None], dtype=pl.String),
            "target": ["a", "b"],
        }
    )
    read = frame.with_columns(id=pl.col("id") + "2", pair=pl.lit(2), prediction=pl.col("target"))
    rows = pl.concat([frame, read], how="vertical_relaxed")
    found = {
        rule: [
            metrics.Pairwise(unparsed=rule, resamples=0)(rows)[f"pairwise{end}"].value
            for end in ("", "_agreement")
        ]
        for rule in ("first_output", "second_output", "first", "wrong")
    }
    assert found == {
        "first_output": [1.0, 1.0],
        "second_output": [0.5, 1.0],
        "first": [0.75, 0.5],
        "wrong": [0.5, 0.5],
    }
