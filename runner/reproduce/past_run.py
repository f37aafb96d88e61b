"""A finished run, read back from its folder, and its config made whole again.

The record's config is the source, not ``.hydra/config.yaml``: its interpolations are resolved, its defaults
are those of its day, and it needs no option file. Beside it the folder keeps the prompts' texts, since a
config only names their files. An export is such a folder, with these files at its top:

export.json     the data files with their sha256, and where in the export they are if they are there
ledger.jsonl    the answers that the ledger had for its runs
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import polars as pl
from omegaconf import DictConfig, OmegaConf

from runner.config import hydra_job
from runner.config.schema import LedgerConfig, RunnerConfig
from runner.core.errors import ConfigError
from runner.experiment.plan import Plan
from runner.pipeline.prompt import SUFFIX, Prompt
from runner.records import record
from runner.records.record import PREDICTIONS, RECORD, Record, read_predictions, read_record
from runner.reproduce import answers as overlay

PROMPTS, MANIFEST, ANSWERS = "prompts", "export.json", "ledger.jsonl"
SQLITE = "sqlite:///"
TURNS = ("system", "user", "assistant")


def keep_prompts(plan: Plan, folder: Path) -> None:
    """Write the texts of a plan's prompts into a run's folder."""
    (folder / PROMPTS).mkdir(exist_ok=True)
    given = {"prompt": plan.responder.prompt, "judge.prompt": plan.judge.prompt if plan.judge else None}
    for key, prompt in given.items():
        for name, text in texts(prompt, key).items() if prompt else ():
            (folder / PROMPTS / f"{name}{SUFFIX}").write_bytes(text.encode())


def texts(prompt: Prompt, key: str) -> dict[str, str]:
    """The text of each turn of a prompt, by its config key."""
    turns = {f"{key}.{turn}": getattr(prompt, turn) for turn in TURNS}
    return {name: template.source for name, template in turns.items() if template}


@dataclass(frozen=True)
class Export:
    """What an exported folder brings along; nothing for a run's own folder."""

    folder: Path
    answers: Mapping[str, Any] = field(default_factory=dict)
    data: list[dict[str, Any]] = field(default_factory=list)
    """Data files: path and url as in the config, sha256, and file: where in the export, or None."""
    brought: bool = False
    """Whether it is an export at all."""


def exported(folder: Path) -> Export:
    """The export that a folder, or the folder of its sweep, is the top of."""
    for top in (folder, folder.parent):
        if (top / MANIFEST).exists():
            manifest = json.loads((top / MANIFEST).read_text(encoding="utf-8"))
            return Export(top, overlay.read(top / ANSWERS), manifest["data"], True)
    return Export(folder)


def runs(folder: Path) -> list[Path]:
    """The folder itself if it is a run's, or those of a sweep's points.

    Raises :class:`ConfigError` if it is neither.
    """
    found = record.find_runs(folder)
    if not found:
        raise ConfigError(f"{folder}: holds no {RECORD}, so it is no run; `runner list` shows what there is")
    return found


@dataclass(frozen=True)
class Past:
    """A run as its folder tells it."""

    folder: Path
    record: Record
    export: Export

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Its predictions."""
        return read_predictions(self.folder)

    @cached_property
    def texts(self) -> dict[str, str]:
        """The texts of its prompts, by config key."""
        files = sorted((self.folder / PROMPTS).glob(f"*{SUFFIX}"))
        return {file.name.removesuffix(SUFFIX): file.read_bytes().decode() for file in files}

    @cached_property
    def whole(self) -> RunnerConfig:
        """Its config as it was, but for the places of the data that its export brought along."""
        return cast(RunnerConfig, OmegaConf.to_object(typed(_with_data(self.record.config, self.export))))

    def config(self, providers: Mapping[str, Any]) -> DictConfig:
        """Its config, with the texts of its prompts, the data of its export, and these ``providers``.

        They are config nodes for ``model`` and ``judge``. Fine-tuning is left out: a provider stands for what
        came of it. So are the budget and the prices, which decide nothing that is compared.
        """
        config = _with_data(deepcopy(self.record.config), self.export)
        config |= {"provider": providers["model"], "finetune": {"name": "none"}, "checkpoint": None}
        config |= {"budget_usd": None, "prices": {}}
        if config["judge"]:
            config["judge"]["provider"] = providers["judge"]
        for name, text in self.texts.items():
            group, _, turn = name.rpartition(".")
            (config["judge"]["prompt"] if group == "judge.prompt" else config["prompt"])[turn] = text
        return typed(config)


def past(folder: Path, export: Export) -> Past:
    """Read a run. Raises :class:`ConfigError` for one that is not finished or too old to be reproduced."""
    record = read_record(folder)
    if record.status != "finished":
        raise ConfigError(f"{folder}: this run is {record.status}; only a finished one can be reproduced")
    if not record.identities or not (folder / PREDICTIONS).exists():
        raise ConfigError(f"{folder}: its record does not say who answered; run it again, it costs nothing")
    return Past(folder, record, export)


def typed_ledger(config: DictConfig) -> str | None:
    """The ledger that was named on the command line, if one was."""
    named = any(override.startswith("ledger.url=") for override in hydra_job.get_overrides())
    return str(config.ledger.url) if named else None


@contextmanager
def ledger(past: Past, url: str | None, make: bool = False) -> Iterator[overlay.Overlay]:
    """A run's ledger, or the one at ``url``, with the answers of its export laid over it.

    An export's ledger stayed on its machine; here it is the default one. A file that is not there is left
    so, unless to ``make`` it.
    """
    here = LedgerConfig().url if past.export.brought else past.record.config["ledger"]["url"]
    url = url or str(here)
    with tempfile.TemporaryDirectory() as folder:
        if not make and url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
            url = f"{SQLITE}{folder}/ledger.db"
        with closing(overlay.Overlay(url, past.export.answers)) as opened:
            yield opened


def typed(config: Mapping[str, Any]) -> DictConfig:
    """Plain, resolved data as a checked config; a key that today's schema does not have is an error."""
    merged = OmegaConf.merge(OmegaConf.structured(RunnerConfig), OmegaConf.create(_literal(dict(config))))
    assert isinstance(merged, DictConfig)
    return merged


def _literal(node: Any) -> Any:
    """Escape what would be read as an interpolation: in a resolved config ``${`` is only text.

    >>> _literal(["costs ${x}"])
    ['costs \\\\${x}']
    """
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    if isinstance(node, str):
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", node)
    return node


def _with_data(node: Any, export: Export) -> Any:
    """Point every data file that the export brought along to where it is now."""
    if isinstance(node, list):
        return [_with_data(item, export) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_data(value, export) for key, value in node.items()}
    for entry in export.data:
        asked = node.get("path"), node.get("url")
        if entry["file"] and any(asked) and asked == (entry["path"], entry["url"]):
            node |= {"path": str((export.folder / entry["file"]).absolute()), "url": None}
    return node
