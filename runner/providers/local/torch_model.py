"""The model while it is trained: PyTorch, transformers and PEFT (the extra ``train``)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from runner.core.files import write_atomically
from runner.providers.local.gguf import BaseFile
from runner.providers.local.packing import Packed, Row, pack
from runner.providers.local.training_folder import Recipe

PACK = {"cpu": 512, "cuda": 8192}
"""Tokens per forward pass. More is faster on a GPU; on a CPU it only costs memory and masked attention."""


class TrainableModel:
    """A model with its trainable weights: those of LoRA matrices on all linear layers, or all there are.

    It starts from the weights that llama.cpp serves, dequantized. On a GPU passes are in bfloat16 (and
    so are frozen weights), on a CPU in float32.
    """

    def __init__(self, recipe: Recipe, weights: Path) -> None:
        torch.manual_seed(recipe.seed)
        transformers_logging.disable_progress_bar()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._recipe = recipe
        self._base = BaseFile(weights)
        small = self.device == "cuda" and recipe.method == "lora"
        with self._base.share():  # transformers opens it twice
            module = AutoModelForCausalLM.from_pretrained(
                weights.parent, gguf_file=weights.name, dtype=torch.bfloat16 if small else torch.float32
            )
        module.config.use_cache = False
        if recipe.method == "lora":
            module = peft.get_peft_model(module, _make_lora_config(recipe))
        self._module = module.to(self.device)
        self.parameters = {
            name: weight for name, weight in self._module.named_parameters() if weight.requires_grad
        }

    @property
    def size(self) -> int:
        """Number of trainable weights."""
        return sum(weight.numel() for weight in self.parameters.values())

    def add_gradient(self, batch: list[Row]) -> tuple[float, float]:
        """Add a batch's gradient; returns mean loss and accuracy over its answers' tokens."""
        self._module.train()
        answers = sum(len(row.answer) for row in batch)
        losses = hits = 0.0
        for packed in pack(batch, PACK[self.device]):
            loss, hit = self._measure(packed)
            (loss / answers).backward()
            losses, hits = losses + loss.item(), hits + hit
        return losses / answers, hits / answers

    def evaluate(self, rows: list[Row], batch_size: int) -> tuple[float, float]:
        """Mean loss and accuracy over the answers' tokens of rows; nothing is learned."""
        self._module.eval()
        batches = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
        with torch.no_grad():
            measured = [
                self._measure(packed) for batch in batches for packed in pack(batch, PACK[self.device])
            ]
        answers = sum(len(row.answer) for row in rows)
        return sum(loss.item() for loss, _ in measured) / answers, sum(hit for _, hit in measured) / answers

    def eval(self) -> Any:
        """The PyTorch model, without dropout."""
        return self._module.eval()

    def write(self, folder: Path) -> None:
        """Write what llama.cpp serves: ``adapter.gguf`` beside the base, or ``model.gguf`` instead of it."""
        if self._recipe.method == "lora":
            self._base.write_adapter(
                folder / "adapter.gguf", self._collect_lora_pairs(), self._recipe.lora_alpha
            )
        else:
            self._base.write_model(folder / "model.gguf", self._collect_weights())

    def state_dict(self) -> dict[str, Any]:
        """Trainable weights and random state, to go on from."""
        cuda = torch.cuda.get_rng_state() if self.device == "cuda" else None
        weights = {name: weight.detach().cpu() for name, weight in self.parameters.items()}
        return {"weights": weights, "random": torch.get_rng_state(), "cuda_random": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        with torch.no_grad():
            for name, weight in self.parameters.items():
                weight.copy_(state["weights"][name])
        torch.set_rng_state(state["random"])
        if self.device == "cuda" and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"])

    def _measure(self, packed: Packed) -> tuple[Any, float]:
        """Summed loss over the answers' tokens, and how many of them were the likeliest."""
        tokens, positions, segments, predict, targets = (
            torch.tensor(values, device=self.device)
            for values in (packed.tokens, packed.positions, packed.segments, packed.predict, packed.targets)
        )
        seen = (segments[None, :] == 0) | (segments[None, :] == segments[:, None])
        seen &= positions[None, :] <= positions[:, None]
        with self._use_precision():
            logits = self._module(
                input_ids=tokens[None],
                position_ids=positions[None],
                attention_mask=seen[None, None],
                logits_to_keep=predict,
            ).logits[0]
        loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
        return loss, (logits.argmax(-1) == targets).sum().item()

    def _use_precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else nullcontext()

    def _collect_lora_pairs(self) -> dict[str, tuple[Any, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name, weight in self.parameters.items():
            layer, kind = name.removeprefix("base_model.model.").split(".lora_")
            found.setdefault(layer, {})[kind[0]] = _to_numpy(weight)
        return {layer: (pair["A"], pair["B"]) for layer, pair in found.items()}

    def _collect_weights(self) -> Iterable[tuple[str, Any]]:
        return ((name, _to_numpy(weight)) for name, weight in self._module.named_parameters())


class Optimizer:
    """AdamW with a learning rate that rises over the first steps and then falls linearly to zero."""

    def __init__(self, model: TrainableModel, recipe: Recipe, steps: int) -> None:
        self._parameters = list(model.parameters.values())
        self._adamw = torch.optim.AdamW(
            self._parameters, lr=recipe.learning_rate, weight_decay=0.0, fused=True
        )
        self._rate = recipe.learning_rate
        self._steps = steps
        self._warmup = max(1, round(recipe.warmup_ratio * steps))

    def step(self, number: int) -> None:
        """Apply the gradient of step ``number`` (from 0), its norm cut to 1, and clear it."""
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._adamw.param_groups:
            group["lr"] = self._rate * self._scale_rate(number)
        self._adamw.step()
        self._adamw.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Its moments, to go on from."""
        state: dict[str, Any] = self._adamw.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._adamw.load_state_dict(state)

    def _scale_rate(self, number: int) -> float:
        rising = (number + 1) / self._warmup
        falling = (self._steps - number) / max(1, self._steps - self._warmup)
        return min(1.0, rising, falling)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a state."""
    with write_atomically(path) as file:
        torch.save(content, file)


def load(path: Path) -> dict[str, Any]:
    """Read a state; only tensors and plain values are accepted."""
    content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return content


def _make_lora_config(recipe: Recipe) -> Any:
    return peft.LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _to_numpy(weight: Any) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = weight.detach().float().cpu().numpy()
    return numbers
