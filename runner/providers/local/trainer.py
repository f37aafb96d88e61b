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
from runner.providers.local.llama import LoadedModel, Settings
from runner.providers.local.packing import Batches, Row, read_rows
from runner.providers.local.training_folder import (
    COLUMNS,
    Progress,
    Recipe,
    TrainingFolder,
    make_model_id,
    write_json,
)

if TYPE_CHECKING:
    from runner.providers.local.torch_model import Optimizer, TrainableModel


def main(arguments: list[str]) -> int:
    """Train what the folder asks for, unless another process is at it."""
    folder = TrainingFolder(Path(arguments[0]))
    with folder.claim() as mine:
        if mine and folder.read_progress().state not in ("succeeded", "cancelled"):
            try:
                train(folder, _watch_for_stop(int(arguments[1]) if len(arguments) > 1 else None))
            except Exception as error:  # the runner is told of any
                traceback.print_exc()
                reason = str(error) if isinstance(error, RunnerError) else f"{type(error).__name__}: {error}"
                folder.add_event(f"failed: {reason}")
                folder.write_progress(replace(folder.read_progress(), state="failed", detail=reason))
                return 1
    return 0


def train(folder: TrainingFolder, stopped: Callable[[], bool]) -> None:
    """Train to the end, or until ``stopped``."""
    recipe = folder.read_recipe()
    folder.write_progress(replace(folder.read_progress(), state="running", detail="loading"))
    weights = _find_weights(recipe)
    batches, validation = _read_data(folder, recipe, weights)

    from runner.providers.local.torch_model import (  # takes seconds, and the claim comes first
        Optimizer,
        TrainableModel,
    )

    model = TrainableModel(recipe, weights)
    steps = recipe.training_steps or recipe.n_epochs * batches.per_epoch
    training = Training(folder, recipe, batches, validation, model, Optimizer(model, recipe, steps), steps)
    training.resume()
    training.run(stopped)


@dataclass
class Training:
    """A training under way; ``step`` steps are done and written to the curve."""

    folder: TrainingFolder
    recipe: Recipe
    batches: Batches
    validation: list[Row]
    model: TrainableModel
    optimizer: Optimizer
    steps: int
    step: int = 0
    tokens: int = 0

    def resume(self) -> None:
        """Go on from the saved state, if there is one."""
        from runner.providers.local.torch_model import load

        path = self.folder.path / "state.pt"
        if path.exists():
            state = load(path)
            self.step, self.tokens = state["step"], state["tokens"]
            self.model.load_state_dict(state["trainee"])
            self.optimizer.load_state_dict(state["optimizer"])
        self._cut_curve()
        what = f"{self.recipe.method}, {self.model.size:,} weights, on {self.model.device}"
        self.folder.add_event(
            f"{'resumed after' if self.step else 'started,'} {self.step} of {self.steps} steps ({what})"
        )

    def run(self, stopped: Callable[[], bool]) -> None:
        """Do the remaining steps, with a checkpoint after each epoch and after the last step."""
        while self.step < self.steps:
            epoch, first = divmod(self.step, self.batches.per_epoch)
            for batch in self.batches.draw_epoch(epoch)[first : first + self.steps - self.step]:
                if stopped():
                    self._save_state()
                    self.folder.add_event(f"stopped after {self.step} steps, to be resumed")
                    return
                self._do_step(batch, epoch)
        self.folder.write_progress(self._make_progress("succeeded", ""))
        (self.folder.path / "state.pt").unlink(missing_ok=True)

    def _do_step(self, batch: list[Row], epoch: int) -> None:
        started = time.perf_counter()
        loss, accuracy = self.model.add_gradient(batch)
        self.optimizer.step(self.step)
        self.step += 1
        self.tokens += sum(map(len, batch))
        ended = self.step % self.batches.per_epoch == 0 or self.step == self.steps
        valid = self._validate() if ended and self.validation else None
        self._write_curve(loss, accuracy, valid)
        if ended:
            self._write_checkpoint(epoch + 1, valid)
        seconds = time.perf_counter() - started
        detail = f"epoch {epoch + 1}, step {self.step} of {self.steps}, loss {loss:.3f}, {seconds:.1f} s"
        self.folder.write_progress(self._make_progress("running", detail))

    def _validate(self) -> tuple[float, float]:
        return self.model.evaluate(self.validation, self.recipe.batch_size)

    def _write_checkpoint(self, number: int, valid: tuple[float, float] | None) -> None:
        """Write a checkpoint, then the state after it; a crash between the two only repeats an epoch."""
        target = self.folder.locate_checkpoint(number)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        self.model.write(target)
        metrics = {"train_loss": self._average_loss(number)}
        if valid:
            metrics |= {"valid_loss": valid[0], "valid_mean_token_accuracy": valid[1]}
        write_json(target / "checkpoint.json", {"number": number, "step": self.step, "metrics": metrics})
        self._save_state()
        values = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        model = make_model_id(self.folder.path.name, number)
        self.folder.add_event(f"epoch {number}: {values}, checkpoint {model}")

    def _save_state(self) -> None:
        from runner.providers.local.torch_model import save

        state = {"trainee": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        save(self.folder.path / "state.pt", {"step": self.step, "tokens": self.tokens, **state})

    def _make_progress(self, state: Any, detail: str) -> Progress:
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

    def _average_loss(self, epoch: int) -> float:
        lines = self._curve.read_text().splitlines()[1 + (epoch - 1) * self.batches.per_epoch :]
        return sum(float(line.split(",")[1]) for line in lines) / len(lines)

    @property
    def _curve(self) -> Path:
        return self.folder.path / "curve.csv"


def _find_weights(recipe: Recipe) -> Path:
    """The base model's file. Raises :class:`DataError` if it is not the one that the job was made for."""
    path = local_weights.locate(recipe.model)
    if local_weights.hash_file(path) != recipe.weights_sha256:
        raise DataError(f"provider.model={recipe.model}: {path} has changed since the training began")
    return path


def _read_data(folder: TrainingFolder, recipe: Recipe, weights: Path) -> tuple[Batches, list[Row]]:
    """Training batches and validation rows, as the tokens that inference would see."""
    tokenizer = LoadedModel(Settings(weights, recipe.weights_sha256, context_length=256, gpu_layers=0))

    def rows(name: str) -> list[Row]:
        return read_rows(folder.locate_file(name).read_bytes(), name, tokenizer, recipe.context_length)

    files = [(rows(name), weight) for name, weight in recipe.training]
    validation = rows(recipe.validation) if recipe.validation else []
    tokens = sum(len(row) for found, _ in files for row in found)
    answers = sum(len(row.answer) for found, _ in files for row in found)
    count = sum(len(found) for found, _ in files)
    folder.add_event(f"{count} training rows, {tokens:,} tokens, {answers:,} of them learned")
    return Batches(files, recipe.batch_size, recipe.seed), validation


def _watch_for_stop(parent: int | None) -> Callable[[], bool]:
    """True once the process is asked to end, or its parent is gone."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    return lambda: bool(asked) or (parent is not None and os.getppid() != parent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
