"""Fine-tuning at OpenAI (https://platform.openai.com/docs/guides/supervised-fine-tuning).

The SDK makes these calls: they are few, and its multipart upload, paging and retries are worth having.
"""

from __future__ import annotations

import json
import logging
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from runner.core.errors import DataError, ProviderError, RetryableError
from runner.core.services import (
    UNKNOWN,
    Checkpoint,
    Schedule,
    TrainingFile,
    TuningJob,
    TuningState,
    TuningStatus,
)
from runner.providers.curves import SENTINEL, parse_curves
from runner.providers.http.certificates import make_ssl_context
from runner.providers.http.failures import Service, make_error, suggest_local
from runner.providers.tuning import OWN_FIELDS, ServiceTuner
from runner.providers.tuning_files import (
    Rules,
    State,
    is_lost,
    is_unread,
    list_all,
    need_text,
    number_states,
    read_integrations,
    wait_until_read,
)

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
FOREIGN = {
    "learning_rate": "hyperparameter.learning_rate_multiplier",
    "training_steps": "hyperparameter.n_epochs",
}
RETRIES = 5  # of calls that change nothing; a repeated upload or create could be paid twice
KEY = "runner_key"


class OpenAITuner(ServiceTuner):
    """Files, jobs and checkpoints of one account. See :class:`runner.core.provider.Tuner`."""

    kept: int | None = 3
    rules = RULES
    states = STATES
    foreign = FOREIGN
    own_fields = OWN_FIELDS

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name once the service has read it, or None."""
        with self._translate_errors():
            files = list_all(self._client.files.list(purpose="fine-tune", limit=1000))
            mine = [file for file in files if file.filename == name and not is_lost(file.status)]
            mine.sort(key=lambda file: is_unread(file.status))
            read = (self._wait_until_read(file) for file in mine)
            return next((file.id for file in read if not is_lost(file.status)), None)

    def upload(self, file: TrainingFile) -> str:
        """Send a file; returns its id when the service has read it."""
        content = (file.name, file.content, "application/jsonl")
        with self._translate_errors():
            sent = self._wait_until_read(self._unrepeated.files.create(file=content, purpose="fine-tune"))
            if is_lost(sent.status):
                raise ProviderError(f"{self._provider.name}: {file.name} was refused: {sent.status_details}")
            return sent.id

    def _wait_until_read(self, file: FileObject) -> FileObject:
        """The file once the service has read it, or as one of :data:`LOST`; raises after an hour."""
        file_id = need_text(file.id)

        def look() -> FileObject:
            found = self._client.files.retrieve(file_id)
            need_text(found.id)
            return found

        what = f"{self._provider.name}: {file.filename} ({file_id})"
        return wait_until_read(file, lambda file: file.status, look, self._sleep, what)

    def _find_jobs(self, key: str) -> list[tuple[str, str]]:
        with self._translate_errors():
            jobs = [job for job in self._list_jobs(key) if self._is_ours(job, key)]
            return [(need_text(job.id), job.status) for job in jobs]

    def create(self, job: TuningJob) -> str:
        """Start a job and return its id."""
        self.check_job(job)
        with suggest_local(), self._translate_errors():
            return need_text(self._unrepeated.fine_tuning.jobs.create(**self.build_arguments(job)).id)

    def build_arguments(self, job: TuningJob) -> dict[str, Any]:
        """What the create call says; what is None is left to the service."""
        hyperparameters = {
            "n_epochs": job.n_epochs,
            "batch_size": job.batch_size,
            "learning_rate_multiplier": job.learning_rate_multiplier,
        }
        given = {name: value for name, value in hyperparameters.items() if value is not None}
        supervised = {"supervised": {"hyperparameters": given}} if given else {}
        arguments = {
            "model": self._provider.model,
            "training_file": job.training[0][0],
            "validation_file": job.validation,
            "method": {"type": "supervised", **supervised},
            "seed": job.seed,
            "integrations": read_integrations(job, self._secrets) or None,
            "extra_body": dict(job.options) or None,
            **self._build_marks(job),
        }
        return {name: value for name, value in arguments.items() if value is not None}

    def status(self, job_id: str) -> TuningStatus:
        """Where the job stands; a word that is not known counts as running and is passed on."""
        job = self._get_job(job_id)
        return TuningStatus(
            state=self._read_state(job.status),
            detail=_explain(job.error) or job.status,
            model=job.fine_tuned_model,
            progress=_estimate_progress(job, time.time()),
            trained_tokens=job.trained_tokens,
        )

    def events(self, job_id: str) -> list[str]:
        """The job's messages, oldest first."""
        with self._translate_errors():
            newest_first = list_all(self._client.fine_tuning.jobs.list_events(job_id, limit=100))
            return [event.message for event in newest_first][::-1]

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """The training curve in the job's result files."""
        files = self._get_job(job_id).result_files or []
        with self._translate_errors():
            contents = [self._client.files.content(file).read() for file in files]
        return {
            name: curve for content in contents for name, curve in self._parse_curves(content, job_id).items()
        }

    def _parse_curves(self, content: bytes, job_id: str) -> dict[str, list[tuple[int, float]]]:
        try:
            return parse_curves(content)
        except DataError as error:  # the model is finished and paid for: a missing curve must not lose it
            log.warning("%s: no training curve: %s", job_id, error)
            return {}

    def checkpoints(self, job_id: str, schedule: Schedule = UNKNOWN) -> list[Checkpoint]:
        """The states that the service kept, by epoch (it keeps the last three), the finished model last.

        None without a finished model, even if the service kept states on the way to it.
        """
        job = self._get_job(job_id)
        if not job.fine_tuned_model:
            return []
        with self._translate_errors():
            listed = list_all(self._client.fine_tuning.jobs.checkpoints.list(job_id, limit=100))
            states = [
                State(
                    int(point.step_number), need_text(point.fine_tuned_model_checkpoint), _read_metrics(point)
                )
                for point in listed
            ]
        if job.hyperparameters:
            schedule = schedule.fill(job.hyperparameters.batch_size, job.hyperparameters.n_epochs)
        return number_states(states, job.fine_tuned_model, schedule)

    @cached_property
    def _client(self) -> openai.OpenAI:
        client = self._connect()
        weakref.finalize(self, client.close)
        return client

    @property
    def _unrepeated(self) -> openai.OpenAI:
        """The client for calls that could be paid twice."""
        return self._client.with_options(max_retries=0)

    def _connect(self) -> openai.OpenAI:
        key, url, timeout = self._provider.read_key(), self._provider.endpoint(), self._provider.timeout_s
        http = openai.DefaultHttpxClient(verify=make_ssl_context())
        return openai.OpenAI(
            api_key=key, base_url=url, max_retries=RETRIES, timeout=timeout, http_client=http
        )

    def _build_marks(self, job: TuningJob) -> dict[str, Any]:
        """What makes the job findable again."""
        return {"metadata": {KEY: job.key}, "suffix": job.suffix or None}

    def _list_jobs(self, key: str) -> Iterator[FineTuningJob]:
        return list_all(self._client.fine_tuning.jobs.list(limit=100, metadata={KEY: key}))

    def _is_ours(self, job: FineTuningJob, key: str) -> bool:
        return (job.metadata or {}).get(KEY) == key

    def _get_job(self, job_id: str) -> FineTuningJob:
        with self._translate_errors():
            job = self._client.fine_tuning.jobs.retrieve(job_id)
            need_text(job.id), need_text(job.status)
            return job

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        with translate_errors(self._service()):
            yield


