"""The metrics that judges bring with them: figures of their biases, and those of the members of a panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from runner import parse
from runner.config.schema import RunnerConfig
from runner.core.types import AGREEMENT
from runner.pipeline.answer import Responder
from runner.pipeline.judge.panel import Judge, Panel
from runner.pipeline.judge.votes import VERDICT

ROOM = "runner.metrics.judged."
KEPT = ("_target_", "name", "value")
"""Settings of a metric that name no column."""


def find_judge_metrics(config: RunnerConfig, judged: Responder, panel: Panel) -> dict[str, Any]:
    """Return the metrics that the judges bring with them, by name, as nodes of a config.

    Whatever is measured of ``verdict`` is measured of each member of a panel, too, under the metric's name
    and the member's. A metric that the config names, or sets to null, is left as it is.
    """
    found: dict[str, Any] = {}
    if panel.has_members:
        for name, node in config.metric.items():
            found |= {
                f"{name}_{judge.name}": read_by(node, judge.verdict)
                for judge in panel.judges
                if read_by(node, judge.verdict) != node
            }
        level = "interval" if all(map(gives_numbers, panel.judges)) else "nominal"
        members = [judge.name for judge in panel.judges]
        found[AGREEMENT] = {"_target_": f"{ROOM}PanelAgreement", "members": members, "level": level}
    is_own = {judge.name: is_same_model(config, judged, judge) for judge in panel.judges}
    for judge in panel.judges:
        if not (judge.sides or gives_numbers(judge)):
            continue
        end, sides = (
            f"_{judge.name}" if judge.name else "",
            list(judge.sides.columns) if judge.sides else None,
        )
        compared = {"sides": sides} if sides else {}
        if sides:
            orders = {"orders": judge.rename("judge_orders")}
            found[f"position_bias{end}"] = {"_target_": f"{ROOM}PositionBias", **compared, **orders}
        read = {"prediction": judge.verdict, **compared}
        found[f"length_bias{end}"] = {"_target_": f"{ROOM}LengthBias", **read}
        if is_own[judge.name] and (not sides or sides[0] == "completion"):
            others = [other.verdict for other in panel.judges if not is_own[other.name]]
            found[f"self_preference{end}"] = {"_target_": f"{ROOM}SelfPreference", **read, "others": others}
    return {name: node for name, node in found.items() if name not in config.metric}


def read_by(node: Any, column: str) -> Any:
    """The node of a metric that reads another column in place of ``verdict``.

    >>> read_by({"_target_": "verdict", "column": "verdict", "annotators": ["verdict"]}, "judge_b_verdict")
    {'_target_': 'verdict', 'column': 'judge_b_verdict', 'annotators': ['judge_b_verdict']}
    """
    if isinstance(node, Mapping):
        return {key: value if key in KEPT else read_by(value, column) for key, value in node.items()}
    if isinstance(node, list):
        return [read_by(item, column) for item in node]
    return column if node == VERDICT else node


def is_judge_metric(node: Any) -> bool:
    """Whether a recorded metric may be one of :func:`find_judge_metrics`."""
    return str((node or {}).get("_target_")).startswith(ROOM) or "judge_" in str(node)


def gives_numbers(judge: Judge) -> bool:
    """Whether the verdicts of a judge are ratings."""
    nothing = pl.Series("said", [], dtype=pl.String)
    return judge.sides is None and parse.apply(judge.responder.parser, nothing).dtype.is_numeric()


def is_same_model(config: RunnerConfig, judged: Responder, judge: Judge) -> bool:
    """Whether a judge is the judged model; never so for recorded answers and for models that were trained."""
    if config.checkpoint not in (None, "base") or (config.finetune.name != "none" and not config.checkpoint):
        return False
    one, other = judged.provider, judge.responder.provider
    return one.stored and (one.name, one.model) == (other.name, other.model)
