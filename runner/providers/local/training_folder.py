"""A training's folder: what the runner and the trainer, two processes, tell each other through files.

<models_dir>/files/<name>              training files, named by their content
<models_dir>/<job id>/job.json         what is trained (:class:`Recipe`), written once
                     /status.json      where it stands
                     /events.log       its messages, one a line
                     /curve.csv        per step: loss and accuracy, in the columns of OpenAI's result files
                     /trainer.log      what the trainer's libraries print
                     /pid              locked by the trainer as long as it lives
                     /state.pt         weights, optimizer and random state to resume from; gone at the end
                     /checkpoint-<n>/  after epoch n: checkpoint.json with adapter.gguf or model.gguf
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

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


class Job:
    """One training's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def recipe(self) -> Recipe:
        """What is to be trained."""
        data = json.loads((self.folder / "job.json").read_text())
        return Recipe(**{**data, "training": tuple((name, weight) for name, weight in data["training"])})

    def prepare(self, recipe: Recipe) -> None:
        """Make the folder; it counts as made once its job.json is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "job.json", asdict(recipe))

    def exists(self, key: str) -> bool:
        """Whether this folder holds the training with this key."""
        return (self.folder / "job.json").exists() and self.recipe().key == key

    def progress(self) -> Progress:
        """Where the training stands, as it last said."""
        path = self.folder / "status.json"
        return Progress(**json.loads(path.read_text())) if path.exists() else Progress()

    def report(self, progress: Progress) -> None:
        """Say where the training stands."""
        write_json(self.folder / "status.json", asdict(progress))

    def say(self, message: str) -> None:
        """Add a message to the events."""
        with (self.folder / "events.log").open("a") as file:
            file.write(message.replace("\n", " ") + "\n")

    def events(self) -> list[str]:
        """The messages so far."""
        path = self.folder / "events.log"
        return path.read_text().splitlines() if path.exists() else []

    def file(self, name: str) -> Path:
        """A training file."""
        return self.folder.parent / "files" / name

    def checkpoint(self, number: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / f"checkpoint-{number}"

    def checkpoints(self) -> list[dict[str, Any]]:
        """The contents of the checkpoints' checkpoint.json, in order."""
        found = [json.loads(path.read_text()) for path in self.folder.glob("checkpoint-*/checkpoint.json")]
        return sorted(found, key=lambda item: int(item["number"]))

    def running(self) -> bool:
        """Whether a trainer is at work on this folder."""
        with _locked(self.folder / "pid", patience_s=0) as mine:
            return not mine

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Be this folder's only trainer; false if there is one. The kernel frees the claim of the dead."""
        with _locked(self.folder / "pid", patience_s=2) as mine:
            if mine:
                (self.folder / "pid").write_text(str(os.getpid()))
            yield mine


def job_id(key: str) -> str:
    """The id of the training with this key."""
    return f"local-{key[:12]}"


def model_id(job: str, number: int) -> str:
    """The name under which a checkpoint is served."""
    return f"{job}:{number}"


def checkpoint_of(model: str, models_dir: Path) -> Path | None:
    """The folder that a checkpoint's name means, there or not; None if it is not such a name."""
    found = _MODEL_ID.fullmatch(model)
    return Job(models_dir / found["job"]).checkpoint(int(found["number"])) if found else None


def model_ids(models_dir: Path) -> list[str]:
    """The names of all checkpoints there."""
    found = models_dir.glob("local-*/checkpoint-*/checkpoint.json")
    return [model_id(path.parts[-3], int(path.parts[-2].rpartition("-")[2])) for path in found]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with write_atomically(path) as file:
        file.write_text(json.dumps(content, indent=1))


@contextmanager
def _locked(path: Path, patience_s: float) -> Iterator[bool]:
    """Hold an exclusive lock on a file, or not if another process does."""
    with path.open("a") as file:
        mine = _lock(file.fileno())
        deadline = time.monotonic() + patience_s
        while not mine and time.monotonic() < deadline:  # somebody may just be asking whether it is held
            time.sleep(0.05)
            mine = _lock(file.fileno())
        yield mine


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
