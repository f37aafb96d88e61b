"""Comparing runs: paired tests, corrections, detectable effects, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from runner import metrics
from runner.core.errors import ConfigError, DataError
from runner.metrics import statistics


def run(right: list[bool], **more: list[Any]) -> pl.DataFrame:
    """A run over rows whose target is 1, answered right or wrong."""
    rows = {"id": [f"r{row}" for row in range(len(right))], "target": [1] * len(right)}
    return pl.DataFrame(rows | {"prediction": [int(r) for r in right]} | more)


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(30, 12, 0.007915897334896727), (5, 1, 0.21875), (121, 59, 4.4344492637551645e-06)],
)
def test_mcnemar_is_that_of_statsmodels(one: int, other: int, p: float) -> None:
    """Values of statsmodels 0.15 (exact)."""
    assert statistics.mcnemar(one, other) == pytest.approx(p)


def test_mcnemar_without_a_discordant_row_finds_nothing() -> None:
    """Two runs right on the same rows do not differ."""
    assert statistics.mcnemar(0, 0) == 1.0


def test_corrections_are_those_of_statsmodels() -> None:
    """Values of statsmodels 0.15, ``multipletests``."""
    p = [0.01, 0.04, 0.03, 0.005, 0.2]
    assert statistics.holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.2])
    assert statistics.benjamini_hochberg(p) == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.2])
    assert statistics.holm([]) == statistics.benjamini_hochberg([]) == []


def test_right_or_wrong_is_compared_by_mcnemar() -> None:
    """8 rows only the first has right, 1 only the second; the order of the rows does not matter."""
    one = run([True] * 18 + [False] * 2)
    other = run([False] * 8 + [True] * 11 + [False]).reverse()
    comparison = statistics.compare(metrics.Accuracy(), one, other)["accuracy"]
    assert (comparison.one, comparison.other, comparison.n) == (0.9, 0.55, 20)
    assert comparison.test == "mcnemar"
    assert comparison.p == pytest.approx(stats.binomtest(8, 9).pvalue)


def test_unparsed_rows_count_as_wrong_unless_only_parsed_ones_are_compared() -> None:
    """The parsed reading keeps the rows that both runs have parsed."""
    one = run([True, True, True, True])
    other = one.with_columns(prediction=pl.Series([1, None, 0, 1]))
    strict = statistics.compare(metrics.Accuracy(), one, other)["accuracy"]
    parsed = statistics.compare(metrics.Accuracy(), one, other, reading="parsed")["accuracy"]
    assert (strict.other, strict.n) == (0.5, 4)
    assert parsed.other == pytest.approx(2 / 3)
    assert parsed.n == 3


@pytest.fixture
def rated() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two runs of 200 ratings, one closer to the targets by about a tenth."""
    random = np.random.default_rng(8)
    gold = random.normal(size=200)
    frames = [
        pl.DataFrame({"id": range(200), "target": gold, "prediction": gold + noise * random.normal(size=200)})
        for noise in (0.5, 0.6)
    ]
    return frames[0], frames[1]


