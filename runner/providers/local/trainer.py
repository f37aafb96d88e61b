"""The trainer, a process of its own: ``python -m runner.providers.local.trainer <folder> [<parent's pid>]``.

It does what the folder's job.json says (see :mod:`runner.providers.local.training_folder`). Killed at any
moment, it goes on from the last epoch's end when it is started again. When its parent is gone it saves its
state and ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.core.errors import DataError, RunnerError
from runner.providers.local import weights as local_weights
from runner.providers.local.llama import Engine, Settings
from runner.providers.local.packing import Batches, Row, read
from runner.providers.local.training_folder import COLUMNS, Job, Progress, Recipe, model_id, write_json

if TYPE_CHECKING:
    from runner.providers.local.torch_model import Optimizer, Trainee


def main(arguments: list[str]) -> int:
    """Train what the folder asks for, unless another process is at it."""
    job = Job(Path(arguments[0]))
    with job.claimed() as mine:
        if mine and job.progress().state not in ("succeeded", "cancelled"):
            try:
                train(job, _stop_signal(int(arguments[1]) if len(arguments) > 1 else None))
            except Exception as error:  # whatever it is, it is told to the runner
                traceback.print_exc()
                reason = str(error) if isinstance(error, RunnerError) else f"{type(error).__name__}: {error}"
                job.say(f"failed: {reason}")
                job.report(replace(job.progress(), state="failed", detail=reason))
                return 1
    return 0


def train(job: Job, stopped: Callable[[], bool]) -> None:
    """Train to the end, or until ``stopped``."""
    recipe = job.recipe()
    job.report(replace(job.progress(), state="running", detail="loading"))
    weights = _weights(recipe)
    batches, validation = _data(job, recipe, weights)

    from runner.providers.local.torch_model import Optimizer, Trainee  # takes seconds: the claim comes first

    trainee = Trainee(recipe, weights)
    steps = recipe.training_steps or recipe.n_epochs * batches.per_epoch
    training = Training(job, recipe, batches, validation, trainee, Optimizer(trainee, recipe, steps), steps)
    training.resume()
    training.run(stopped)


@dataclass
class Training:
    """A training under way; ``step`` steps are done and written to the curve."""

    job: Job
    recipe: Recipe
    batches: Batches
    validation: list[Row]
    trainee: Trainee
    optimizer: Optimizer
    steps: int
    step: int = 0
    tokens: int = 0

    def resume(self) -> None:
        """Go on from the saved state, if there is one."""
        from runner.providers.local.torch_model import load

        path = self.job.folder / "state.pt"
        if path.exists():
            state = load(path)
            self.step, self.tokens = state["step"], state["tokens"]
            self.trainee.restore(state["trainee"])
            self.optimizer.restore(state["optimizer"])
        self._cut_curve()
        what = f"{self.recipe.method}, {self.trainee.size:,} weights, on {self.trainee.device}"
        self.job.say(
            f"{'resumed after' if self.step else 'started,'} {self.step} of {self.steps} steps ({what})"
        )

    def run(self, stopped: Callable[[], bool]) -> None:
        """Do the remaining steps, with a checkpoint after each epoch and after the last step."""
        while self.step < self.steps:
            epoch, first = divmod(self.step, self.batches.per_epoch)
            for batch in self.batches.epoch(epoch)[first : first + self.steps - self.step]:
                if stopped():
                    self._save()
                    self.job.say(f"stopped after {self.step} steps, to be resumed")
                    return
                self._learn(batch, epoch)
        self.job.report(self._progress("succeeded", ""))
        (self.job.folder / "state.pt").unlink(missing_ok=True)

    def _learn(self, batch: list[Row], epoch: int) -> None:
        started = time.perf_counter()
        loss, accuracy = self.trainee.learn(batch)
        self.optimizer.step(self.step)
        self.step += 1
        self.tokens += sum(map(len, batch))
        ended = self.step % self.batches.per_epoch == 0 or self.step == self.steps
        valid = (
            self.trainee.test(self.validation, self.recipe.batch_size) if ended and self.validation else None
        )
        self._write_curve(loss, accuracy, valid)
        if ended:
            self._checkpoint(epoch + 1, valid)
        seconds = time.perf_counter() - started
        detail = f"epoch {epoch + 1}, step {self.step} of {self.steps}, loss {loss:.3f}, {seconds:.1f} s"
        self.job.report(self._progress("running", detail))

    def _checkpoint(self, number: int, valid: tuple[float, float] | None) -> None:
        """Write a checkpoint, then the state after it; a crash between the two only repeats an epoch."""
        folder = self.job.checkpoint(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.trainee.write(folder)
        metrics = {"train_loss": self._mean_loss(number)}
        if valid:
            metrics |= {"valid_loss": valid[0], "valid_mean_token_accuracy": valid[1]}
        write_json(folder / "checkpoint.json", {"number": number, "step": self.step, "metrics": metrics})
        self._save()
        values = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        self.job.say(f"epoch {number}: {values}, checkpoint {model_id(self.job.folder.name, number)}")

    def _save(self) -> None:
        from runner.providers.local.torch_model import save

        state = {"trainee": self.trainee.state(), "optimizer": self.optimizer.state()}
        save(self.job.folder / "state.pt", {"step": self.step, "tokens": self.tokens, **state})

    def _progress(self, state: Any, detail: str) -> Progress:
        return Progress(state, detail, self.step, self.steps, self.tokens)

    def _write_curve(self, loss: float, accuracy: float, valid: tuple[float, float] | None) -> None:
        values = (loss, accuracy, *(valid or ()))
        cells = [str(self.step), *(f"{value:.6f}" for value in values), "", ""][: len(COLUMNS)]
        with self._curve.open("a") as file:
            file.write(",".join(cells) + "\n")

    def _cut_curve(self) -> None:
        """Forget the steps that a killed trainer did after the state that is resumed."""
        lines = self._curve.read_text().splitlines() if self._curve.exists() else [",".join(COLUMNS)]
        self._curve.write_text("\n".join(lines[: 1 + self.step]) + "\n")

    def _mean_loss(self, epoch: int) -> float:
        lines = self._curve.read_text().splitlines()[1 + (epoch - 1) * self.batches.per_epoch :]
        return sum(float(line.split(",")[1]) for line in lines) / len(lines)

    @property
    def _curve(self) -> Path:
        return self.job.folder / "curve.csv"


def _weights(recipe: Recipe) -> Path:
    """The base model's file; another one than the job was made for is refused."""
    path = local_weights.locate(recipe.model)
    if local_weights.sha256(path) != recipe.weights_sha256:
        raise DataError(f"provider.model={recipe.model}: {path} has changed since the training began")
    return path


def _data(job: Job, recipe: Recipe, weights: Path) -> tuple[Batches, list[Row]]:
    """Training batches and validation rows, as the tokens that inference would see."""
    engine = Engine(Settings(weights, recipe.weights_sha256, context_length=256))

    def rows(name: str) -> list[Row]:
        return read(job.file(name).read_bytes(), name, engine, recipe.context_length)

    files = [(rows(name), weight) for name, weight in recipe.training]
    validation = rows(recipe.validation) if recipe.validation else []
    tokens = sum(len(row) for found, _ in files for row in found)
    answers = sum(len(row.answer) for found, _ in files for row in found)
    count = sum(len(found) for found, _ in files)
    job.say(f"{count} training rows, {tokens:,} tokens, {answers:,} of them learned")
    return Batches(files, recipe.batch_size, recipe.seed), validation


def _stop_signal(parent: int | None) -> Callable[[], bool]:
    """True once the process is asked to end, or its parent is gone."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    return lambda: bool(asked) or (parent is not None and os.getppid() != parent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
