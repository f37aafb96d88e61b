"""The contract of a provider, which answers requests, and of its halves for fine-tuning and batches."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from runner.core import tokens
from runner.core.errors import ConfigError, ProviderError, suggest
from runner.core.identity import identify, list_declared
from runner.core.services import (
    UNKNOWN,
    BatchStatus,
    Checkpoint,
    Schedule,
    TrainingFile,
    TuningJob,
    TuningStatus,
)
from runner.core.types import Completion, Request, Sampling

MAX_WAIT_S = 300.0
REPLAY = "replay"
"""The provider whose answers are recorded, so that it is not asked."""
THINKING_TAGS = ("<think>",)
_TAG = re.compile(r"[^\w\s/][^/]*\w[^/]*[^\w\s/]")  # in brackets of some kind, with a name in it


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a server allows an account a minute, as its last answer says; None where it does not.

    ``tokens`` are those read and written together, which some services limit apart instead.
    """

    requests: int | None = None
    tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _ClassName:
    """A provider's name where its class gives none: the class's own, in lower case."""

    def __get__(self, provider: object, kind: type) -> str:
        return kind.__name__.lower()


class Provider(ABC):
    """What answers requests. A class of your own needs a ``model`` and :meth:`complete`, no more.

    ``name``              of the service, in messages, prices and records; by default the class's name
    ``model``             as the service calls it
    ``max_concurrency``   requests in flight at once
    ``requests_per_minute``, ``tokens_per_minute``   what the account allows; null: found out
    ``priced_as``         the name under which the price is found, where it is not the model's
    ``stands_for``        the model behind ``model``, where that is only the name of a deployment
    ``batch``             ask through the service's batch API
    ``batch_poll_s``      seconds between two looks at a batch
    ``stored``            whether answers are kept in the ledger
    ``max_wait_s``        seconds that a server may ask to wait, or answer nothing; then the run stops
    ``thinking_tags``     tags that open the thinking in an answer; ``<think>`` is closed by ``</think>``

    A plain subclass takes all of these as keywords, and the attributes that it declares itself. A dataclass
    takes its own fields only, so it repeats those of the above that a config may set.
    """

    name: str = cast(str, _ClassName())
    model: str
    max_concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    priced_as: str | None = None
    stands_for: str | None = None
    batch: bool = False
    batch_poll_s: float = 30.0
    max_wait_s: float = MAX_WAIT_S
    thinking_tags: Sequence[str] = THINKING_TAGS
    stored: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        known = list_declared(type(self))
        for name, value in settings.items():
            if name not in known:
                raise ConfigError(f"{name}: no such key{suggest(name, known)}")
            setattr(self, name, value)

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """Answer one request.

        An exception, even ``SystemExit``, belongs to this row, with two exceptions: after a
        :class:`~runner.core.errors.RetryableError` the request is tried again, and a
        :class:`~runner.core.errors.FatalProviderError` stops the run.
        """

    def identity(self) -> Mapping[str, Any]:
        """What besides the request determines an answer. Part of the ledger's key; never holds a secret.

        By default :func:`runner.core.identity.identify`: name, class, model and every setting that is not
        about pace or price.
        """
        return identify(self)

    def account(self) -> Mapping[str, Any]:
        """Whose limits a request counts against: service, endpoint, the key's variable and model, no more."""
        return {"provider": self.name, "model": self.model}

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` for what is wrong before anything is sent. No network.

        ``columns`` are those of the rows, where they are known.
        """
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError(f"provider.model={self.model!r}: a model's name is required")

    def check_limits(self) -> None:
        """Raise :class:`ConfigError` for numbers out of range. Needs no key."""
        check_number("max_concurrency", self.max_concurrency, least=1)
        check_number("requests_per_minute", self.requests_per_minute, optional=True)
        check_number("tokens_per_minute", self.tokens_per_minute, optional=True)
        check_number("max_wait_s", self.max_wait_s)
        tags = self.thinking_tags
        right = isinstance(tags, list | tuple)
        if not right or not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags):
            raise ConfigError(
                f"provider.thinking_tags={tags!r}: must be a list of opening tags, such as ['<think>'], or []"
            )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, by the model's own tokenizer where there is one, else estimated."""
        return tokens.count(text)

    def lacking(self) -> Sequence[str]:
        """The names of the sampling settings that the service has no counterpart for.

        A value for one of them is refused before the first call.
        """
        return ()

    def gives_logprobs(self, sampling: Sampling) -> bool:
        """Whether answers to such requests come with log-probabilities."""
        return sampling.logprobs is not None

    def rate_limits(self) -> RateLimits | None:
        """The account's limits as the last answer says them, or None."""
        return None

    def shutdown_date(self) -> date | None:
        """The day on which the service says that it shuts the model down, or None."""
        return None

    def tuner(self) -> Tuner:
        """The fine-tuning half; raises :class:`ConfigError` where there is none."""
        raise ConfigError(f"finetune: provider={self.name} cannot fine-tune; provider=local can")

    def batcher(self) -> Batcher:
        """The batch half; raises :class:`ConfigError` where there is none."""
        raise ConfigError(f"provider.batch=true: provider={self.name} has no batches")

    async def aclose(self) -> None:  # noqa: B027 - most hold nothing open
        """Release connections. A provider may be asked again afterwards."""


def check_number(key: str, value: Any, *, least: int | None = None, optional: bool = False) -> None:
    """Raise :class:`ConfigError` unless a setting is a whole number from ``least``, or any number above 0.

    Null passes where the setting is ``optional``.
    """
    if optional and value is None:
        return
    kind: Any = (int, float) if least is None else int
    right = isinstance(value, kind) and not isinstance(value, bool)
    if not right or (value <= 0 if least is None else value < least):
        what = "a number above 0" if least is None else f"a whole number of at least {least}"
        raise ConfigError(f"provider.{key}={value!r}: must be {what}{' or null' if optional else ''}")


@runtime_checkable
class Tuner(Protocol):
    """The fine-tuning half of a provider. All calls block; errors are :class:`ProviderError`.

    The caller repeats what fails with a :class:`~runner.core.errors.RetryableError`, and looks for the result
    of a lost :meth:`upload` or :meth:`create` before it repeats that. An answer that cannot be read is such
    an error. A tuner may also have ``count_evals(options, epochs)``: how often the tokens of the validation
    file are billed; and ``quote(job)``: the dollars that the service asks for a job, None if it does not say.
    """

    kept: int | None
    """How many states, the last ones, the service keeps under a model id; None: that of every epoch."""

    def check(self, files: tuple[TrainingFile, ...]) -> None:
        """Refuse files that the service would refuse (counts, roles, lengths), before any upload."""

    def check_job(self, job: TuningJob) -> None:
        """Refuse settings that the service does not have, before any upload; names stand for file ids."""

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name (names hold the content's digest), or None.

        Waits until the service has read the file; one that it deleted or could not read does not count.
        """

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

    def checkpoints(self, job_id: str, schedule: Schedule = UNKNOWN) -> list[Checkpoint]:
        """The saved states, in order, each once; the model ids can be given to :meth:`serving`.

        ``schedule`` tells the epochs of steps, for their numbers.
        """

    def serving(self, model: str) -> Provider:
        """A provider that answers as this fine-tuned model."""

    def default_epochs(self, rows: int) -> int:
        """How many epochs a training of so many rows has where ``n_epochs`` is not given."""


@runtime_checkable
class Deployer(Protocol):
    """A tuner whose models must be hosted, at a price per hour, before they answer (Azure, Together).

    The caller notes every deployment in the ledger before it makes it, and always deletes it in the end; so
    these calls need only be repeatable. A deployer may also have

    ``list_deployments()``   the models of all deployments at the service by their names
    ``hardware``             the name of the price of an hour, where that is not the model's
    ``minutes``              that a deployment is taken to stand, in the estimate and in the budget
    """

    def deploy(self, model: str, name: str) -> None:
        """Host a model under a deployment name; returns when it answers.

        No error if it is there already, or is being made or deleted.
        """

    def hosted(self, model: str, name: str) -> Provider:
        """A provider that answers as this deployment; its identity is the model's, not the deployment's."""

    def undeploy(self, name: str) -> None:
        """Delete a deployment; no error if it is gone."""

    def bills_hosting(self) -> bool:
        """Whether a deployment costs money while it stands."""


@runtime_checkable
class Batcher(Protocol):
    """The half of a provider that answers many requests within a day, for less money.

    All calls block; errors are :class:`ProviderError`. A batch is known by the key in its metadata, or by its
    input file.
    """

    most_requests: int
    most_bytes: int

    def line(self, key: str, request: Request) -> bytes:
        """A request as a line of the input file, without the newline."""

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded input file of this name once it can be used, or None."""

    def upload(self, name: str, content: bytes) -> str:
        """Send an input file and return its id once it can be used."""

    def find(self, key: str, file_id: str | None) -> str | None:
        """The id of a batch with this key, or made from this file, unless it was refused; or None."""

    def create(self, key: str, file_id: str) -> str:
        """Start a batch and return its id."""

    def status(self, batch_id: str) -> BatchStatus:
        """Where the batch stands now."""

    def results(self, batch_id: str) -> Iterable[tuple[str, Completion | ProviderError]]:
        """Key and answer, or key and failure, of every request in an ended batch's results."""
