"""The schema of a config. Closed groups are dataclasses, so that a mistyped key is an error.

``provider``, ``metric`` and ``prompt.parser``, also inside ``judge``, are open: they are nodes with a
``_target_``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hydra.core.config_store import ConfigStore

from runner.config import overrides
from runner.config.command_schema import (
    CleanupConfig,
    ExportConfig,
    LedgerConfig,
    PricesConfig,
    ReportConfig,
    ReproduceConfig,
    ShowConfig,
)
from runner.config.dataset_schema import DatasetConfig, ScoringConfig
from runner.config.groups.reference import ReferenceConfig


class ShotChoice(StrEnum):
    """How shots are picked from the train split."""

    first = "first"
    random = "random"
    balanced = "balanced"
    similar = "similar"


class ShotPlacement(StrEnum):
    """Where shots are put: in turns of their own, or in the user template (variable ``shots``)."""

    turns = "turns"
    user = "user"


class ResponseFormat(StrEnum):
    """What the server is asked to produce."""

    text = "text"
    json_object = "json_object"
    json_schema = "json_schema"


@dataclass
class ShotsConfig:
    """How shots are chosen and placed. ``hyperparameter.n_shot`` is their number."""

    choice: ShotChoice = ShotChoice.first  # how they are picked
    placement: ShotPlacement = ShotPlacement.turns  # where they are shown
    seed: int = 0  # of `random` and `balanced`
    column: str | None = None
    """What ``balanced`` balances (default ``target``), or what ``similar`` compares (default: the prompt)."""


@dataclass
class PromptConfig:
    """The turns of a chat, each a template file (``*.jinja``) or the text itself.

    ``assistant`` is the gold turn of shots and training. ``parser`` reads the answer; null keeps its text.
    """

    name: str = "???"  # shown in lists and tables
    system: str | None = None  # its template file or text; null: no such turn
    user: str = "???"  # its template file or text
    assistant: str = "{{ target }}"  # the gold turn
    shots: ShotsConfig = field(default_factory=ShotsConfig)
    response_format: ResponseFormat = ResponseFormat.text  # what the server is asked to produce
    json_schema: dict[str, Any] | None = None  # for `json_schema`
    parser: Any = None
    check_assistant: bool = True
    """Whether ``parser`` must read each gold turn that is shown or taught as the target of its row."""


@dataclass
class HyperparameterConfig:
    """Settings that one may want to sweep. Null leaves the default of the provider."""

    n_shot: int = 0  # examples in the prompt
    repeats: int = 1  # how often each row is asked, at most 1000
    temperature: float | None = None  # 0 to 2
    top_p: float | None = None  # above 0, at most 1
    max_tokens: int | None = None  # the longest answer
    seed: int | None = None  # for servers that take one
    stop: list[str] | None = None  # texts that end an answer
    logprobs: int | None = None  # alternatives for each token, at most 20
    reasoning_effort: str | None = None  # how much a model thinks: none, minimal, low … max
    verbosity: str | None = None  # of openai and azure: low, medium or high
    thinking_tokens: int | None = None  # of anthropic: the most tokens of thinking; 0: no thinking
    n_epochs: int | None = None  # of a training
    batch_size: int | None = None  # of a training
    learning_rate: float | None = None  # of local, mistral and together
    learning_rate_multiplier: float | None = None  # of openai, azure and local
    training_steps: int | None = None  # in place of n_epochs; of mistral and local


class Vote(StrEnum):
    """How several verdicts on one answer become one."""

    majority = "majority"
    mean = "mean"
    median = "median"
    any = "any"
    all = "all"


@dataclass
class SidesConfig:
    """Which answers of a judge in both orders name which output: a name, or a list of names.

    Needed only if the parser's labels are not ``a`` and ``b``, ``1`` and ``2``, or ``first`` and ``second``
    (in capitals or brackets, perhaps with ``tie`` or ``c``). Any other answer is no verdict.
    """

    first: Any = None  # the first output shown
    second: Any = None  # the second output shown
    tie: Any = None  # neither of them


@dataclass
class MemberConfig:
    """A judge of a panel. What it does not set, it takes from the judge: ``{}`` is the judge itself."""

    prompt: PromptConfig | None = None  # a whole prompt in place of the judge's
    provider: Any = None  # in place of the judge's
    hyperparameter: dict[str, Any] = field(default_factory=dict)  # those that differ from the judge's


@dataclass
class JudgeConfig:
    """A model that judges the completions. Its verdict is the column ``verdict``.

    ``both_orders`` names two columns (for example ``completion`` and ``target``), which are judged twice,
    the second time swapped. ``members`` makes it a panel. ``vote`` makes one verdict of a judge's repeated
    verdicts, and then of the members'. ``majority`` is the most frequent one; of equally many it is the one
    that was given first, in the order of the members, and a tie for a judge in both orders. ``mean`` and
    ``median`` are for numbers. ``any`` is the best verdict that anybody gave, and ``all`` the worst: the
    largest and the smallest number, the first and the last of a parser's labels.
    """

    name: str = "???"  # shown in lists and tables
    prompt: PromptConfig = field(default_factory=PromptConfig)  # as `prompt`
    provider: Any = None  # as `provider`; null: the run's base model
    hyperparameter: HyperparameterConfig = field(default_factory=HyperparameterConfig)  # as `hyperparameter`
    both_orders: list[str] | None = None  # two columns to compare
    members: dict[str, MemberConfig] = field(default_factory=dict)  # the judges of a panel, by name
    vote: Vote = Vote.majority  # how several verdicts become one
    sides: SidesConfig = field(default_factory=SidesConfig)


@dataclass
class FinetuneConfig:
    """How the evaluated model is fine-tuned. ``name: none`` evaluates the provider's model as it is.

    With ``dataset`` null, the train split of the evaluated data set is used. Each data set in ``extra``
    becomes a training file of its own; ``weights`` are by their names, 1 by default.
    """

    name: str = "none"  # shown in lists and tables
    dataset: DatasetConfig | None = None  # rows to train on
    extra: dict[str, DatasetConfig] = field(default_factory=dict)  # further data sets, by name
    weights: dict[str, float] = field(default_factory=dict)  # of the files, by name
    memorize: bool = False
    """True where evaluated rows may be trained on, because the run measures how well they are memorised."""
    suffix: str = ""  # in the name of the trained model
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of one provider only, for example ``method`` and ``lora_rank`` of the local trainer."""
    integrations: list[Any] = field(default_factory=list)  # sent to the service as they are
    poll_s: float = 10.0  # seconds between two looks at the job


