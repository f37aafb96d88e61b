"""A judge or a panel of judges: models that answer questions about the completions of another one."""

from runner.pipeline.judge.panel import (
    Judge,
    Panel,
    group_by_row,
    judge_row,
    judge_rows,
    leave_unjudged,
    pose_questions,
)
from runner.pipeline.judge.sides import Sides, make_sides, name_winner
from runner.pipeline.judge.votes import VERDICT, Rule

__all__ = [
    "VERDICT",
    "Judge",
    "Panel",
    "Rule",
    "Sides",
    "group_by_row",
    "judge_row",
    "judge_rows",
    "leave_unjudged",
    "make_sides",
    "name_winner",
    "pose_questions",
]
