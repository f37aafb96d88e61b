"""What Together's jobs take under names of their own, and what their metrics are called here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.core.errors import ConfigError, suggest
from runner.providers.tuning_files import LORA_OPTIONS, Option, is_number

PASSED: Mapping[str, Option] = {
    "lr_scheduler": (lambda value: isinstance(value, Mapping), "a mapping"),
    "max_grad_norm": (lambda value: is_number(value) and value >= 0, "a number of at least 0"),
    "max_seq_length": (lambda value: isinstance(value, int) and value >= 1, "a whole number of at least 1"),
    "n_evals": (lambda value: isinstance(value, int) and value >= 0, "a whole number of at least 0"),
    "packing": (lambda value: isinstance(value, bool), "true or false"),
    "warmup_ratio": LORA_OPTIONS["warmup_ratio"],
    "weight_decay": (lambda value: is_number(value) and value >= 0, "a number of at least 0"),
}
"""Options that the job takes under the same name."""
OPTIONS = {
    **LORA_OPTIONS,
    **PASSED,
    "lora_alpha": (
        lambda value: is_number(value) and value >= 1 and value == int(value),
        "a whole number of at least 1",
    ),
    "lora_trainable_modules": (lambda value: isinstance(value, str), "names with commas between them"),
}
WANDB = {"project": "project_name", "name": "name", "entity": "entity", "base_url": "base_url"}


def build_training_type(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """LoRA or all weights; None where the service chooses, which is LoRA.

    Raises :class:`ConfigError` for LoRA options with ``method=full``, or without a rank.
    """
    lora = {name: value for name, value in options.items() if name.startswith("lora_")}
    if options.get("method") == "full":
        for name in lora:
            raise ConfigError(f"finetune.options.{name}: method=full trains all weights and has no LoRA")
        return {"type": "Full"}
    if not lora:
        return None
    if "lora_rank" not in lora:
        raise ConfigError(f"finetune.options.{min(lora)}: together needs lora_rank beside it")
    rank, alpha = lora.pop("lora_rank"), int(lora.pop("lora_alpha"))
    return {"type": "Lora", "lora_r": rank, "lora_alpha": alpha, **lora}


def build_wandb(integrations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The one integration that there is, as fields of the job."""
    place = "finetune.integrations"
    if len(integrations) > 1 or any(item.get("type") != "wandb" for item in integrations):
        raise ConfigError(f"{place}: together has one, of the type wandb")
    fields = {}
    for name, value in integrations[0].items() if integrations else ():
        if name not in ("type", "api_key", *WANDB):
            raise ConfigError(f"{place}[0].{name}: no such key{suggest(name, WANDB)}")
        if name != "type":
            fields[f"wandb_{WANDB.get(name, name)}"] = value
    return fields


def read_curve(points: Iterable[Any]) -> dict[str, list[tuple[int, float]]]:
    """Curves by name: ``train/loss`` is ``train_loss``, ``eval/loss`` is ``valid_loss``."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        step = next((value for name, value in point.items() if name.endswith("global_step")), None)
        for name, value in point.items():
            if is_number(step) and is_number(value) and not name.endswith("global_step"):
                plain = name.replace("eval/", "valid_").replace("/", "_")
                curves.setdefault(plain, []).append((int(step), float(value)))
    return curves