@dataclass
class TrackingConfig:
    """Where runs are shown: ``uri``, else ``MLFLOW_TRACKING_URI`` or ``mlflow.db``; ``experiment_name``."""

    enabled: bool = True  # false: only the local record
    uri: str | None = None
    experiment_name: str | None = None
    """Null: the name of the run, or of its sweep (:func:`runner.cli.sweep.settle_experiment`)."""
    traces: Any = 100  # all, failures, none or a number of rows


@dataclass
class RunnerConfig:
    """One experiment."""

    name: str = "???"  # of the experiment
    dataset: DatasetConfig = field(default_factory=DatasetConfig)  # the rows
    prompt: PromptConfig = field(default_factory=PromptConfig)  # the question
    provider: Any = None  # who answers
    hyperparameter: HyperparameterConfig = field(default_factory=HyperparameterConfig)  # shots, sampling
    metric: dict[str, Any] = field(default_factory=dict)  # what is measured, by name
    scoring: ScoringConfig = field(default_factory=ScoringConfig)  # how repeats are scored
    judge: JudgeConfig | None = None  # a second model that reads the answers
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)  # how the model is trained
    tracking: TrackingConfig = field(default_factory=TrackingConfig)  # where runs are shown
    ledger: LedgerConfig = field(default_factory=LedgerConfig)  # what was bought
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)  # published figures
    checkpoint: Any = None
    """``base``, an epoch from 1, ``last``, ``last-1``, ``last-2`` … or a model id.

    Null means last if fine-tuned, else base.
    """
    fresh: Any = None
    """True asks every row again, although the ledger has its answer, and keeps both. The new answers get the
    time of the start as their name; a run with that name, or any other, uses the answers of that name."""
    objective: str | None = None
    """The score by which the points of a sweep are ranked, and which an optimising sweeper improves.

    Null means the first one that has a direction.
    """
    average_over: list[str] = field(default_factory=list)
    """Swept keys over which a sweep is averaged, such as ``[hyperparameter.seed]``.

    Points that differ only in them get one row with the mean of each score.
    """
    require: dict[str, Any] = field(default_factory=dict)
    """Conditions on scores and figures, such as ``{accuracy: ">= 0.8", cost_usd: "< 1"}``.

    A run that does not meet them ends with exit code 1. Figures are what a run counts and pays (``n``,
    ``answered``, ``parsed``, ``parse_rate``, ``failed``, ``cut``, ``calls``, tokens, ``cost_usd``,
    ``cost_usd_total``) and, for an exact replay with published figures, ``figures_met`` (their share) and
    ``figures_unmet`` (their number).
    """
    max_failed: float = 0.1
    """The share of rows for which a call may fail. Above it a run ends as failed, with its scores; one row is
    always allowed."""
    budget_usd: float | None = None
    """The most that a run, or all points of a sweep together, may spend."""
    prices: PricesConfig = field(default_factory=PricesConfig)  # in place of the shipped ones
    reproduce: ReproduceConfig = field(default_factory=ReproduceConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    cleanup: CleanupConfig = field(default_factory=CleanupConfig)
    show: ShowConfig = field(default_factory=ShowConfig)


def register() -> None:
    """Register the schema with Hydra under the name that ``config.yaml`` refers to.

    Hydra copies its whole store whenever it composes, which is half of the time of ``--help``. Nothing
    changes the copy (:meth:`ConfigStore.load` makes its own copies), so the store itself is used instead.
    """
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
    store = ConfigStore.instance()
    if "schema.yaml" not in store.repo:
        store.store(name="schema", node=RunnerConfig)


overrides.install(RunnerConfig)  # here, since a launcher's process imports this module and registers nothing
