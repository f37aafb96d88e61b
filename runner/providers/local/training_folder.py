"""A training's folder: what the runner and the trainer, two processes, tell each other through files.

<models_dir>/files/<name>              training files, named by their content
<models_dir>/<job id>/job.json         what is trained (:class:`Recipe`), written once
                     /status.json      where it stands
                     /events.log       its messages, one a line
                     /curve.csv        per step: loss and accuracy, in the columns of OpenAI's result files
                     /trainer.log      what the trainer's libraries print
                     /trainer.lock     held by the trainer as long as it lives
                     /pid              the trainer's process
                     /state.pt         weights, optimizer and random state to resume from; gone at the end
                     /checkpoint-<n>/  after epoch n: checkpoint.json with adapter.gguf or model.gguf
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from runner.core.errors import ProviderError, describe_error
from runner.core.files import write_atomically
from runner.core.services import TuningState

_MODEL_ID = re.compile(r"(?P<job>local-\w+):(?P<number>[0-9]+)")
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


@dataclass(frozen=True)
class Recipe:
    """All that determines a local training. ``weights`` are the base model's, found by ``model``."""

    key: str
    model: str
    weights_sha256: str
    context_length: int
    training: tuple[tuple[str, float], ...]
    """Names of training files, each with its weight: how many times an epoch shows each of its rows."""
    validation: str | None = None
    n_epochs: int = 3
    training_steps: int | None = None
    """Ends the training after so many steps, whatever ``n_epochs`` says."""
    batch_size: int = 8
    learning_rate: float = 5e-4
    seed: int = 0
    method: Literal["lora", "full"] = "lora"
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0
    warmup_ratio: float = 0.05
    """Share of the steps in which the learning rate rises; then it falls linearly to zero."""


@dataclass(frozen=True)
class Progress:
    """What status.json holds."""

    state: TuningState = "queued"
    detail: str = ""
    step: int = 0
    steps: int = 0
    trained_tokens: int = 0


class TrainingFolder:
    """One training's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_recipe(self) -> Recipe:
        """What is to be trained."""
        data = json.loads((self.path / "job.json").read_text())
        return Recipe(**{**data, "training": tuple((name, weight) for name, weight in data["training"])})

    def prepare(self, recipe: Recipe) -> None:
        """Make the folder; it counts as made once its job.json is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "job.json", asdict(recipe))

    def holds(self, key: str) -> bool:
        """Whether this folder holds the training with this key."""
        return (self.path / "job.json").exists() and self.read_recipe().key == key

    def read_progress(self) -> Progress:
        """Where the training stands, as the trainer wrote last."""
        path = self.path / "status.json"
        try:
            return Progress(**json.loads(path.read_text())) if path.exists() else Progress()
        except (OSError, ValueError, TypeError) as error:
            raise ProviderError(f"local: {path} cannot be read ({describe_error(error)})") from error

    def write_progress(self, progress: Progress) -> None:
        """Write where the training stands."""
        write_json(self.path / "status.json", asdict(progress))

    def add_event(self, message: str) -> None:
        """Add a message to the events."""
        with (self.path / "events.log").open("a") as file:
            file.write(message.replace("\n", " ") + "\n")

    def read_events(self) -> list[str]:
        """The messages so far."""
        path = self.path / "events.log"
        return path.read_text().splitlines() if path.exists() else []

    def locate_file(self, name: str) -> Path:
        """The path of a training file, there or not."""
        return self.path.parent / "files" / name

    def locate_checkpoint(self, number: int) -> Path:
        """The folder of a checkpoint, there or not."""
        return self.path / f"checkpoint-{number}"

    def read_checkpoints(self) -> list[dict[str, Any]]:
        """The contents of the checkpoints' checkpoint.json, in order."""
        found = [_read_checkpoint(path) for path in self.path.glob("checkpoint-*/checkpoint.json")]
        return sorted(found, key=lambda item: int(item["number"]))

    def is_running(self) -> bool:
        """Whether a trainer is at work on this folder."""
        with self._lock(patience_s=0) as mine:
            return not mine

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Be this folder's only trainer; false if there is one. The death of a trainer frees its claim."""
        with self._lock(patience_s=2) as mine:  # somebody may hold it just to ask whether it is held
            if mine:
                (self.path / "pid").write_text(str(os.getpid()))
            yield mine

    @contextmanager
    def _lock(self, patience_s: float) -> Iterator[bool]:
        """Hold the trainer's lock if it is free. It is a file of its own, since taking it empties it."""
        lock = FileLock(self.path / "trainer.lock", timeout=patience_s)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        point = json.loads(path.read_text())
        return {"number": int(point["number"]), "step": int(point["step"]), "metrics": point["metrics"]}
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ProviderError(f"local: {path} cannot be read ({describe_error(error)})") from error


def make_job_id(key: str) -> str:
    """The id of the training with this key."""
    return f"local-{key[:12]}"


def make_model_id(job: str, number: int) -> str:
    """The name under which a checkpoint is served."""
    return f"{job}:{number}"


def find_checkpoint(model: str, models_dir: Path) -> Path | None:
    """The folder that a checkpoint's name means, there or not; None if it is not such a name."""
    found = _MODEL_ID.fullmatch(model)
    return (
        TrainingFolder(models_dir / found["job"]).locate_checkpoint(int(found["number"])) if found else None
    )


def list_model_ids(models_dir: Path) -> list[str]:
    """The names of all checkpoints there."""
    found = models_dir.glob("local-*/checkpoint-*/checkpoint.json")
    return [make_model_id(path.parts[-3], int(path.parts[-2].rpartition("-")[2])) for path in found]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with write_atomically(path) as file:
        file.write_text(json.dumps(content, indent=1))
