"""Metrics over probabilities, against scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from runner import metrics
from runner.core.errors import ConfigError, DataError


@pytest.fixture
def sure() -> pl.DataFrame:
    """500 rows of an overconfident judge."""
    random = np.random.default_rng(6)
    probability = random.random(500).round(2)
    bad = random.random(500) < 0.5 + (probability - 0.5) * 0.6
    return pl.DataFrame({"target": np.where(bad, "bad", "good"), "probability": probability})


def test_area_and_brier_score_are_those_of_scikit_learn(sure: pl.DataFrame) -> None:
    """Of the probability of the label named positive."""
    outcome = (sure["target"] == "bad").to_numpy()
    area = metrics.RocAuc(positive="bad")(sure)["roc_auc"]
    brier = metrics.Brier(positive="bad")(sure)["brier"]
    assert area.value == pytest.approx(roc_auc_score(outcome, sure["probability"]))
    assert brier.value == pytest.approx(brier_score_loss(outcome, sure["probability"]))


def test_resampled_area_counts_repeated_rows(sure: pl.DataFrame) -> None:
    """The vectorised formula on counts equals scikit-learn with weights."""
    metric = metrics.RocAuc(positive="bad")
    cells = metric.cells(metric.pairs(sure))
    counts = np.random.default_rng(0).integers(0, 3, (2, 500)).astype(float)
    expected = [roc_auc_score(cells["target"], cells["prediction"], sample_weight=row) for row in counts]
    assert metric.values(cells, counts) == pytest.approx(expected)


def test_calibration_error_is_the_mean_gap_over_the_reliability_diagram(sure: pl.DataFrame) -> None:
    """The diagram has scikit-learn's points; the error is their distance from the diagonal, by rows."""
    points = metrics.reliability(sure, positive="bad", bins=10)
    frequency, probability = calibration_curve(sure["target"] == "bad", sure["probability"], n_bins=10)
    assert points["frequency"].to_list() == pytest.approx(frequency)
    assert points["probability"].to_list() == pytest.approx(probability)
    gaps = (points["frequency"] - points["probability"]).abs() * points["n"]
    error = metrics.CalibrationError(positive="bad")(sure)["calibration_error"]
    assert error.value == pytest.approx(gaps.sum() / 500)


def test_a_row_without_probability_counts_as_surely_wrong() -> None:
    """Strict takes the opposite of the target for certain; parsed leaves the row out."""
    rows = pl.DataFrame({"target": [1, 0, 1], "probability": [1.0, 0.0, None]})
    brier = metrics.Brier()(rows)
    assert brier["brier"].value == pytest.approx(1 / 3)
    assert brier["brier_parsed"].value == 0.0
    area = metrics.RocAuc()(rows)
    assert (area["roc_auc"].value, area["roc_auc_parsed"].value) == (0.75, 1.0)


def test_area_needs_both_outcomes() -> None:
    """Where all targets are positive there is no area."""
    assert metrics.RocAuc()(pl.DataFrame({"target": [1], "probability": [0.5]}))["roc_auc"].value is None


def test_impossible_probabilities_are_refused() -> None:
    """Percentages, words, and no bins."""
    with pytest.raises(DataError, match="outside 0"):
        metrics.Brier()(pl.DataFrame({"target": [1], "probability": [85.0]}))
    with pytest.raises(DataError, match="String"):
        metrics.Brier()(pl.DataFrame({"target": [1], "probability": ["high"]}))
    with pytest.raises(ConfigError, match="bins 0"):
        metrics.CalibrationError(bins=0)