@contextmanager
def translate_errors(service: Service) -> Iterator[None]:
    """Raise every error of the SDK as a :class:`ProviderError` or a subclass."""
    try:
        yield
    except openai.APIStatusError as error:
        raise make_error(service, error.status_code, error.response.headers, error.body) from None
    except (openai.APIConnectionError, openai.APIResponseValidationError, json.JSONDecodeError) as error:
        raise RetryableError(f"{service.name}: {service.redact(str(error))}") from error
    except openai.OpenAIError as error:
        raise ProviderError(f"{service.name}: {service.redact(str(error))}") from error
    except (AttributeError, TypeError, ValueError) as error:  # the SDK does not check what it was answered
        raise RetryableError(f"{service.name}: the answer cannot be read: {error}") from error


def _explain(error: Any) -> str:
    """What a job says about its failure: an object with code and message, or a text."""
    if isinstance(error, str):
        return error
    return f"{getattr(error, 'code', None)}: {error.message}" if getattr(error, "message", None) else ""


def _estimate_progress(job: FineTuningJob, now: float) -> float | None:
    began: Any = job.created_at
    end: Any = job.estimated_finish
    if not isinstance(began, int | float) or not isinstance(end, int | float) or end <= began:
        return None
    return round(min(max((now - began) / (end - began), 0.0), 0.99), 3)


def _read_metrics(point: Any) -> dict[str, float]:
    measured = point.metrics.model_dump(exclude_none=True) if point.metrics else {}
    return {name: float(value) for name, value in measured.items() if name != "step" and value != SENTINEL}
