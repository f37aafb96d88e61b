"""A claim is alive as long as its owner is, whatever hosts and processes are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.engine.ledger import Ledger, claims
from runner.engine.ledger.claims import (
    LEASE_S,
    OWNER,
    LostClaimError,
    confirm_claim,
    describe_claim,
    is_alive,
    make_claim,
    outlives_look,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with closing(Ledger(url)) as ledger:
        yield ledger


@pytest.fixture
def theirs(url: str) -> Iterator[tuple[Ledger, dict[str, Any]]]:
    """Another owner's ledger and claim; the owner's entry can be changed to that of another machine."""
    with closing(Ledger(url)) as other:
        yield other, make_claim(other)


def change(ledger: Ledger, claim: dict[str, Any], **facts: Any) -> None:
    ledger.change(OWNER, claim["owner"], lambda entry: {**entry, **facts})


def test_an_owner_lives_until_its_ledger_is_closed(url: str, ledger: Ledger) -> None:
    """Two ledgers of one process are two owners."""
    other = Ledger(url)
    claim = make_claim(other)
    assert is_alive(ledger, claim)
    assert is_alive(other, claim)
    other.close()
    assert not is_alive(ledger, claim)
    assert list(ledger.items(OWNER)) == []


def test_a_process_id_is_used_again(ledger: Ledger, theirs: tuple[Ledger, dict[str, Any]]) -> None:
    """A process with the owner's id that started at another time is not the owner, however new its entry."""
    _, claim = theirs
    change(ledger, claim, start=1)
    assert not is_alive(ledger, claim)


def test_an_owner_out_of_sight(ledger: Ledger, theirs: tuple[Ledger, dict[str, Any]]) -> None:
    """In another container or on another machine, the age of the entry decides."""
    _, claim = theirs
    change(ledger, claim, place=["another start", "pid:[1]"], pid=1)
    assert is_alive(ledger, claim)
    change(ledger, claim, time=ledger.now() - LEASE_S - 1)
    assert not is_alive(ledger, claim)


def test_the_entry_is_renewed(
    url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A thread renews it as long as the ledger is open; a fault of the database is sat out."""
    monkeypatch.setattr(claims, "BEAT_S", 0.01)
    token = make_claim(ledger)["owner"]
    ledger.remove(OWNER, token)
    monkeypatch.setattr(ledger, "now", lambda: 1 / 0)
    for _ in range(5):
        claims._find_owner(ledger)._stopped.wait(0.02)
    monkeypatch.undo()
    with closing(Ledger(url)) as other:
        for _ in range(500):
            if other.get(OWNER, token):
                break
            claims._find_owner(ledger)._stopped.wait(0.01)
        assert other.get(OWNER, token)["pid"] == os.getpid()


def test_a_claim_is_confirmed(ledger: Ledger, theirs: tuple[Ledger, dict[str, Any]]) -> None:
    """An owner that was thought dead does not go on with what another one took over."""
    ledger.put("job", "k", make_claim(ledger))
    confirm_claim(ledger, "job", "k")
    ledger.put("job", "k", theirs[1])
    with pytest.raises(LostClaimError, match="took over job k"):
        confirm_claim(ledger, "job", "k")
    ledger.remove("job", "k")
    with pytest.raises(LostClaimError):
        confirm_claim(ledger, "job", "k")


def test_claims_of_earlier_versions_are_dead(ledger: Ledger) -> None:
    """They name no owner, and nobody renews them."""
    assert not is_alive(ledger, {"host": "h", "pid": os.getpid(), "time": ledger.now()})


def test_a_claim_is_described(ledger: Ledger, theirs: tuple[Ledger, dict[str, Any]]) -> None:
    """Host, process, whether it lives, and its age."""
    claim = theirs[1] | {"host": "box", "pid": 7, "time": ledger.now() - 7200}
    assert describe_claim(ledger, claim) == "box, process 7 (alive), 2 hours old"


def test_an_owner_out_of_sight_is_looked_at_twice(
    ledger: Ledger, theirs: tuple[Ledger, dict[str, Any]]
) -> None:
    """It lives if it renews its entry meanwhile; if it does not, its lease is waited for."""
    _, claim = theirs
    assert outlives_look(ledger, claim, lambda seconds: pytest.fail("in sight"))
    away = {"place": ["another start", "pid:[1]"], "pid": 1}
    change(ledger, claim, **away, time=ledger.now() - LEASE_S + 60)
    assert outlives_look(ledger, claim, lambda seconds: change(ledger, claim, time=ledger.now()))
    change(ledger, claim, **away, time=ledger.now() - LEASE_S + 60)
    later = iter(range(3))
    assert not outlives_look(
        ledger, claim, lambda seconds: ledger.remove(OWNER, claim["owner"]) if next(later) == 2 else None
    )
