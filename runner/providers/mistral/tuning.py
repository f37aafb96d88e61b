"""Fine-tuning at Mistral, over ``/v1/fine_tuning/jobs``: the SDK has no methods for it since 2.5.2.

Files go through the SDK, jobs do not.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import httpx2
from mistralai.client import Mistral as Sdk
from mistralai.client import errors

from runner.core.errors import RetryableError
from runner.core.services import (
    UNKNOWN,
    Checkpoint,
    Schedule,
    TrainingFile,
    TuningJob,
    TuningState,
    TuningStatus,
)
from runner.providers.calls import ServiceCalls, check_items
from runner.providers.http.certificates import make_ssl_context
from runner.providers.http.failures import Service, decode, make_error, suggest_local
from runner.providers.mistral.job_fields import describe_event, describe_offer, read_metrics, read_progress
from runner.providers.tuning import OWN_FIELDS, ServiceTuner
from runner.providers.tuning_files import Rules, State, make_suffix, number_states, read_integrations

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
JOBS = "/fine_tuning/jobs"
MARK = {"key_letters": 12, "letters": 18}


class MistralTuner(ServiceTuner, ServiceCalls):
    """Files and jobs of one account. See :class:`runner.core.provider.Tuner`.

    Mistral's jobs carry no metadata, so the key goes into the suffix, which is also part of the model's
    name. Checkpoints before the last have no model id: they appear in the curve and cannot be evaluated.
    """

    kept: int | None = 1
    rules = RULES
    states = STATES
    foreign = FOREIGN
    own_fields = OWN_FIELDS
    weighted = True

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

    def _find_jobs(self, key: str) -> list[tuple[str, str]]:
        mark = key[: MARK["key_letters"]]
        jobs = [job for job in self._list_jobs() if str(job.get("suffix") or "").startswith(mark)]
        jobs.sort(key=lambda job: job.get("created_at") or 0, reverse=True)
        return [(str(job["id"]), str(job.get("status"))) for job in jobs]

    def create(self, job: TuningJob) -> str:
        """Start a job and return its id; before that a dry run, which checks the job and tells its price."""
        self.check_job(job)
        body = self.build_body(job)
        with suggest_local():
            offer = self._ask("POST", JOBS, {}, params={"dry_run": "true"}, json=body)
            log.info("mistral: %s", describe_offer(offer))
            return str(self._ask("POST", JOBS, {"id": str}, json=body)["id"])

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
        state = self._read_state(word)
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

    def _sort_points(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        return sorted(job.get("checkpoints") or [], key=lambda point: int(point["step_number"]))

    def _get_job(self, job_id: str) -> dict[str, Any]:
        return self._ask("GET", f"{JOBS}/{job_id}", {"status": str})

    def _list_jobs(self) -> Iterator[dict[str, Any]]:
        for page in range(1000):
            params = {"page": page, "page_size": PAGE, "created_by_me": "true"}
            found = check_items(self._ask("GET", JOBS, {"data": list}, params=params)["data"], self._name)
            yield from found
            if len(found) < PAGE:
                return

    @cached_property
    def _sdk(self) -> Sdk:
        provider = self._provider
        server = provider.endpoint().removesuffix("/v1")
        trusted: dict[str, Any] = {"verify": make_ssl_context(), "follow_redirects": True}
        client = httpx2.Client(**trusted)
        weakref.finalize(self, client.close)
        return Sdk(
            api_key=provider.read_key(),
            server_url=server,
            client=client,
            async_client=httpx2.AsyncClient(**trusted),  # never used
            timeout_ms=int(provider.timeout_s * 1000),
        )

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
