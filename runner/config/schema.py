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
from runner.config.dataset_schema import DatasetConfig


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

    choice: ShotChoice = ShotChoice.first
    placement: ShotPlacement = ShotPlacement.turns
    seed: int = 0
    column: str | None = None
    """What ``balanced`` balances (default ``target``), or what ``similar`` compares (default: the prompt)."""


@dataclass
class PromptConfig:
    """The turns of a chat, each a template file (``*.jinja``) or the text itself.

    ``assistant`` is the gold turn, which shots show and training teaches.
    """

    name: str = "???"
    system: str | None = None
    user: str = "???"
    assistant: str = "{{ target }}"
    shots: ShotsConfig = field(default_factory=ShotsConfig)
    response_format: ResponseFormat = ResponseFormat.text
    json_schema: dict[str, Any] | None = None
    parser: Any = None


@dataclass
class HyperparameterConfig:
    """Settings that one may want to sweep. None leaves the default of the provider."""

    n_shot: int = 0
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    logprobs: int | None = None
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float | None = None
    training_steps: int | None = None


@dataclass
class SidesConfig:
    """Which answers of a judge in both orders name which output: a name, or a list of names.

    Needed only if the parser's labels are not ``a`` and ``b``, ``1`` and ``2``, or ``first`` and ``second``
    (in capitals or brackets, perhaps with ``tie`` or ``c``). Any other answer is no verdict.
    """

    first: Any = None
    second: Any = None
    tie: Any = None


@dataclass
class JudgeConfig:
    """A model that judges the completions. Its verdict is the column ``verdict``.

    ``both_orders`` names two columns (for example ``completion`` and ``target``), which are judged twice,
    the second time swapped.
    """

    name: str = "???"
    prompt: PromptConfig = field(default_factory=PromptConfig)
    provider: Any = None
    hyperparameter: HyperparameterConfig = field(default_factory=HyperparameterConfig)
    both_orders: list[str] | None = None
    sides: SidesConfig = field(default_factory=SidesConfig)


@dataclass
class FinetuneConfig:
    """How the evaluated model is fine-tuned. ``name: none`` evaluates the provider's model as it is.

    With ``dataset`` null, the train split of the evaluated data set is used. Each data set in ``extra``
    becomes a training file of its own; ``weights`` are by their names, 1 by default.
    """

    name: str = "none"
    dataset: DatasetConfig | None = None
    extra: dict[str, DatasetConfig] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    memorize: bool = False
    """True where evaluated rows may be trained on, because the run measures how well they are memorised."""
    suffix: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of one provider only, for example ``method`` and ``lora_rank`` of the local trainer."""
    integrations: list[Any] = field(default_factory=list)
    poll_s: float = 10.0


@dataclass
class TrackingConfig:
    """Where runs are shown; ``uri`` null is MLflow's default (``MLFLOW_TRACKING_URI`` or ``mlflow.db``)."""

    enabled: bool = True
    uri: str | None = None
    experiment_name: str = "runner"
    traces: Any = "none"
    """``all``, ``failures``, ``none`` or a number of rows."""


@dataclass
class LedgerConfig:
    """The database of everything bought, as a SQLAlchemy URL; by default SQLite under outputs/."""

    url: str = "sqlite:///outputs/ledger.db"


@dataclass
class PricesConfig:
    """Prices that replace shipped ones (``runner/money/prices.yaml``).

    ``path`` is a file of the same form. ``models`` maps a model's name to its price, such as
    ``{input: 0.1, output: 0.4}`` in US dollars per million tokens.
    """

    path: str | None = None
    models: dict[str, Any] = field(default_factory=dict)


