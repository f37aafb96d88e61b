"""Fine-tuning at OpenAI (https://platform.openai.com/docs/guides/supervised-fine-tuning).

The SDK makes these calls: they are few, and its multipart upload, paging and retries are worth having.
"""

from __future__ import annotations

import json
import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from runner.core.errors import ConfigError, DataError, ProviderError, RetryableError
from runner.core.provider import Provider
from runner.core.services import Checkpoint, TrainingFile, TuningJob, TuningState, TuningStatus
from runner.providers import curves
from runner.providers.chat import Chat
from runner.providers.http.failures import Origin, failure, local_instead
from runner.providers.tuning_files import Rules, check

log = logging.getLogger(__name__)

RULES = Rules(
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    least_rows=10,
    most_bytes=512 * 1024 * 1024,
    most_tokens=65_536,
)
STATES: Mapping[str, TuningState] = {
    "validating_files": "queued",
    "queued": "queued",
    "created": "queued",  # Azure
    "pending": "queued",  # Azure
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "paused": "paused",
}
UNREADY = {"uploaded", "pending", "running", "notRunning"}
RETRIES = 5  # of calls that change nothing; a repeated upload or create could be paid twice
KEY = "runner_key"


class OpenAITuner:
    """Files, jobs and checkpoints of one account. See :class:`runner.core.provider.Tuner`."""

    foreign: Mapping[str, str] = {
        "learning_rate": "hyperparameter.learning_rate_multiplier",
        "training_steps": "hyperparameter.n_epochs",
    }

    def __init__(self, provider: Chat, sleep: Callable[[float], None] = time.sleep) -> None:
        self._provider = provider
        self._sleep = sleep

    def check(self, files: tuple[TrainingFile, ...]) -> None:
        """Refuse files that the service would refuse."""
        check(files, RULES)

    def check_job(self, job: TuningJob) -> None:
        """Refuse hyperparameters that the service does not have, naming the one that it has."""
        for name, instead in self.foreign.items():
            if getattr(job, name) is not None:
                raise ConfigError(f"hyperparameter.{name}: {self._provider.name} takes {instead} instead")
        if len(job.training) != 1 or job.training[0][1] != 1:
            raise ConfigError(f"finetune.extra: {self._provider.name} takes one training file, not weighted")

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name, or None."""
        with self._errors():
            found = (
                file.id
                for file in self._client.files.list(purpose="fine-tune", limit=1000)
                if _is(file, name)
            )
            return next(found, None)

    def upload(self, file: TrainingFile) -> str:
        """Send a file; returns its id when the service has read it."""
        content = (file.name, file.content, "application/jsonl")
        with self._errors():
            sent = self._once.files.create(file=content, purpose="fine-tune")
            while sent.status in UNREADY:
                self._sleep(1.0)
                sent = self._client.files.retrieve(sent.id)
        if sent.status == "error":
            raise ProviderError(f"{self._provider.name}: {file.name} was refused: {sent.status_details}")
        return sent.id

    def find_job(self, key: str) -> str | None:
        """The id of the job with this key: the newest that did not fail, else the newest."""
        with self._errors():
            jobs = [job for job in self._jobs(key) if self._has(job, key)]
        alive = [job for job in jobs if STATES.get(job.status) not in {"failed", "cancelled"}]
        return next((job.id for job in alive + jobs), None)

    def create(self, job: TuningJob) -> str:
        """Start a job and return its id."""
        self.check_job(job)
        with local_instead(), self._errors():
            made = self._once.fine_tuning.jobs.create(**self.arguments(job))
        return made.id

    def arguments(self, job: TuningJob) -> dict[str, Any]:
        """What the create call says; what is None is left to the service."""
        wanted = {
            "n_epochs": job.n_epochs,
            "batch_size": job.batch_size,
            "learning_rate_multiplier": job.learning_rate_multiplier,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        supervised = {"supervised": {"hyperparameters": given}} if given else {}
        arguments = {
            "model": self._provider.model,
            "training_file": job.training[0][0],
            "validation_file": job.validation,
            "method": {"type": "supervised", **supervised},
            "seed": job.seed,
            "integrations": [dict(item) for item in job.integrations] or None,
            "extra_body": dict(job.options) or None,
            **self._marks(job),
        }
        return {name: value for name, value in arguments.items() if value is not None}

    def status(self, job_id: str) -> TuningStatus:
        """Where the job stands; a word that is not known counts as running and is passed on."""
        job = self._job(job_id)
        reason = f"{job.error.code}: {job.error.message}" if job.error and job.error.message else ""
        return TuningStatus(
            state=STATES.get(job.status, "running"),
            detail=reason or job.status,
            model=job.fine_tuned_model,
            progress=_progress(job, time.time()),
            trained_tokens=job.trained_tokens,
        )

    def events(self, job_id: str) -> list[str]:
        """The job's messages, oldest first."""
        with self._errors():
            newest_first = list(self._client.fine_tuning.jobs.list_events(job_id, limit=100))
        return [event.message for event in reversed(newest_first)]

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """The training curve in the job's result files."""
        files = self._job(job_id).result_files or []
        with self._errors():
            contents = [self._client.files.content(file).read() for file in files]
        return {name: curve for content in contents for name, curve in self._parsed(content, job_id).items()}

    def _parsed(self, content: bytes, job_id: str) -> dict[str, list[tuple[int, float]]]:
        try:
            return curves.parse(content)
        except DataError as error:  # the model is finished and paid for: it is not lost for want of a curve
            log.warning("%s: no training curve: %s", job_id, error)
            return {}

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """The states that the service kept, by epoch (it keeps the last three), the finished model last."""
        job = self._job(job_id)
        with self._errors():
            kept = list(self._client.fine_tuning.jobs.checkpoints.list(job_id, limit=100))
        states = [(point.step_number, point.fine_tuned_model_checkpoint, _metrics(point)) for point in kept]
        states.sort(key=lambda state: state[0])
        if job.fine_tuned_model and job.fine_tuned_model not in (model for _, model, _ in states):
            states.append((states[-1][0] if states else 0, job.fine_tuned_model, {}))
        numbers = _epochs([step for step, _, _ in states], job)
        return [Checkpoint(number, *state) for number, state in zip(numbers, states, strict=True)]

    def serving(self, model: str) -> Provider:
        """The same account, answering as ``model``."""
        return replace(self._provider, model=model)

    @cached_property
    def _client(self) -> openai.OpenAI:
        client = self._connect()
        weakref.finalize(self, client.close)
        return client

    @property
    def _once(self) -> openai.OpenAI:
        return self._client.with_options(max_retries=0)

    def _connect(self) -> openai.OpenAI:
        provider = self._provider
        return openai.OpenAI(
            api_key=provider.key(),
            base_url=provider.endpoint(),
            max_retries=RETRIES,
            timeout=provider.timeout_s,
        )

    def _marks(self, job: TuningJob) -> dict[str, Any]:
        """What makes the job findable again."""
        return {"metadata": {KEY: job.key}, "suffix": job.suffix or None}

    def _jobs(self, key: str) -> Iterator[FineTuningJob]:
        return iter(self._client.fine_tuning.jobs.list(limit=100, metadata={KEY: key}))

    def _has(self, job: FineTuningJob, key: str) -> bool:
        return (job.metadata or {}).get(KEY) == key

    def _job(self, job_id: str) -> FineTuningJob:
        with self._errors():
            return self._client.fine_tuning.jobs.retrieve(job_id)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with translated(self._provider.origin()):
            yield


