"""Fine-tuning on this machine, with the life of a hosted job: files, a job, events, checkpoints.

The trainer is a process of its own, on the files of :mod:`runner.providers.local.training_folder`. When the
runner that started it ends, the trainer saves its state and ends too; the next run that needs the job starts
it again where it stopped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from runner.core.errors import ConfigError, ProviderError
from runner.core.files import write_atomically
from runner.core.provider import Provider
from runner.core.services import UNKNOWN, Checkpoint, Schedule, TrainingFile, TuningJob, TuningStatus
from runner.providers.curves import parse_curves
from runner.providers.local.embedded import Embedded
from runner.providers.local.packing import check_length, encode
from runner.providers.local.training_folder import (
    Progress,
    Recipe,
    TrainingFolder,
    make_job_id,
    make_model_id,
)
from runner.providers.tuning_files import LORA_OPTIONS, Rules, check_files, check_options

EXTRA = ("torch", "transformers", "peft", "gguf")
LEARNING_RATES = {"lora": 5e-4, "full": 1e-4}
STARTS = 3  # a trainer that was killed so often at the same step will be killed again
RULES = Rules(source="provider=local", least_rows=1, most_bytes=2**32, most_tokens=2**32)
_starting = threading.Lock()  # points of a sweep may be threads of one process
_children: dict[Path, subprocess.Popen[bytes]] = {}


class LocalTuner:
    """Trainings under the provider's ``models_dir``. See :class:`runner.core.provider.Tuner`."""

    kept: int | None = None

    def __init__(self, provider: Embedded) -> None:
        self._provider = provider
        self._models = Path(provider.models_dir).absolute()
        self._born = time.time()
        self._starts: dict[str, list[int]] = {}

    def check(self, files: tuple[TrainingFile, ...]) -> None:
        """Refuse what training would: a missing library, a malformed row, one longer than the context."""
        _check_extra()
        check_files(files, RULES)
        for file in files:
            self._check_lengths(file)

    def check_job(self, job: TuningJob) -> None:
        """Refuse a missing extra and options that the trainer does not have."""
        _check_extra()
        self._make_recipe(job)

    def find_file(self, name: str) -> str | None:
        """The name itself, if a file of this name is kept."""
        return name if (self._models / "files" / name).exists() else None

    def upload(self, file: TrainingFile) -> str:
        """Keep a file under its name."""
        path = self._models / "files" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            partial.write_bytes(file.content)
        return file.name

    def find_job(self, key: str) -> str | None:
        """The id of the training with this key, finished or not."""
        return make_job_id(key) if self._open_folder(make_job_id(key)).holds(key) else None

    def create(self, job: TuningJob) -> str:
        """Start a training and return its id."""
        _check_extra()
        folder = self._open_folder(make_job_id(job.key))
        folder.prepare(self._make_recipe(job))
        self._start(folder)
        return folder.path.name

    def status(self, job_id: str) -> TuningStatus:
        """Where the training stands. If its trainer is gone it is started again from its saved state.

        So is a training that failed before this object was made: the reason may be gone.
        """
        folder = self._find_folder(job_id)
        alive = self._is_alive(folder)
        progress = folder.read_progress()
        if progress.state == "succeeded":
            return _make_status(progress, _find_last_model(folder))
        if not alive and progress.state == "failed" and self._is_new(folder):
            return _make_status(progress)
        if not alive and self._starts.get(job_id, []).count(progress.step) >= STARTS:
            return TuningStatus("failed", _explain_giving_up(folder, progress.step))
        if not alive:
            self._start(folder)
        return _make_status(replace(progress, state="running"))

    def events(self, job_id: str) -> list[str]:
        """The training's messages, oldest first."""
        return self._find_folder(job_id).read_events()

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """Loss and accuracy per step."""
        path = self._find_folder(job_id).path / "curve.csv"
        return parse_curves(path.read_bytes()) if path.exists() else {}

    def checkpoints(self, job_id: str, schedule: Schedule = UNKNOWN) -> list[Checkpoint]:
        """The states after each epoch, and after the last step, by the trainer's own count."""
        return [
            Checkpoint(item["number"], item["step"], make_model_id(job_id, item["number"]), item["metrics"])
            for item in self._find_folder(job_id).read_checkpoints()
        ]

    def serving(self, model: str) -> Provider:
        """The same settings with a checkpoint: its adapter on the base, or its own weights (``full``)."""
        return replace(self._provider, model=model)

    def default_epochs(self, rows: int) -> int:
        """The trainer's default, whatever the number of rows."""
        return Recipe.n_epochs

    def _make_recipe(self, job: TuningJob) -> Recipe:
        if job.integrations:
            raise ConfigError("finetune.integrations: provider=local has none; the run itself is tracked")
        settings = self._provider.find_settings()
        options = check_options(job.options, LORA_OPTIONS)
        method = options.get("method", "lora")
        if settings.adapter:
            raise ConfigError(
                f"provider.model={self._provider.model}: is a LoRA checkpoint, train its base model"
            )
        given = {
            name: value
            for name in ("n_epochs", "training_steps", "batch_size", "seed")
            if (value := getattr(job, name)) is not None
        }
        return Recipe(
            key=job.key,
            model=str(settings.weights) if self._provider.is_tuned() else self._provider.model,
            weights_sha256=settings.weights_sha256,
            context_length=self._provider.context_length,
            training=job.training,
            validation=job.validation,
            learning_rate=(job.learning_rate or LEARNING_RATES[method])
            * (job.learning_rate_multiplier or 1.0),
            **given,
            **options,
        )

    def _check_lengths(self, file: TrainingFile) -> None:
        limit = self._provider.context_length
        for number, line in enumerate(file.content.splitlines(), start=1):
            if len(line) <= limit:  # a token is a byte at least
                continue
            row = encode(json.loads(line)["messages"], self._provider.load())
            check_length(row, f"{file.name}, line {number}", limit)

    def _start(self, folder: TrainingFolder) -> None:
        """Start the trainer; if another process does so too, only one of the two goes on."""
        _check_extra()
        with _starting:
            if not self._is_alive(folder):
                self._spawn(folder)

    def _spawn(self, folder: TrainingFolder) -> None:
        self._starts.setdefault(folder.path.name, []).append(folder.read_progress().step)
        command = [sys.executable, "-m", "runner.providers.local.trainer", str(folder.path), str(os.getpid())]
        with (folder.path / "trainer.log").open("ab") as log:
            _children[folder.path] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is not for the trainer: it saves its state when we are gone
                env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            )

    def _is_alive(self, folder: TrainingFolder) -> bool:
        child = _children.get(folder.path)
        return (child is not None and child.poll() is None) or folder.is_running()

    def _is_new(self, folder: TrainingFolder) -> bool:
        return (folder.path / "status.json").stat().st_mtime >= self._born

    def _open_folder(self, job_id: str) -> TrainingFolder:
        return TrainingFolder(self._models / job_id)

    def _find_folder(self, job_id: str) -> TrainingFolder:
        folder = self._open_folder(job_id)
        if not (folder.path / "job.json").exists():
            error = ProviderError(f"local: there is no training {job_id} in {self._provider.models_dir}")
            error.status = 404
            raise error
        return folder


def _find_last_model(folder: TrainingFolder) -> str | None:
    checkpoints = folder.read_checkpoints()
    return make_model_id(folder.path.name, checkpoints[-1]["number"]) if checkpoints else None


def _make_status(progress: Progress, model: str | None = None) -> TuningStatus:
    share = progress.step / progress.steps if progress.steps else None
    return TuningStatus(progress.state, progress.detail, model, share, progress.trained_tokens)


def _explain_giving_up(folder: TrainingFolder, step: int) -> str:
    child = _children.get(folder.path)
    code = child.returncode if child else None
    ended = f"signal {-code}" if code and code < 0 else f"exit code {code}"
    log = folder.path / "trainer.log"
    return (
        f"the trainer ended {STARTS} times after step {step} "
        f"({ended}; 9 often means too little memory); see {log}"
    )


def _check_extra() -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"provider=local: training needs {', '.join(missing)}; install the build of torch that suits "
            "this machine (https://pytorch.org/get-started), then the extra: llm-experiment-runner[train]"
        )