@dataclass
class ReferenceConfig:
    """Published figures that a run is compared with.

    ``figures`` maps a case to {metric: published value}, or to a list of values whose metrics are in
    ``columns``. ``case`` says which case this run is, usually by interpolation (``${finetune.name}``,
    ``${checkpoint}``). Without ``case`` there is only one mapping. A value is a number, or text as the paper
    prints it: ``71.07%`` and ``92/100`` are proportions; null means not published, also for a whole case. A
    case that is not in ``figures`` and a figure of a score that the run does not have are errors; with
    ``compare: false`` nothing is compared.

    With ``exact``, a replay of recorded answers meets a figure or does not: the measured value, rounded to
    the printed digits, must equal the published one (so write a final 0: ``'0.50'``, ``57.50%``), or differ
    by at most ``tolerance``. For a model that is asked anew it is only said whether the published value lies
    in the measured interval, or within ``tolerance``. ``model`` is the published model, or one for each case;
    the figures of another model are only shown.
    """

    compare: bool = True
    source: str | None = None
    table: str | None = None
    model: Any = None
    exact: bool = False
    tolerance: float = 0.0
    case: str | None = None
    columns: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class ReproduceConfig:
    """``runner reproduce FOLDER`` of a run, a sweep or an export. ``ask`` buys answers that are missing.

    ``trust`` makes classes of others that the record names, which runs their code. ``named`` holds the
    addresses that the command line names, such as ``provider.base_url=…``.
    """

    folders: list[str] = field(default_factory=list)
    ask: bool = False
    trust: bool = False
    named: list[str] = field(default_factory=list)


@dataclass
class ExportConfig:
    """``runner export FOLDER``: ``to`` is a new folder or a ``.zip``, by default under outputs/exports.

    ``data`` includes the data files; their licences may forbid that. ``named`` is as in ``reproduce``.
    """

    folders: list[str] = field(default_factory=list)
    to: str | None = None
    data: bool = False
    named: list[str] = field(default_factory=list)


@dataclass
class ReportConfig:
    """``runner report [FOLDER…]`` of runs and sweeps, in outputs/reports/``name``.

    Without ``folders`` it is about the newest one with a score. ``rows`` is the number of rows shown of each
    data set. ``trust`` makes metrics of others that a record names, which runs their code.
    """

    folders: list[str] = field(default_factory=list)
    name: str | None = None
    rows: int = 50
    trust: bool = False


@dataclass
class CleanupConfig:
    """``runner cleanup [NAME…]``: the deployments in ``names`` are deleted even if a living run uses them."""

    names: list[str] = field(default_factory=list)


@dataclass
class RunnerConfig:
    """One experiment."""

    name: str = "???"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    provider: Any = None
    hyperparameter: HyperparameterConfig = field(default_factory=HyperparameterConfig)
    metric: dict[str, Any] = field(default_factory=dict)
    judge: JudgeConfig | None = None
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    checkpoint: Any = None
    """``base``, an epoch from 1, ``last``, ``last-1``, ``last-2`` … or a model id.

    Null means last if fine-tuned, else base.
    """
    objective: str | None = None
    """The score by which the points of a sweep are ranked, and which an optimising sweeper improves.

    Null means the first one that has a direction.
    """
    require: dict[str, Any] = field(default_factory=dict)
    """Conditions on scores and figures, such as ``{accuracy: ">= 0.8", cost_usd: "< 1"}``.

    A run that does not meet them ends with exit code 1.
    """
    max_failed: float = 0.1
    """The share of rows for which a call may fail. Above it a run ends as failed, with its scores; one row is
    always allowed."""
    budget_usd: float | None = None
    """The most that a run, or all points of a sweep together, may spend."""
    prices: PricesConfig = field(default_factory=PricesConfig)
    reproduce: ReproduceConfig = field(default_factory=ReproduceConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    cleanup: CleanupConfig = field(default_factory=CleanupConfig)


def register() -> None:
    """Register the schema with Hydra under the name that ``config.yaml`` refers to.

    From then on Hydra applies overrides as :mod:`runner.config.overrides` says.

    Hydra copies its whole store whenever it composes, which is half of the time of ``--help``. Nothing
    changes the copy (:meth:`ConfigStore.load` makes its own copies), so the store itself is used instead.
    """
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
    ConfigStore.instance().store(name="schema", node=RunnerConfig)
    overrides.install(RunnerConfig)