@contextmanager
def translated(origin: Origin) -> Iterator[None]:
    """Every error of the SDK as ours; :class:`ProviderError` at least."""
    try:
        yield
    except openai.APIStatusError as error:
        raise failure(origin, error.status_code, error.response.headers, error.body) from None
    except (openai.APIConnectionError, openai.APIResponseValidationError, json.JSONDecodeError) as error:
        raise RetryableError(f"{origin.name}: {origin.clean(str(error))}") from error
    except openai.OpenAIError as error:
        raise ProviderError(f"{origin.name}: {origin.clean(str(error))}") from error


def _is(file: FileObject, name: str) -> bool:
    return file.filename == name and file.status != "error"


def _progress(job: FineTuningJob, now: float) -> float | None:
    if not job.estimated_finish or job.estimated_finish <= job.created_at:
        return None
    return round(min(max((now - job.created_at) / (job.estimated_finish - job.created_at), 0.0), 0.99), 3)


def _metrics(point: Any) -> dict[str, float]:
    measured = point.metrics.model_dump(exclude_none=True)
    return {
        name: float(value) for name, value in measured.items() if name != "step" and value != curves.SENTINEL
    }


def _epochs(steps: list[int], job: FineTuningJob) -> list[int]:
    """The epochs after which the states were kept; where that cannot be told, 1, 2, 3 …

    Of 5 epochs of 125 steps the states after steps 375, 500 and 625 are kept: epochs 3, 4 and 5.
    """
    epochs = job.hyperparameters.n_epochs if job.hyperparameters else None
    if isinstance(epochs, int) and steps and steps[-1]:
        exact = [step * epochs / steps[-1] for step in steps]
        numbers = [round(number) for number in exact]
        if all(abs(a - b) < 0.01 for a, b in zip(exact, numbers, strict=True)) and len(set(numbers)) == len(
            steps
        ):
            return numbers
    return list(range(1, len(steps) + 1))
