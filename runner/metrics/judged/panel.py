"""How far the judges of a panel agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar

import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import PAIR, Score
from runner.metrics.base import get_column
from runner.metrics.bootstrap import clopper_pearson
from runner.metrics.repeated import Consistency


@dataclass(kw_only=True)
class PanelAgreement(Consistency):
    """The share of rows in which all judges of a panel say the same.

    ``name`` counts a row in which a judge has no verdict as one of disagreement; ``name_parsed`` is over the
    rows with two or more verdicts, and compares these. ``name_alpha`` is Krippendorff's alpha
    (:class:`runner.metrics.KrippendorffAlpha`), in which a verdict that is missing is a missing value. With
    three judges or more ``name_<one>_and_<other>`` is the share of the rows with a verdict of both in which
    these two say the same, with exact bounds (Clopper-Pearson).

    members   the names of the judges, as in ``judge.members``
    """

    members: Sequence[str] = field(default_factory=list)
    prediction: str = "verdict"
    name: str = "panel_agreement"

    reads_repeats: ClassVar[bool] = False
    rehearsable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.members:
            raise ConfigError(f"metric {self.name}: members must name judges of judge.members")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        verdicts = [get_column(frame, f"judge_{member}_verdict", self.name) for member in self.members]
        judged = pl.DataFrame(verdicts).filter(pl.any_horizontal(pl.all().is_not_null()))
        if len(verdicts) < 2 or judged.is_empty():
            reason = "no verdict was read" if len(verdicts) > 1 else "there is only one judge"
            ends = ("", "_parsed", "_alpha")
            pairs = (
                [PAIR.format(*pair) for pair in combinations(self.members, 2)] if len(verdicts) > 2 else []
            )
            return {f"{self.name}{end}": Score(None, reason=reason) for end in (*ends, *pairs)}
        together = self.compare(judged.select(pl.concat_list(pl.all()).alias(" values")))
        return together | (self._compare_pairs(judged) if len(verdicts) > 2 else {})

    def _compare_pairs(self, judged: pl.DataFrame) -> dict[str, Score]:
        found: dict[str, Score] = {}
        for one, other in combinations(self.members, 2):
            both = judged.select(f"judge_{one}_verdict", f"judge_{other}_verdict").drop_nulls()
            same, n = int((both.to_series(0) == both.to_series(1)).sum()), both.height
            score = Score(None, reason="no row has a verdict of both")
            if n:
                low, high = clopper_pearson(same / n, n, self.confidence)
                score = Score(same / n, low, high, n)
            found[f"{self.name}{PAIR.format(one, other)}"] = score
        return found
