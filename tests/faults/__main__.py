"""Kill and check: ``python -m tests.faults [--kills 50] [--seed 0] [--repeats 3]``. Exits 1 if it breaks."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.faults.kills import episodes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept, to look at; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        broken = killed = 0
        place = given.folder or Path(temporary)
        for episode, wrong in episodes(place, given.kills, given.seed, given.repeats):
            killed += episode.kills
            broken += bool(wrong)
            state = "; ".join(wrong) or "kept"
            print(f"{killed:3} kills, load {os.getloadavg()[0]:.1f}: {state}", flush=True)
    print(f"{killed} kills, {broken} episodes with a broken promise")
    return 1 if broken else 0


sys.exit(main())
