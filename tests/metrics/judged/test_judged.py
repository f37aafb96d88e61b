"""Figures of judges, against values by hand, of SciPy, and of published recordings."""

from __future__ import annotations

import json

import polars as pl
import pytest
from places import dataset_option
from scipy.stats import spearmanr

from runner.core.errors import ConfigError, DataError
from runner.data.dataset import load_rows
from runner.metrics import ExactMatch, MeanAbsoluteError
from runner.metrics.judged import LengthBias, PanelAgreement, PositionBias, ScorerAgreement, SelfPreference
from runner.pipeline.judge import Sides, name_winner
from runner.records.judges import tell_pairs, tell_panel
from runner.records.record import Record

SIDES = ["completion", "target"]


def orders(*pairs):
    """A frame in which a judge named these winners, in the published and in the swapped order."""
    words = {"c": "completion", "t": "target", "=": "tie", "?": None}
    return pl.DataFrame({"judge_orders": [pair and [words[letter] for letter in pair] for pair in pairs]})


def test_position_bias_by_hand():
    """``ct`` is the output shown first twice, ``tc`` the second twice; a tie and a winner differ, too."""
    scores = PositionBias()(orders("cc", "tt", "ct", "ct", "tc", "=c", "==", "c?", None))
    assert scores["position_bias"].value == pytest.approx(4 / 7)
    assert (scores["position_bias"].n, scores["position_bias_first"].n) == (7, 3)
    assert scores["position_bias_first"].value == pytest.approx(2 / 3)
    assert scores["position_bias"].low < 4 / 7 < scores["position_bias"].high


def test_position_bias_of_repeats():
    """A row counts once, with the mean of its repeats."""
    scores = PositionBias()(orders("ccct", "ttt?"))
    assert (scores["position_bias"].value, scores["position_bias"].n) == (0.25, 2)
    assert scores["position_bias_first"].value == 1


def test_no_verdicts_no_figures():
    """Without verdicts there are reasons and no numbers."""
    empty = pl.DataFrame({"judge_orders": [None], "verdict": [None], "completion": ["a"], "target": ["b"]})
    for metric in (PositionBias(), LengthBias(sides=SIDES), SelfPreference()):
        assert all(score.value is None and score.reason for score in metric(empty).values())


@pytest.mark.parametrize("evaluator", ["Vanilla", "CoT"])
@pytest.mark.parametrize(("subset", "folder"), [("GPTInst", "Adversarial/GPTInst"), ("Natural", "Natural")])
def test_position_bias_of_llmbar(shared_data, evaluator, subset, folder):
    """1 less the published share of pairs that GPT-4 judged equally in both orders."""
    rows = load_rows(dataset_option("llmbar", f"params.subset={subset}", f"params.evaluator={evaluator}"))
    said = rows["recorded"].str.extract_all(r"Output \([ab]\)").list.last().str.slice(8, 1)
    sides = Sides(("completion", "target"), {"a": 0, "b": 1})
    winners = [name_winner(word, order, sides) for word, order in zip(said, rows["order"], strict=True)]
    frame = rows.with_columns(winner=pl.Series(winners)).group_by("pair", maintain_order=True)
    score = PositionBias()(frame.agg(judge_orders="winner"))["position_bias"]
    path = f"llmbar/Dataset/LLMBar/{folder}/evaluators/GPT-4/{evaluator}/statistics.json"
    equal, pairs = map(
        int, json.loads((shared_data / path).read_text())["equal"].split(" = ")[0].split(" / ")
    )
    assert (score.value, score.n) == (pytest.approx(1 - equal / pairs), pairs)


def test_length_bias_is_spearmans():
    """Of ratings and lengths, and of winners and differences of lengths."""
    texts, others = ["a" * n for n in (3, 9, 4, 7, 5, 5)], [["b" * n, "x"] for n in (4, 2, 4, 8, 1, 6)]
    ratings = pl.DataFrame({"verdict": [1, 5, 2, 4, None, 2], "completion": texts})
    known = [(1, 3), (5, 9), (2, 4), (4, 7), (2, 5)]
    score = LengthBias()(ratings)["length_bias"]
    assert (score.value, score.n) == (pytest.approx(spearmanr(*zip(*known, strict=True)).statistic), 5)
    winners = ["target", "completion", "tie", "target", "completion", "tie"]
    pairs = pl.DataFrame({"verdict": winners, "completion": texts, "target": others})
    expected = spearmanr([-1, 1, 0, -1, 1, 0], [-1, 7, 0, -1, 4, -1]).statistic
    assert LengthBias(sides=SIDES)(pairs)["length_bias"].value == pytest.approx(expected)


