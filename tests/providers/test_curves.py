"""Result files become curves, whatever their encoding and however they say that nothing was measured."""

import base64
from pathlib import Path

import pytest

from runner.core.errors import DataError
from runner.providers.curves import parse_curves

CSV = b"step,train_loss,valid_loss,train_mean_reward\n1,2.5,,-1\n2,-1.0,nan,0.5\n3,0.5,1.25,\n"


def test_blanks_and_sentinels_are_dropped() -> None:
    """Only what was measured is a point; a reward may really be -1."""
    assert parse_curves(CSV) == {
        "train_loss": [(1, 2.5), (3, 0.5)],
        "valid_loss": [(3, 1.25)],
        "train_mean_reward": [(1, -1.0), (2, 0.5)],
    }


def test_base64_is_the_same_file() -> None:
    """OpenAI encodes, also with line breaks; Azure does not, and may put a byte order mark in front."""
    assert (
        parse_curves(base64.b64encode(CSV))
        == parse_curves(base64.encodebytes(CSV))
        == parse_curves(b"\xef\xbb\xbf" + CSV)
    )


def test_a_column_without_values_is_no_curve() -> None:
    """Nothing would be drawn."""
    assert list(parse_curves(b"step,train_loss,valid_loss\n1,0.5,\n2,0.4,\n")) == ["train_loss"]


def test_a_row_without_step_is_dropped() -> None:
    """The last line of a file that was cut has no place on the axis."""
    assert parse_curves(b"step,train_loss\n1,0.5\n,0.4\n2\n") == {"train_loss": [(1, 0.5)]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no column 'step'"), (b"a,b\n1,2\n", "among a, b"), (b"!!", "base64"), (b"\xff,\xfe", "UTF-8")],
)
def test_other_files_are_refused(content: bytes, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(DataError, match=reason):
        parse_curves(content)


def test_the_published_curve(shared_data: Path) -> None:
    """The 625 steps of the published medical run, first and last loss as in the file."""
    curves = parse_curves((shared_data / "acceleratescience_hands_on_llms/result.csv").read_bytes())
    loss = curves["train_loss"]
    assert (len(loss), loss[0], loss[-1]) == (625, (1, 7.20229), (625, 0.00272))
    assert len(curves["train_accuracy"]) == 625
    assert "train_mean_reward" not in curves
