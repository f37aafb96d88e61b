"""Deployments that a sweep keeps from one point to the next, since making one takes minutes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from runner.core.errors import RunnerError
from runner.engine.ledger import Ledger
from runner.pipeline.hosting import Bill, Use, say_leftovers

log = logging.getLogger(__name__)

FindModel = Callable[[Any], str]
"""From the checkpoint that a config names to the id of its model; may raise a ``RunnerError``."""


@dataclass(frozen=True)
class Need:
    """The model that a point of a sweep evaluates: what determines its training, and its checkpoint."""

    training: str
    checkpoint: Any


@dataclass
class _Kept:
    use: Use
    needed_by: set[int]


@dataclass
class SweepKeeper:
    """Keeps the deployments of a sweep as long as a point that has not ended may need them.

    ``needs`` holds the points that may need a deployment, by number. ``warnings`` tell of what could not be
    deleted. All points run in this process.
    """

    needs: Mapping[int, Need]
    warnings: list[str] = field(default_factory=list)
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _ended: set[int] = field(default_factory=set)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def of_point(self, number: int, find_model: FindModel) -> PointKeeper:
        """Return the keeper for one point; ``find_model`` knows the checkpoints of its training."""
        return PointKeeper(self, number, find_model)

    def end_point(self, number: int) -> None:
        """Note that a point has ended, and delete what no other point may need."""
        with self._turn:
            self._ended.add(number)
            self._release([name for name, kept in self._kept.items() if not kept.needed_by - self._ended])

    def close(self) -> None:
        """Delete all that is kept."""
        with self._turn:
            self._release(list(self._kept))

    def keep(self, use: Use, needed_by: set[int]) -> None:
        """Use the deployment of ``use`` too, if one of these points may need it; else end the own use."""
        with self._turn:
            if not needed_by - self._ended:
                if use.name in self._kept:
                    self._kept[use.name].use.bill = use.bill
                    self._release([use.name], warn=False)
            elif use.name in self._kept:
                self._kept[use.name].needed_by |= needed_by
            else:
                bill = Bill(use.bill.usd_per_hour)
                own = Use(use.model, use.name, use.tuner, Ledger(use.ledger.url), bill)
                self._kept[use.name] = _Kept(own, needed_by)
                own.join()

    def charge(self, name: str, bill: Bill, needed_by: set[int]) -> None:
        """Add to ``bill`` the hours that a kept deployment has stood; delete it if no point may need it."""
        with self._turn:
            if kept := self._kept.get(name):
                kept.use.bill = bill
                kept.use.settle()
                if not needed_by - self._ended:
                    self._release([name], warn=False)
                else:
                    kept.use.bill = Bill(bill.usd_per_hour)

    def _release(self, names: list[str], warn: bool = True) -> None:
        """End the own uses; Ctrl-C at one does not leave the others. Without ``warn`` the point warns."""
        stopped: KeyboardInterrupt | None = None
        for name in names:
            use = self._kept.pop(name).use
            try:
                use.leave(interrupted=stopped is not None)
            except KeyboardInterrupt as stop:
                stopped = stop
            if warn:
                self.warnings += say_leftovers(use.bill)
            use.ledger.close()
        if stopped:
            raise stopped


@dataclass(frozen=True)
class PointKeeper:
    """A :class:`~runner.pipeline.hosting.Keeper` for one point of a sweep."""

    sweep: SweepKeeper
    number: int
    find_model: FindModel

    def keep(self, use: Use) -> None:
        """Let the sweep use the deployment, too, if a point that has not ended may need it."""
        self.sweep.keep(use, self._find_points(use.model))

    def pass_over(self, use: Use) -> None:
        """Pay for a deployment that was kept for this point, which has its answers already."""
        self.sweep.charge(use.name, use.bill, self._find_points(use.model))

    def _find_points(self, model: str) -> set[int]:
        """Return the numbers of the other points that evaluate this model."""
        needs = self.sweep.needs
        if self.number not in needs:
            return set()
        training = needs[self.number].training
        return {
            number
            for number, need in needs.items()
            if number != self.number and need.training == training and self._find(need.checkpoint) == model
        }

    def _find(self, checkpoint: Any) -> str | None:
        with suppress(RunnerError):
            return self.find_model(checkpoint)
        return None
