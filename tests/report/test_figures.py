"""What the pictures show."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import polars as pl
import pytest
import tracked
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.types import Score
from runner.metrics import confusion
from runner.records.sweep import summarize
from runner.report import figures, line_names

LABELS = [tracked.INCONSISTENT, tracked.CONSISTENT]


def swept(**keys):
    """The summary of a sweep with rising accuracy."""
    records = [
        tracked.record(
            str(job),
            job=job,
            swept=dict(zip(keys, values, strict=True)),
            scores={"accuracy": Score(job / 10, job / 10 - 0.05, job / 10 + 0.05, 8)},
        )
        for job, values in enumerate(zip(*keys.values(), strict=True))
    ]
    return summarize(records)


def test_confusion_counts_with_a_column_for_the_unparsed():
    """Counts by true and predicted label; an answer that is no label is counted apart."""
    frame = pl.DataFrame({"target": ["a", "a", "b", "b", "other"], "prediction": ["a", "b", "b", None, "a"]})
    assert confusion(frame, labels=["a", "b"]).counts.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert confusion(frame[:3], labels=["a", "b"]).counts.tolist() == [[1, 1], [0, 1]]


def test_confusion_of_numbers():
    """Ratings are labels too, though the rows hold numbers and the labels are text."""
    frame = pl.DataFrame({"target": [1, 3, 5], "prediction": [1.0, 3.0, None]})
    for labels in (["1", "3", "5"], []):
        assert confusion(frame, labels=labels).counts.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_confusion_matrix_shows_every_cell():
    """Each cell has its count, and the axes their labels."""
    found = confusion(tracked.rows(), labels=["<b>", *LABELS])
    svg = ElementTree.fromstring(figures.draw_confusion_matrix(found))
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:3] == ["Confusion matrix, 8 rows", "true", "predicted"]
    assert texts[3:7] == ["<b>", *LABELS, "(unparsed)"]
    assert texts[12:17] == [LABELS[0], "0", "4", "0", "0"]


def test_reliability_plots_frequency_against_probability():
    """Rows said to be consistent with 0.9 are so always, those with 0.2 never."""
    figure = figures.draw_reliability(tracked.rows(), tracked.CONSISTENT)
    points = figure.axes[0].lines[1].get_xydata()
    assert points.tolist() == [[pytest.approx(0.2), 0], [pytest.approx(0.9), 1]]
    assert "ECE 0.150" in figure.axes[0].get_title()


def test_training_separates_losses():
    """Losses have their own panel; checkpoints are marked in each."""
    curves = {"train_loss": [(1, 2.0), (2, 1.0)], "accuracy": [(1, 0.5), (2, 0.9)]}
    losses, others = figures.draw_training(curves, checkpoints=[2]).axes
    assert losses.lines[0].get_xydata().tolist() == [[1, 2], [2, 1]]
    assert [len(axes.lines) for axes in (losses, others)] == [2, 2]


def test_a_numeric_key_gives_a_line_with_a_band():
    """The swept number is the axis; the band is the interval."""
    figure = figures.draw_sweep(swept(n_shot=[9, 0, 3]), "accuracy", ["n_shot"])
    (axes,) = figure.axes
    assert axes.lines[0].get_xdata().tolist() == [0, 3, 9]
    assert len(axes.collections) == 1


def test_other_keys_give_a_line_each():
    """Two providers are two lines with their names; a key with one value is not mentioned."""
    frame = swept(n_shot=[0, 1, 0, 1], provider=["a", "a", "b", "b"], seed=[7, 7, 7, 7])
    (axes,) = figures.draw_sweep(frame, "accuracy", ["n_shot", "provider", "seed"]).axes
    assert {text.get_text() for text in axes.texts if text.get_text()} == {"● a", "■ b", "provider"}


def test_twelve_lines_can_be_told_apart():
    """Many lines have no bands over each other; each has its own mark and a name that covers no other."""
    frame = swept(n_shot=[0, 1] * 12, model=[f"m{i}" for i in range(12) for _ in range(2)])
    (axes,) = figures.draw_sweep(frame, "accuracy", ["model", "n_shot"]).axes
    assert len(axes.collections) == 0
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == len(axes.lines)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_names_do_not_cover_each_other(values, step):
    """Places are a step apart, in the order of the values."""
    places = line_names.spread(values, step)
    ordered = sorted(places)
    assert all(b - a >= step * 0.999 for a, b in pairwise(ordered))
    assert [values[i] for i in sorted(range(len(values)), key=places.__getitem__)] == sorted(values)


def test_without_a_number_there_is_a_bar_per_point():
    """Checkpoints by name are bars, in the order of the jobs."""
    figure = figures.draw_sweep(swept(checkpoint=["base", "1", "last"]), "accuracy", ["checkpoint"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "1", "last"]
    assert [bar.get_width() for bar in axes.patches] == [0, 0.1, 0.2]


def test_points_that_nothing_distinguishes():
    """Two runs of one command are two bars without a name."""
    frame = swept(checkpoint=["base", "base"])
    axes = figures.draw_sweep(frame, "accuracy", []).axes[0]
    assert len(axes.get_yticks()) == 2


def test_wide_ranges_are_logarithmic():
    """Learning rates a decade apart are spread evenly."""
    figure = figures.draw_sweep(swept(rate=[1e-5, 1e-4, 1e-3]), "accuracy", ["rate"])
    assert figure.axes[0].get_xscale() == "log"


def test_nothing_measured_nothing_drawn():
    """A sweep of which no point has the score has no plot."""
    frame = swept(n_shot=[0, 1]).with_columns(accuracy=pl.lit(None, dtype=pl.Float64))
    assert figures.draw_sweep(frame, "accuracy", ["n_shot"]) is None


def test_published_values_are_drawn():
    """The paper's figures stand beside the measured ones."""
    frame = swept(n_shot=[0, 1]).with_columns(accuracy_published=pl.Series([0.8, 0.9]))
    figure = figures.draw_sweep(frame, "accuracy", ["n_shot"])
    assert figure.axes[0].get_legend_handles_labels()[1] == ["measured", "published"]
