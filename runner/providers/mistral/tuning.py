"""Fine-tuning at Mistral, over ``/v1/fine_tuning/jobs``: the SDK has no methods for it since 2.5.2.

Files go through the SDK; jobs go through the SDK's HTTP client, with its key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import httpx2
from mistralai.client import Mistral as Sdk
from mistralai.client import errors

from runner.core.errors import ConfigError, RetryableError
from runner.core.provider import Provider
from runner.core.retry import pause
from runner.core.services import (
    UNKNOWN,
    Checkpoint,
    Schedule,
    TrainingFile,
    TuningJob,
    TuningState,
    TuningStatus,
)
from runner.providers.chat import Chat
from runner.providers.http.client import Client
from runner.providers.http.failures import Service, decode, make_error, suggest_local
from runner.providers.mistral.job_fields import describe_event, describe_offer, read_metrics, read_progress
from runner.providers.tuning_files import (
    Rules,
    State,
    check_files,
    estimate_epochs,
    make_suffix,
    number_states,
    read_integrations,
)

log = logging.getLogger(__name__)

RULES = Rules(
    source="https://docs.mistral.ai/capabilities/finetuning",
    least_rows=1,
    most_bytes=512 * 1024 * 1024,
    most_tokens=32_768,
)
STATES: Mapping[str, TuningState] = {
    "QUEUED": "queued",
    "VALIDATING": "queued",
    "VALIDATED": "queued",
    "STARTED": "running",
    "RUNNING": "running",
    "CANCELLATION_REQUESTED": "running",
    "SUCCESS": "succeeded",
    "FAILED": "failed",
    "FAILED_VALIDATION": "failed",
    "CANCELLED": "cancelled",
}
FOREIGN = {
    "batch_size": "hyperparameter.training_steps",
    "learning_rate_multiplier": "hyperparameter.learning_rate",
}
PAGE = 100
NEEDED: Mapping[str, type] = {"id": str, "status": str, "data": list}
MARK = {"key_letters": 12, "letters": 18}


class MistralTuner:
    """Files and jobs of one account. See :class:`runner.core.provider.Tuner`.

    Mistral's jobs carry no metadata, so the key goes into the suffix, which is also part of the model's
    name. Checkpoints before the last have no model id: they appear in the curve and cannot be evaluated.
    """

    kept: int | None = 1

    def __init__(self, provider: Chat, sleep: Callable[[float], None] = pause) -> None:
        self._provider = provider
        self._sleep = sleep
        self._secrets: set[str] = set()

    def check(self, files: tuple[TrainingFile, ...]) -> None:
        """Refuse files that the service would refuse."""
        check_files(files, RULES)

    def check_job(self, job: TuningJob) -> None:
        """Refuse hyperparameters that the service does not have, naming the one that it has."""
        for name, instead in FOREIGN.items():
            if getattr(job, name) is not None:
                raise ConfigError(f"hyperparameter.{name}: mistral takes {instead} instead")
        read_integrations(job, self._secrets)

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name, or None."""
        with self._translate_errors():
            for page in range(1000):
                found = self._sdk.files.list(page=page, page_size=PAGE, search=name, purpose="fine-tune").data
                for file in found:
                    if file.filename == name:
                        return file.id
                if len(found) < PAGE:
                    break
        return None

    def upload(self, file: TrainingFile) -> str:
        """Send a file and return its id."""
        content = {"file_name": file.name, "content": file.content, "content_type": "application/jsonl"}
        with self._translate_errors():
            return self._sdk.files.upload(file=content, purpose="fine-tune").id  # type: ignore[arg-type]

    def find_job(self, key: str) -> str | None:
        """The id of the job with this key: the newest that did not fail, else the newest."""
        mark = key[: MARK["key_letters"]]
        jobs = [job for job in self._list_jobs() if str(job.get("suffix") or "").startswith(mark)]
        jobs.sort(key=lambda job: job.get("created_at") or 0, reverse=True)
        alive = [job for job in jobs if STATES.get(str(job.get("status"))) not in {"failed", "cancelled"}]
        return next((str(job["id"]) for job in alive + jobs), None)

    def create(self, job: TuningJob) -> str:
        """Start a job and return its id; before that a dry run, which checks the job and tells its price."""
        self.check_job(job)
        body = self.build_body(job)
        with suggest_local():
            log.info(
                "mistral: %s", describe_offer(self._request("POST", params={"dry_run": "true"}, json=body))
            )
            made = self._request("POST", json=body, need="id")
        return str(made["id"])

    def build_body(self, job: TuningJob) -> dict[str, Any]:
        """What the create call says; what is None is left to the service. There is no seed."""
        given = {
            "training_steps": job.training_steps,
            "learning_rate": job.learning_rate,
            "epochs": job.n_epochs,
        }
        body = {
            "model": self._provider.model,
            "job_type": "completion",
            "training_files": [{"file_id": file, "weight": weight} for file, weight in job.training],
            "validation_files": [job.validation] if job.validation else None,
            "hyperparameters": {name: value for name, value in given.items() if value is not None},
            "suffix": make_suffix(job.key, job.suffix, **MARK),
            "integrations": read_integrations(job, self._secrets) or None,
            "auto_start": True,
            **job.options,
        }
        return {name: value for name, value in body.items() if value is not None}

    def status(self, job_id: str) -> TuningStatus:
        """Where the job stands; a word that is not known counts as running and is passed on."""
        job = self._get_job(job_id)
        word = job["status"]
        if not isinstance(word, str):
            raise TypeError(f"status is {word!r}")
        state = STATES.get(word, "running")
        events = job.get("events") or []
        reason = describe_event(events[-1]) if state == "failed" and events else ""
        return TuningStatus(
            state=state,
            detail=reason or word,
            model=job.get("fine_tuned_model"),
            progress=read_progress(job),
            trained_tokens=job.get("trained_tokens"),
        )

    def events(self, job_id: str) -> list[str]:
        """The job's messages, oldest first."""
        found = self._get_job(job_id).get("events") or []
        return [
            describe_event(event) for event in sorted(found, key=lambda event: event.get("created_at") or 0)
        ]

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """The training curve, which at Mistral is the metrics of the checkpoints."""
        curves: dict[str, list[tuple[int, float]]] = {}
        for point in self._sort_points(self._get_job(job_id)):
            for name, value in read_metrics(point).items():
                curves.setdefault(name, []).append((point["step_number"], value))
        return curves

    def checkpoints(self, job_id: str, schedule: Schedule = UNKNOWN) -> list[Checkpoint]:
        """The finished model only: the last epoch, or under its number among the checkpoints."""
        job = self._get_job(job_id)
        points = self._sort_points(job)
        model = job.get("fine_tuned_model")
        if not model:
            return []
        if len(points) > 1:
            log.info("%s: of %d checkpoints only the last has a model id at Mistral", job_id, len(points))
        last = points[-1] if points else {}
        schedule = schedule.fill(None, (job.get("hyperparameters") or {}).get("epochs"))
        step, metrics = int(last.get("step_number", 0)), read_metrics(last)
        (finished,) = number_states([State(step, str(model), metrics)], str(model), schedule)
        return [finished if schedule.n_epochs else replace(finished, number=max(len(points), 1))]

    def serving(self, model: str) -> Provider:
        """The same account, answering as ``model``."""
        return replace(self._provider, model=model)

    def default_epochs(self, rows: int) -> int:
        """An estimate by OpenAI's rule: Mistral documents none of its own."""
        return estimate_epochs(rows)

    def _sort_points(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        return sorted(job.get("checkpoints") or [], key=lambda point: int(point["step_number"]))

    def _get_job(self, job_id: str) -> Any:
        return self._request("GET", f"/{job_id}", need="status")

    def _list_jobs(self) -> Iterator[dict[str, Any]]:
        for page in range(1000):
            params = {"page": page, "page_size": PAGE, "created_by_me": "true"}
            found = self._request("GET", params=params, need="data")["data"]
            if not all(isinstance(job, dict) and job.get("id") for job in found):
                raise RetryableError("mistral: the list of jobs cannot be read")
            yield from found
            if len(found) < PAGE:
                return

    def _request(self, method: str, path: str = "", need: str = "", **settings: Any) -> Any:
        """A JSON object. One without the field ``need`` counts as a fault of the service."""
        provider = self._provider
        url = f"{provider.endpoint()}/fine_tuning/jobs{path}"
        answer = self._client.request(method, url, timeout=provider.timeout_s, **settings)
        if not isinstance(answer, dict) or (need and not isinstance(answer.get(need), NEEDED[need])):
            raise RetryableError(f"mistral: {method} {url}: the answer cannot be read")
        return answer

    @cached_property
    def _sdk(self) -> Sdk:
        provider = self._provider
        server = provider.endpoint().removesuffix("/v1")
        return Sdk(api_key=provider.read_key(), server_url=server, timeout_ms=int(provider.timeout_s * 1000))

    @property
    def _client(self) -> Client:
        client, provider = self._sdk.sdk_configuration.client, self._provider
        assert isinstance(client, httpx2.Client)
        service = provider.service(*self._secrets)
        return Client(service, client, lambda: provider.build_headers(provider.read_key()), self._sleep)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        with translate_errors(self._provider.service()):
            yield


@contextmanager
def translate_errors(service: Service) -> Iterator[None]:
    """Raise every error of the SDK as a :class:`ProviderError` or a subclass."""
    try:
        yield
    except errors.ResponseValidationError as error:
        raise RetryableError(f"{service.name}: {service.redact(str(error))}") from error
    except errors.MistralError as error:
        if error.status_code < 300:
            raise RetryableError(f"{service.name}: the answer cannot be read") from error
        raise make_error(service, error.status_code, error.headers, decode(error.body.encode())) from None
    except (errors.NoResponseError, httpx2.HTTPError, json.JSONDecodeError) as error:
        raise RetryableError(
            f"{service.name}: {service.redact(str(error) or type(error).__name__)}"
        ) from error
