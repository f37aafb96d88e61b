"""Fine-tuning at Together (https://docs.together.ai/reference/post-fine-tunes); no SDK is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from runner.core.errors import ProviderError, RetryableError
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
from runner.providers.calls import check_items
from runner.providers.completion import read_count, read_mapping, read_text
from runner.providers.http.failures import suggest_local
from runner.providers.together.account import Account
from runner.providers.together.files import TogetherFiles
from runner.providers.together.hosting import Deployment, Hosting
from runner.providers.together.job_fields import OPTIONS, PASSED, build_training_type, build_wandb, read_curve
from runner.providers.tuning import ServiceTuner
from runner.providers.tuning_files import (
    Rules,
    State,
    check_options,
    has_mark,
    is_number,
    make_suffix,
    need_text,
    number_states,
    read_integrations,
)

log = logging.getLogger(__name__)

RULES = Rules(
    source="https://docs.together.ai/docs/fine-tuning/data-preparation",
    least_rows=1,
    most_bytes=100 * 10**9,
    most_tokens=65_536,
    alternating=True,
)
STATES: Mapping[str, TuningState] = {
    "pending": "queued",
    "queued": "queued",
    "running": "running",
    "compressing": "running",
    "uploading": "running",
    "cancel_requested": "running",
    "cancelled": "cancelled",
    "error": "failed",
    "completed": "succeeded",
}
FOREIGN = {
    "learning_rate_multiplier": "hyperparameter.learning_rate",
    "training_steps": "hyperparameter.n_epochs",
}
PRICED = (
    *("training_file", "validation_file", "model", "n_epochs", "n_evals", "training_method"),
    "training_type",
)
MARK = {"key_letters": 16, "letters": 40}
JOBS = "/fine-tunes"


class TogetherTuner(ServiceTuner, TogetherFiles):
    """A tuner and a :class:`runner.core.provider.Deployer`.

    Jobs carry no metadata, so the key goes into the suffix, which is also part of the model's name. There is
    one checkpoint per epoch; a validation file is read once per epoch, which is billed.
    """

    rules = RULES
    states = STATES
    foreign = FOREIGN
    purpose = "fine-tune"
    checked = True
    _provider: Account

    def __init__(self, provider: Account, sleep: Callable[[float], None] = pause) -> None:
        super().__init__(provider, sleep)
        terms = Deployment.from_config(provider.deployment)
        terms.check()
        self.minutes, self.hardware = terms.minutes, terms.hardware
        self._hosting = Hosting(terms, provider, sleep)

    def check_job(self, job: TuningJob) -> None:
        """Refuse what the service does not have."""
        build_training_type(check_options(job.options, OPTIONS))
        super().check_job(job)
        self._read_wandb(job)

    def upload(self, file: TrainingFile) -> str:
        """Send a file; returns its id when the service has read it."""
        return self._send(file.name, file.content)

    def create(self, job: TuningJob) -> str:
        """Start a job and return its id."""
        self.check_job(job)
        with suggest_local():
            made = self._ask("POST", JOBS, {"id": str}, json=self.build_body(job))
        return need_text(made["id"])

    def build_body(self, job: TuningJob) -> dict[str, Any]:
        """What the create call says; what is None is left to the service. The loss is that of the answers."""
        options = check_options(job.options, OPTIONS)
        body = {
            "model": self._provider.model,
            "training_file": job.training[0][0],
            "validation_file": job.validation,
            "n_epochs": job.n_epochs,
            "n_checkpoints": job.n_epochs,
            "n_evals": self.count_evals(job.options, job.n_epochs or 1) if job.validation else None,
            "batch_size": job.batch_size,
            "learning_rate": job.learning_rate,
            "random_seed": job.seed,
            "suffix": make_suffix(job.key, job.suffix, **MARK),
            "training_method": {"method": "sft", "train_on_inputs": False},
            "training_type": build_training_type(options),
            **self._read_wandb(job),
            **{name: options[name] for name in PASSED if name in options and name != "n_evals"},
        }
        return {name: value for name, value in body.items() if value is not None}

    def count_evals(self, options: Mapping[str, Any], epochs: int) -> int:
        """How often the validation file is read, and billed: by default once per epoch."""
        return int(options.get("n_evals", epochs))

    def default_epochs(self, rows: int) -> int:
        """One epoch, whatever the rows."""
        return 1

    def status(self, job_id: str) -> TuningStatus:
        """Where the job stands; a word that is not known counts as running and is passed on."""
        job = self._get_job(job_id)
        state = self._read_state(job["status"])
        epochs, done = read_count(job.get("n_epochs")), read_count(job.get("epochs_completed"))
        return TuningStatus(
            state=state,
            detail=(self._find_reason(job_id) if state == "failed" else "") or job["status"],
            model=job.get("model_output_name") if state == "succeeded" else None,
            progress=None if not epochs or done is None else min(done / epochs, 1.0),
            trained_tokens=read_count(job.get("token_count")) or None,
        )

    def events(self, job_id: str) -> list[str]:
        """The job's messages, oldest first."""
        return [read_text(event.get("message")) for event in self._list_events(job_id)]

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """The training curve: ``train/loss`` is ``train_loss``, ``eval/loss`` is ``valid_loss``."""
        return read_curve(self._ask("GET", f"{JOBS}/{job_id}/metrics", {"metrics": list})["metrics"])

    def checkpoints(self, job_id: str, schedule: Schedule = UNKNOWN) -> list[Checkpoint]:
        """The states of all epochs, the finished model last; an earlier one is ``model:step``."""
        job = self._get_job(job_id)
        model = read_text(job.get("model_output_name"))
        if not model or self._read_state(job["status"]) != "succeeded":
            return []
        listed = self._ask("GET", f"{JOBS}/{job_id}/checkpoints", {"data": list})["data"]
        names: dict[int, str] = {}  # a step may be there twice, merged and as an adapter
        for point in listed:
            finished = "final" in str(point["checkpoint_type"]).lower()
            step = int(point["step"])
            names[step] = model if finished else names.get(step, f"{model}:{step}")
        # rows are packed, so that only the epochs tell the length of one
        epochs = Schedule(n_epochs=schedule.n_epochs).fill(None, job.get("n_epochs"))
        return number_states([State(step, name) for step, name in names.items()], model, epochs)

    def deploy(self, model: str, name: str) -> None:
        """Host a model on an endpoint; returns when it has started. No error if it is there already."""
        self._hosting.create(model, name)

    def check_hosting(self) -> None:
        """Raise :class:`ConfigError` for a hardware that the service does not list."""
        self._hosting.check_hardware()

    def undeploy(self, name: str) -> None:
        """Delete an endpoint; no error if it is gone."""
        self._hosting.delete(name)

    def list_deployments(self) -> dict[str, str]:
        """The models of all endpoints of the account, by their display names."""
        return self._hosting.list_all()

    def bills_hosting(self) -> bool:
        """An endpoint is billed by the minute, idle or not; what is asked of it costs nothing more."""
        return True

    def hosted(self, model: str, name: str) -> Provider:
        """The same account, answering as this endpoint, live; its identity is that of the hosted model."""
        provider, hardware = self._provider, self.hardware
        served = replace(provider, model=name, stands_for=model, priced_as=hardware, batch=False)
        served.addresses = self._hosting.addresses
        return served

    def quote(self, job: TuningJob) -> float | None:
        """The dollars that a job would cost; None where the service does not tell.

        Raises :class:`ProviderError` if the account's limit does not allow the job.
        """
        body = self.build_body(job)
        asked = {name: body[name] for name in PRICED if name in body}
        try:
            offer = self._ask("POST", f"{JOBS}/estimate-price", {}, json=asked)
        except RetryableError:
            raise
        except ProviderError as error:
            log.info("together: the price of this job is not told: %s", error)
            return None
        price, limit = offer.get("estimated_total_price"), offer.get("user_limit")
        if offer.get("allowed_to_proceed") is False:
            raise ProviderError(
                f"together: this job would cost ${price}, and the account's limit is ${limit}"
            )
        log.info("together: this job costs about $%s", price)
        return float(price) if is_number(price) and price >= 0 else None

    def _find_jobs(self, key: str) -> list[tuple[str, str]]:
        mark = key[: MARK["key_letters"]]
        found = check_items(self._ask("GET", JOBS, {"data": list})["data"], self._name)
        jobs = [job for job in found if has_mark(mark, job.get("suffix"), job.get("model_output_name"))]
        jobs.sort(key=lambda job: str(job.get("created_at")), reverse=True)
        return [(job["id"], str(job.get("status"))) for job in jobs]

    def _get_job(self, job_id: str) -> dict[str, Any]:
        return self._ask("GET", f"{JOBS}/{job_id}", {"id": str, "status": str})

    def _list_events(self, job_id: str) -> list[Mapping[str, Any]]:
        events = self._ask("GET", f"{JOBS}/{job_id}/events", {"data": list})["data"]
        return sorted(map(read_mapping, events), key=lambda event: str(event.get("created_at")))

    def _find_reason(self, job_id: str) -> str:
        """What the last event says that is an error."""
        errors = [event for event in self._list_events(job_id) if "error" in str(event.get("level"))]
        return read_text(errors[-1].get("message")) if errors else ""

    def _read_wandb(self, job: TuningJob) -> dict[str, Any]:
        return build_wandb(read_integrations(job, self._secrets))
