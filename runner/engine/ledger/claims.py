"""Claims in the ledger: which owner does something that must be done once, and whether that owner lives.

An owner is a ledger that a process has opened. Before its first claim it gets an entry of its own under a
random token, and a thread renews the entry every :data:`BEAT_S` seconds until the ledger is closed. A claim
holds the token. Host names and process ids are for people only: the next container has the same ones again.

An owner without entry is dead. Where the owner's process can be seen from here (Linux, same start of the
machine, same process namespace), its start time tells at once whether it still runs. Any other owner is dead
when its entry is older than :data:`LEASE_S` seconds by the database's clock.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from runner.core.errors import RunnerError
from runner.engine.ledger.table import Ledger

log = logging.getLogger(__name__)

OWNER = "owner"
BEAT_S = 10.0
LEASE_S = 120.0


class LostClaimError(RunnerError):
    """Another owner took a claim over, because this one had not renewed its entry in time."""


def make_claim(ledger: Ledger) -> dict[str, Any]:
    """Return a claim of this ledger's owner: its token, and for people host, process id and the time now."""
    owner = _find_owner(ledger)
    return {"owner": owner.token, "host": socket.gethostname(), "pid": os.getpid(), "time": ledger.now()}


def is_mine(ledger: Ledger, claim: Mapping[str, Any] | None) -> bool:
    """Whether a claim was made through this ledger."""
    return claim is not None and ledger in _owners and claim.get("owner") == _owners[ledger].token


def is_alive(ledger: Ledger, claim: Mapping[str, Any]) -> bool:
    """Whether the owner of a claim still lives."""
    if is_mine(ledger, claim):
        return True
    entry = ledger.get(OWNER, str(claim.get("owner")))
    if entry is None:
        return False
    if _is_in_sight(entry):
        return bool(_find_start(entry["pid"]) == entry["start"])
    return bool(ledger.now() - entry["time"] < LEASE_S)


def outlives_look(ledger: Ledger, claim: Mapping[str, Any], pause: Callable[[float], None]) -> bool:
    """Whether the owner of a claim lives, beyond doubt.

    One that cannot be seen from here is waited for until it renews its entry, or is dead.
    """
    before = ledger.get(OWNER, str(claim.get("owner"))) or {}
    while is_alive(ledger, claim):
        entry = ledger.get(OWNER, str(claim.get("owner")))
        if is_mine(ledger, claim) or (entry and (_is_in_sight(entry) or entry["time"] != before.get("time"))):
            return True
        pause(min(1.0, BEAT_S / 4))
    return False


def _is_in_sight(entry: Mapping[str, Any]) -> bool:
    return entry["place"] is not None and entry["place"] == _find_place()


def confirm_claim(ledger: Ledger, kind: str, key: str) -> None:
    """Renew this owner's entry; raise :class:`LostClaimError` if the entry under ``key`` is not its claim.

    Called right before the call that must be made once: much may have happened since the claim was made.
    """
    _find_owner(ledger).beat()
    if not is_mine(ledger, ledger.get(kind, key)):
        raise LostClaimError(f"another process took over {kind} {key[:12]} while this one did not answer")


def describe_claim(ledger: Ledger, claim: Mapping[str, Any]) -> str:
    """Say whose a claim is and how old it is, for people."""
    age = max(0.0, ledger.now() - float(claim.get("time") or 0))
    state = "alive" if is_alive(ledger, claim) else "dead"
    return (
        f"{claim.get('host', 'unknown host')}, process {claim.get('pid', '?')} ({state}), {say_age(age)} old"
    )


def say_age(seconds: float) -> str:
    """Return a length of time for people, in the largest unit of which it has two."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


class _Owner:
    """The owner of the claims that are made through one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.token = uuid4().hex
        self._ledger = weakref.ref(ledger)
        self._stopped = threading.Event()
        self._facts = {"pid": os.getpid(), "place": _find_place(), "start": _find_start(os.getpid())}
        self.beat()
        ledger.call_at_close(self._leave)
        threading.Thread(target=self._renew, name="claims", daemon=True).start()

    def beat(self) -> None:
        """Write or renew the entry."""
        if (ledger := self._ledger()) is not None:
            ledger.put(OWNER, self.token, {**self._facts, "time": ledger.now()})

    def _renew(self) -> None:
        while not self._stopped.wait(BEAT_S) and self._ledger() is not None:
            try:
                self.beat()
            except Exception as error:  # the database may be back at the next beat
                log.debug("a claim was not renewed: %r", error)

    def _leave(self) -> None:
        self._stopped.set()
        if (ledger := self._ledger()) is not None:
            ledger.remove(OWNER, self.token)


_owners: weakref.WeakKeyDictionary[Ledger, _Owner] = weakref.WeakKeyDictionary()
_turn = threading.Lock()


def _find_owner(ledger: Ledger) -> _Owner:
    with _turn:
        if ledger not in _owners:
            _owners[ledger] = _Owner(ledger)
        return _owners[ledger]


def _find_place() -> list[str] | None:
    """Return what two processes share that see each other: the machine's start and the process namespace."""
    if sys.platform != "linux":
        return None
    try:
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        return None


def _find_start(pid: int) -> int | None:
    """Return when a process of this namespace started, in clock ticks; None if there is none (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
