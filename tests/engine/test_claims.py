"""A claim is alive as long as its process is."""

from __future__ import annotations

import os
import sys

import pytest

from runner.engine.claims import LEASE_S, is_alive, make_claim


def test_this_process_is_alive():
    """And one that was never started is not."""
    assert is_alive(make_claim())
    assert not is_alive(make_claim() | {"pid": 2**22 + 1})


def test_on_windows_a_claim_is_judged_by_its_age(monkeypatch):
    """No signal is sent, since it would end the process."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    claim = make_claim()
    assert is_alive(claim)
    assert not is_alive(claim | {"time": claim["time"] - LEASE_S - 1})
