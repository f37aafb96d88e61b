"""A long run whose output is a file prints lines instead of bars."""

from __future__ import annotations

import pytest

from runner.cli.screen import progress
from runner.core.services import TuningStatus


def show() -> None:
    with progress.show_progress("[3]") as bars:
        more = bars.open_bar("m", 2000)
        more(1500)
        more(400)
        bars.show_status(TuningStatus("running", detail="epoch 1, step 9 of 206"))


def test_a_line_at_a_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines give the rows done so far and the status of a training."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    show()
    assert capsys.readouterr().err.splitlines() == [
        "[3] m 1,500 of 2,000 rows",
        "[3] m 1,900 of 2,000 rows",
        "[3] fine-tuning running epoch 1, step 9 of 206",
    ]


def test_no_line_within_the_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of less than a minute prints no progress line."""
    show()
    assert not capsys.readouterr().err
