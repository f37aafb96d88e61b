"""A folder is alive as long as the process that holds it, however that process ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from children import process_of, shared_queue

from runner.records.alive import LOCK, hold_alive, is_alive
from runner.records.record import Record, keep_record, read_record


def hold(folder: Path, told) -> None:
    """Hold a folder until the process is killed."""
    with hold_alive(folder), keep_record(Record("id", "name"), folder):
        told.put("held")
        signal.pause()


def test_a_killed_process_holds_nothing(tmp_path):
    """The record of a killed run says "running"; it is read as killed."""
    told = shared_queue()
    child = process_of(hold, tmp_path, told)
    child.start()
    told.get(timeout=60)
    assert (is_alive(tmp_path), read_record(tmp_path).status) == (True, "running")
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert (is_alive(tmp_path), read_record(tmp_path).status) == (False, "killed")
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "running"


def test_nothing_is_left_of_a_run_that_ended(tmp_path):
    """The file goes with the run; a folder can be held again."""
    for _ in range(2):
        with hold_alive(tmp_path):
            assert is_alive(tmp_path)
        assert not (tmp_path / LOCK).exists()
    assert not is_alive(tmp_path)


@pytest.mark.parametrize("error", [OSError("no locks here"), NotImplementedError()])
def test_without_locks_nobody_can_tell(tmp_path, monkeypatch, error):
    """On a disk without locks a run is not disturbed, and what is not ended counts as alive."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with hold_alive(tmp_path):
        (tmp_path / LOCK).touch()
        assert is_alive(tmp_path)


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt("stopped by SIGTERM"), "stopped"), (SystemExit(1), "stopped"), (OSError(), "failed")],
)
def test_how_a_run_ended(tmp_path, error, status):
    """What stops a process stops the run; other errors are failures."""
    with pytest.raises(type(error)), keep_record(Record("id", "name"), tmp_path):
        raise error
    assert read_record(tmp_path).status == status
