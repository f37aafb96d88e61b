"""The few values that travel between layers; rows travel as polars frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from runner.core.errors import ProviderError


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample an answer. None leaves the server's default in place and is not sent."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    logprobs: int | None = None
    """Number of alternatives per token whose log-probabilities are wanted."""
    response_format: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    ``row`` is the data row behind it: all of it for a provider that is not ``stored``, such as ``replay``,
    else its ``id``.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. Token counts are None where the server does not give them."""

    text: str
    model: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of ``input_tokens`` that the server billed as cached."""
    cache_write_tokens: int | None = None
    """Part of ``input_tokens`` that was written to the server's cache, where that is billed."""
    batch: bool | None = None
    """True for an answer of a batch, which costs less; None for a live one."""
    logprobs: list[dict[str, Any]] | None = None
    """Per token: ``token``, ``logprob``, ``top`` (a list of token and logprob)."""
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a server told last about an account's limits; None where it does not say.

    A provider may offer them as the attribute ``latest_limits``.
    """

    requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    """Seconds until all of ``requests`` are allowed again."""
    tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None


@runtime_checkable
class Provider(Protocol):
    """What answers requests; every class in ``runner.providers`` is one, and so may a user's own be.

    Raises only :class:`runner.core.errors.ProviderError` and its subclasses from ``complete``.
    """

    name: str
    model: str
    max_concurrency: int

    def identity(self) -> Mapping[str, Any]:
        """What besides the request determines an answer: provider, endpoint, model, weights' digest.

        Part of the ledger's key; never holds a secret.
        """

    async def complete(self, request: Request) -> Completion:
        """Answer one request."""

    async def aclose(self) -> None:
        """Release connections; the provider is not used afterwards."""


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """A prepared JSONL file: one ``{"messages": [...]}`` per line, the last turn the assistant's."""

    name: str
    content: bytes
    rows: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TuningJob:
    """What determines a fine-tuned model; ``key`` is the digest of all of it, and finds the job again."""

    key: str
    training: tuple[tuple[str, float], ...]
    """Uploaded file ids with their weights."""
    validation: str | None = None
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float | None = None
    training_steps: int | None = None
    seed: int | None = None
    suffix: str = ""
    integrations: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """What only one provider knows, such as ``lora_rank`` of the local trainer."""


TuningState = Literal["queued", "running", "succeeded", "failed", "cancelled", "paused"]


@dataclass(frozen=True, slots=True)
class TuningStatus:
    """Where a job stands. ``state`` is ours; ``detail`` is the provider's own word or reason."""

    state: TuningState
    detail: str = ""
    model: str | None = None
    """The finished model's id, once there is one."""
    progress: float | None = None
    """Share done, from 0 to 1, where the provider says."""
    trained_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved state of a training; ``number`` counts from 1, the last one is the finished model."""

    number: int
    step: int
    model: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Tuner(Protocol):
    """The fine-tuning half of a provider. All calls block; errors are :class:`ProviderError`."""

    def check(self, files: tuple[TrainingFile, ...]) -> None:
        """Refuse files that the service would refuse (counts, roles, lengths), before any upload."""

    def check_job(self, job: TuningJob) -> None:
        """Refuse settings that the service does not have, before any upload; names stand for file ids."""

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name (names hold the content's digest), or None."""

    def upload(self, file: TrainingFile) -> str:
        """Send a file and return its id once it can be used."""

    def find_job(self, key: str) -> str | None:
        """The id of the job created with this key, whatever its state, or None."""

    def create(self, job: TuningJob) -> str:
        """Start a job and return its id."""

    def status(self, job_id: str) -> TuningStatus:
        """Where the job stands now."""

    def events(self, job_id: str) -> list[str]:
        """The job's messages so far, oldest first."""

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """Training curve: name (``train_loss``, …) to (step, value) pairs, without blanks or sentinels."""

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """The saved states, in order; the model ids can be given to :meth:`serving`."""

    def serving(self, model: str) -> Provider:
        """A provider that answers as this fine-tuned model."""


@runtime_checkable
class Deployer(Protocol):
    """A tuner whose models must be hosted, at a price per hour, before they answer (Azure).

    The lifecycle notes every deployment in the ledger before it is made and deletes it whatever happens;
    so these calls need only be repeatable.
    """

    def deploy(self, model: str, name: str) -> None:
        """Host a model under a deployment name; returns when it answers. No error if it is there already."""

    def hosted(self, model: str, name: str) -> Provider:
        """A provider that answers as this deployment; its identity is the model's, not the deployment's."""

    def undeploy(self, name: str) -> None:
        """Delete a deployment; no error if it is gone."""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """Where a batch stands: ``running``, ``ended`` (what it has done is there) or ``refused`` as a whole."""

    state: Literal["running", "ended", "refused"]
    detail: str = ""
    """The service's own word or reason."""
    done: int = 0
    """Requests done so far, well or not."""
    total: int = 0


@runtime_checkable
class Batcher(Protocol):
    """The half of a provider that answers many requests within a day, for less money.

    All calls block; errors are :class:`ProviderError`. Which batch is which is told by its key in the
    metadata or by its input file.
    """

    most_requests: int
    most_bytes: int

    def line(self, key: str, request: Request) -> bytes:
        """A request as a line of the input file, without the newline."""

    def upload(self, name: str, content: bytes) -> str:
        """Send an input file and return its id once it can be used."""

    def find(self, key: str, file_id: str | None) -> str | None:
        """The id of the batch with this key, or made from this file, that was not refused; or None."""

    def create(self, key: str, file_id: str) -> str:
        """Start a batch and return its id."""

    def status(self, batch_id: str) -> BatchStatus:
        """Where the batch stands now."""

    def results(self, batch_id: str) -> Iterable[tuple[str, Completion | ProviderError]]:
        """Key and answer, or key and failure, of every request that an ended batch tells of."""


class Parser(Protocol):
    """Turns a completion's text into a value, or None where it cannot."""

    def __call__(self, text: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Score:
    """A measured number with its uncertainty.

    ``low`` and ``high`` bound the confidence interval (None where it is not defined); ``n`` counts the
    rows behind the number.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
