"""What all fine-tuning services share: checks, the search for a job by its key, the served model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from runner.core.errors import ConfigError
from runner.core.provider import Provider
from runner.core.retry import pause
from runner.core.services import TrainingFile, TuningJob, TuningState
from runner.providers.http.failures import Service
from runner.providers.remote import Remote
from runner.providers.tuning_files import Rules, check_files, estimate_epochs, read_integrations

OWN_FIELDS: Mapping[str, str] = {
    "model": "provider.model does",
    "training_file": "finetune.dataset does",
    "training_files": "finetune.dataset does",
    "validation_file": "split.validation does",
    "validation_files": "split.validation does",
    "method": "hyperparameter does",
    "hyperparameters": "hyperparameter does",
    "seed": "hyperparameter.seed does",
    "suffix": "finetune.suffix does, beside what finds the job again",
    "metadata": "it finds the job again",
    "integrations": "finetune.integrations does",
    "auto_start": "a job is waited for",
}
"""Fields of a job that ``finetune.options`` may not set where options are passed on, and why."""


class ServiceTuner:
    """A half of a :class:`runner.core.provider.Tuner`; a service adds its files, jobs and checkpoints.

    ``rules``      for its files
    ``foreign``    hyperparameters that it does not have, with what it has instead
    ``own_fields`` fields that an option may not set, and why
    ``states``     its words for where a job stands
    ``weighted``   whether it takes several files, each with a weight
    """

    kept: int | None = None
    rules: ClassVar[Rules]
    foreign: ClassVar[Mapping[str, str]] = {}
    own_fields: ClassVar[Mapping[str, str]] = {}
    states: ClassVar[Mapping[str, TuningState]]
    weighted: ClassVar[bool] = False

    def __init__(self, provider: Remote, sleep: Callable[[float], None] = pause) -> None:
        self._provider = provider
        self._sleep = sleep
        self._secrets: set[str] = set()

    def check(self, files: tuple[TrainingFile, ...]) -> None:
        """Refuse files that the service would refuse."""
        check_files(files, self.rules)

    def check_job(self, job: TuningJob) -> None:
        """Refuse hyperparameters that the service does not have, naming the one that it has."""
        for name, instead in self.foreign.items():
            if getattr(job, name) is not None:
                raise ConfigError(f"hyperparameter.{name}: {self._provider.name} takes {instead} instead")
        for name in job.options.keys() & self.own_fields.keys():
            raise ConfigError(f"finetune.options.{name}: cannot be set here; {self.own_fields[name]}")
        if not self.weighted and (len(job.training) != 1 or job.training[0][1] != 1):
            raise ConfigError(f"finetune.extra: {self._provider.name} takes one training file, not weighted")
        read_integrations(job, self._secrets)

    def find_job(self, key: str) -> str | None:
        """The id of the job with this key: the newest that did not fail, else the newest."""
        jobs = self._find_jobs(key)
        alive = [job for job, word in jobs if self.states.get(word) not in {"failed", "cancelled"}]
        return next(iter([*alive, *(job for job, _ in jobs)]), None)

    def serving(self, model: str) -> Provider:
        """The same account, answering as ``model``."""
        return replace(self._provider, model=model)

    def default_epochs(self, rows: int) -> int:
        """The epochs that the service chooses for so many rows, by OpenAI's rule."""
        return estimate_epochs(rows)

    def _find_jobs(self, key: str) -> Sequence[tuple[str, str]]:
        """Id and state of the jobs with this key, the newest first; the state is the service's own word."""
        raise NotImplementedError

    def _read_state(self, word: object) -> TuningState:
        """Where a job stands; a word that is not known counts as running."""
        if not isinstance(word, str):
            raise TypeError(f"status is {word!r}")
        return self.states.get(word, "running")

    def _service(self) -> Service:
        """This service in messages, which quote no key of an integration either."""
        return self._provider.service(*self._secrets)
