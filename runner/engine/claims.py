"""Claims in the ledger: which process does something that must be done once, and whether it still runs."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

LEASE_S = 120.0  # a claim from another machine can only be judged by its age


def make_claim() -> dict[str, Any]:
    """Return a claim of this process: host, process id and the time now."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}


def is_alive(claim: Mapping[str, Any], lease: bool = True) -> bool:
    """Whether the process behind a claim still runs.

    A claim from another machine counts as alive for :data:`LEASE_S` seconds, or always without ``lease``.
    So does one on Windows, where a signal to a process would end it.
    """
    if claim.get("host") != socket.gethostname() or sys.platform == "win32":
        return not lease or time.time() - claim.get("time", 0) < LEASE_S
    try:
        os.kill(int(claim["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
