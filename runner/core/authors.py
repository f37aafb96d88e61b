"""The types that users' own providers, parsers and metrics take and return."""

from runner.core.provider import Batcher, Deployer, Provider, RateLimits, Tuner
from runner.core.services import BatchStatus, Checkpoint, TrainingFile, TuningJob, TuningState, TuningStatus
from runner.core.types import Completion, Message, Parser, Request, Sampling, Score

__all__ = [
    "BatchStatus",
    "Batcher",
    "Checkpoint",
    "Completion",
    "Deployer",
    "Message",
    "Parser",
    "Provider",
    "RateLimits",
    "Request",
    "Sampling",
    "Score",
    "TrainingFile",
    "Tuner",
    "TuningJob",
    "TuningState",
    "TuningStatus",
]