def test_any_score_is_compared_by_bootstrap_and_permutation(rated: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """For a mean both agree with SciPy's paired permutation test and the textbook interval."""
    comparison = statistics.compare(metrics.MeanAbsoluteError(), *rated)["mean_absolute_error"]
    errors = [(frame["prediction"] - frame["target"]).abs().to_numpy() for frame in rated]
    paired = errors[0] - errors[1]
    expected = stats.permutation_test(
        (errors[0], errors[1]),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    error = paired.std() / np.sqrt(200)
    assert comparison.difference == pytest.approx(paired.mean())
    assert comparison.p == pytest.approx(expected.pvalue, abs=0.02)
    assert comparison.low == pytest.approx(paired.mean() - 1.96 * error, abs=0.2 * error)
    assert comparison.high == pytest.approx(paired.mean() + 1.96 * error, abs=0.2 * error)
    assert comparison.detectable == pytest.approx(2.8016 * error, rel=0.1)


def test_p_values_are_uniform_where_runs_do_not_differ() -> None:
    """Of 100 comparisons of equally good runs, about 5 % fall below 0.05."""
    random = np.random.default_rng(9)
    found = 0
    for seed in range(100):
        gold = random.integers(0, 2, 80)
        one, other = (np.where(random.random(80) < 0.7, gold, 1 - gold) for _ in range(2))
        frame = pl.DataFrame({"id": range(80), "target": gold, "prediction": one})
        metric = metrics.F1(positive=1, resamples=1, seed=seed)
        p = statistics.compare(metric, frame, frame.with_columns(prediction=other))["f1"].p
        found += p is not None and p < 0.05
    assert 1 <= found <= 12


def test_rows_of_a_group_change_sides_together() -> None:
    """Ten documents of ten alike rows are ten findings, not a hundred."""
    documents = [row // 10 for row in range(100)]
    one = run([row < 80 for row in range(100)], document=documents)
    other = run([row < 50 for row in range(100)], document=documents)
    by_row = statistics.compare(metrics.Accuracy(), one, other)["accuracy"]
    by_document = statistics.compare(metrics.Accuracy(group="document"), one, other)["accuracy"]
    assert by_row.p is not None
    assert by_row.p < 1e-6
    assert by_document.test == "permutation"
    assert by_document.p == pytest.approx(0.25, abs=0.03)


def test_every_number_of_a_metric_is_compared() -> None:
    """Pairwise judging compares pairs, by each of its measures."""
    rows = pl.DataFrame(
        {
            "id": ["1ab", "1ba", "2ab", "2ba"],
            "pair": [1, 1, 2, 2],
            "order": ["ab", "ba"] * 2,
            "target": ["a", "b", "b", "a"],
            "prediction": ["a", "b", "b", "a"],
        }
    )
    compared = statistics.compare(metrics.Pairwise(), rows, rows.with_columns(prediction=pl.lit("a")))
    assert (compared["pairwise"].one, compared["pairwise"].other) == (1.0, 0.5)
    assert compared["pairwise_agreement"].difference == 1.0
    assert compared["pairwise_both"].n == 2


def test_runs_on_different_rows_are_refused() -> None:
    """Other ids, other targets, ids that repeat or are missing."""
    one = run([True, False])
    with pytest.raises(DataError, match=r"different rows.*1 rows \(r1\) only in the first, 1 rows \(x\)"):
        statistics.compare(metrics.Accuracy(), one, one.with_columns(id=pl.Series(["r0", "x"])))
    with pytest.raises(DataError, match=r"different targets in 2 rows \(r0, r1\)"):
        statistics.compare(metrics.Accuracy(), one, one.with_columns(target=pl.lit(0)))
    with pytest.raises(DataError, match="column 'id' has the same value in several rows"):
        statistics.compare(metrics.Accuracy(), one.with_columns(id=pl.lit("r0")), one)
    with pytest.raises(DataError, match="did you mean 'id'"):
        statistics.compare(metrics.Accuracy(), one, one, key="ids")


def test_metrics_that_cannot_be_paired_are_refused() -> None:
    """A metric per document, and one that knows no predictions."""
    one = run([True, False])
    with pytest.raises(ConfigError, match="per document; use group"):
        statistics.compare(metrics.Accuracy(per="document"), one, one)
    with pytest.raises(ConfigError, match="KrippendorffAlpha cannot compare"):
        statistics.compare(metrics.KrippendorffAlpha(annotators=["a"]), one, one)  # type: ignore[arg-type]


def test_undefined_values_have_no_difference() -> None:
    """F1 without any positive in one run: no difference, no p-value, and no place in a correction."""
    one, other = (
        run([False, False]).with_columns(target=pl.lit(0)),
        run([True, False]).with_columns(target=pl.lit(0)),
    )
    comparison = statistics.compare(metrics.F1(positive=1), one, other)["f1"]
    assert (comparison.one, comparison.difference, comparison.p) == (None, None, None)
    assert statistics.adjust_p_values([comparison])[0].adjusted is None


def test_a_sweep_is_compared_with_its_baseline_and_corrected() -> None:
    """Each run against the baseline, p-values corrected for their number."""
    runs = {"base": run([True] * 10 + [False] * 10), "same": run([True] * 10 + [False] * 10)}
    runs["better"] = run([True] * 20)
    same, better = statistics.compare_runs(metrics.Accuracy(), runs, baseline="base")
    assert (same.names, same.adjusted) == (("same", "base"), 1.0)
    assert better.p is not None
    assert better.adjusted == pytest.approx(2 * better.p)
    each_two = statistics.compare_runs(metrics.Accuracy(), runs, correction="benjamini_hochberg")
    assert [comparison.names for comparison in each_two] == [
        ("base", "same"),
        ("base", "better"),
        ("same", "better"),
    ]


def test_mistyped_options_name_the_nearest() -> None:
    """Of baselines and corrections."""
    runs = {"base": run([True]), "other": run([True])}
    with pytest.raises(ConfigError, match="did you mean 'base'"):
        statistics.compare_runs(metrics.Accuracy(), runs, baseline="bas")
    with pytest.raises(ConfigError, match="did you mean 'holm'"):
        statistics.compare_runs(metrics.Accuracy(), runs, correction="hom")


def test_detectable_effect_is_found_four_times_in_five() -> None:
    """Simulated runs that differ by the detectable rate are told apart with about 80 % power."""
    n, discordant = 400, 0.2
    effect = statistics.detectable_rate(n, discordant)
    assert effect is not None
    random = np.random.default_rng(10)
    only_one = random.binomial(n, (discordant + effect) / 2, size=400)
    only_other = random.binomial(n - only_one, (discordant - effect) / 2 / (1 - (discordant + effect) / 2))
    found = [statistics.mcnemar(int(a), int(b)) < 0.05 for a, b in zip(only_one, only_other, strict=True)]
    assert 0.7 <= np.mean(found) <= 0.9


def test_no_error_no_detectable_effect() -> None:
    """Runs that never differ say nothing about what could be found."""
    one = run([True, False, True])
    assert statistics.compare(metrics.Accuracy(), one, one)["accuracy"].detectable is None
    assert statistics.detectable_rate(0) is None