def test_length_bias_of_labels():
    """Labels need one that counts; equal lengths define nothing."""
    frame = pl.DataFrame({"verdict": ["correct", "no", "correct"], "completion": ["aaa", "b", "cc"]})
    assert LengthBias(value="correct")(frame)["length_bias"].value == pytest.approx(0.866, abs=1e-3)
    with pytest.raises(ConfigError, match=r"metric\.length_bias\.value says which"):
        LengthBias()(frame)
    same = LengthBias(value="correct")(frame.with_columns(completion=pl.lit("a")))["length_bias"]
    assert (same.value, "length" in same.reason) == (None, True)


def test_self_preference():
    """Against other judges, else against people, else undefined; ``value`` and ``sides`` give shares."""
    frame = pl.DataFrame(
        {"verdict": [5, 4, 3], "b": [3, 4, None], "c": [4, 4, None], "label": [3, None, None]}
    )
    both = SelfPreference(others=["b", "c"])(frame)["self_preference"]
    assert (both.value, both.n) == (pytest.approx(0.75), 2)
    assert SelfPreference()(frame)["self_preference"].value == 2
    alone = SelfPreference()(frame.drop("label"))["self_preference"]
    assert (alone.value, "judge.members" in alone.reason) == (None, True)
    pairs = pl.DataFrame({"verdict": ["completion", "tie", "target"], "b": ["target", "tie", "target"]})
    assert SelfPreference(sides=SIDES, others=["b"])(pairs)["self_preference"].value == pytest.approx(1 / 3)


def test_the_judge_that_agrees_least():
    """Each two of three judges are compared where both have a verdict; the line names the odd one out."""
    said = {"a": list("xxyy"), "b": ["x", "x", "y", None], "c": list("yyxy")}
    frame = pl.DataFrame({f"judge_{name}_verdict": values for name, values in said.items()})
    scores = PanelAgreement(members=[*said])(frame)
    pairs = {name: (score.value, score.n) for name, score in scores.items() if "_and_" in name}
    assert pairs == {
        "panel_agreement_a_and_b": (1, 3),
        "panel_agreement_a_and_c": (0.25, 4),
        "panel_agreement_b_and_c": (0, 3),
    }
    record = Record("", "", config={"judge": {"members": said}}, scores=scores)
    assert "; c agrees least with the others (1 of 7)" in str(tell_panel(record))
    assert tell_pairs(record) == "a and b 100% of 3; a and c 25% of 4; b and c 0% of 3"


def test_panel_agreement():
    """Unanimous rows among all judged ones, and among those with two verdicts or more."""
    frame = pl.DataFrame(
        {
            "judge_a_verdict": ["x", "x", "y", None, "x", None],
            "judge_b_verdict": ["x", "y", "y", "x", None, None],
            "judge_c_verdict": ["x", "x", "y", "x", None, None],
        }
    )
    scores = PanelAgreement(members=["a", "b", "c"])(frame)
    assert [scores[f"panel_agreement{end}"].value for end in ("", "_parsed")] == [0.4, 0.75]
    assert (scores["panel_agreement"].n, scores["panel_agreement_parsed"].n) == (5, 4)
    krippendorff = pytest.importorskip("krippendorff")
    codes = [[0, 0, 1, None, 0], [0, 1, 1, 0, None], [0, 0, 1, 0, None]]
    numbers = [[float("nan") if code is None else code for code in row] for row in codes]
    expected = krippendorff.alpha(numbers, level_of_measurement="nominal")
    assert scores["panel_agreement_alpha"].value == pytest.approx(expected)
    assert PanelAgreement(members=["a"])(frame)["panel_agreement"].reason == "there is only one judge"


def test_agreement_with_another_scorer():
    """An answer that is not read is wrong here, and rows that the other one did not score do not count."""
    frame = pl.DataFrame(
        {
            "prediction": ["a", "a", "b", None, "a"],
            "target": ["a", "b", "b", "b", "a"],
            "their_score": [1.0, 0.0, 0.5, 0.0, None],
        }
    )
    scores = ScorerAgreement(metric=ExactMatch())(frame)
    assert {name: (score.value, score.n) for name, score in scores.items()} == {
        "scorers_agree": (0.75, 4),
        "scorers_agree_kappa": (pytest.approx(0.5), 4),
    }
    assert scores["scorers_agree"].low < 0.75 < scores["scorers_agree"].high
    half = ScorerAgreement(metric=ExactMatch(), threshold=0.5)(frame)
    assert half["scorers_agree"].value == 1
    nothing = ScorerAgreement(metric=ExactMatch())(frame.with_columns(their_score=pl.lit(None)))
    assert nothing["scorers_agree"].reason == "no row has a value in 'their_score'"


def test_agreement_needs_a_metric_of_right_and_wrong():
    """And numbers to compare it with."""
    with pytest.raises(ConfigError, match="whose rows are right or wrong"):
        ScorerAgreement(metric=MeanAbsoluteError())
    frame = pl.DataFrame({"prediction": ["a"], "target": ["a"], "their_score": ["C"]})
    with pytest.raises(DataError, match="'their_score' is String, not numbers"):
        ScorerAgreement(metric=ExactMatch())(frame)
