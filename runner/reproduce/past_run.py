"""Read a finished run back from its folder, with its config as it was.

The config comes from the record and not from ``.hydra/config.yaml``: in the record the interpolations are
resolved and the defaults of its day are written out, so no option file is needed. The folder also keeps the
texts of the prompts, since a config only names their files. An export is such a folder with two more files
at its top:

export.json     the data files with their sha256, and their place in the export if it contains them
ledger.jsonl    the answers that the ledger had for its runs
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import getitem
from pathlib import Path
from typing import Any, cast

import polars as pl
from omegaconf import DictConfig, OmegaConf
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from runner.config.instantiate import escape
from runner.config.schema import RunnerConfig
from runner.core.errors import ConfigError, DataError, describe_error
from runner.core.files import require_inside, require_plain
from runner.experiment.plan import Plan
from runner.pipeline.prompt import Prompt
from runner.pipeline.template import SUFFIX
from runner.records.folder import PREDICTIONS, RECORD, find_runs
from runner.records.judges import find_judge_node, list_judges
from runner.records.record import Record, read_predictions, read_record
from runner.reproduce.answers import LedgerWithAnswers, read_answer_file

PROMPTS, MANIFEST, ANSWERS = "prompts", "export.json", "ledger.jsonl"
TURNS = ("system", "user", "assistant")
GROUPS = ("dataset", "prompt", "provider", "hyperparameter", "metric", "finetune")
"""The groups of a config that every run records."""
RETIRED = {
    "dataset.files.*.weight": 1.0,
    "finetune.dataset.files.*.weight": 1.0,
    "finetune.extra.*.files.*.weight": 1.0,
    "judge.reduce": "majority",
}
"""Config keys that older records hold and the schema no longer has, with their old defaults."""

log = logging.getLogger(__name__)


def write_prompts(plan: Plan, folder: Path) -> None:
    """Write the texts of a plan's prompts into the folder of a run."""
    (folder / PROMPTS).mkdir(exist_ok=True)
    judges = plan.panel.judges if plan.panel else ()
    given = {"prompt": plan.responder.prompt} | {each.prompt_key: each.responder.prompt for each in judges}
    for key, prompt in given.items():
        for name, text in get_turn_texts(prompt, key).items():
            (folder / PROMPTS / f"{name}{SUFFIX}").write_bytes(text.encode())


def get_turn_texts(prompt: Prompt, key: str) -> dict[str, str]:
    """The text of each turn of a prompt, by config key."""
    turns = {f"{key}.{turn}": getattr(prompt, turn) for turn in TURNS}
    return {name: template.source for name, template in turns.items() if template}


@dataclass(frozen=True)
class Export:
    """What an exported folder contains beside its runs; empty for a run's own folder."""

    folder: Path
    answers: Mapping[str, Any] = field(default_factory=dict)
    data: list[dict[str, Any]] = field(default_factory=list)
    """Data files: path and url as in the config, sha256, and file (its place in the export, or None)."""
    is_export: bool = False


def find_export(folder: Path) -> Export:
    """The export whose top is this folder or the folder of its sweep."""
    for top in (folder, folder.parent):
        if (top / MANIFEST).exists():
            return Export(top, read_answer_file(top / ANSWERS), _read_manifest(top / MANIFEST), True)
    return Export(folder)


def _read_manifest(file: Path) -> list[dict[str, Any]]:
    try:
        data = json.loads(require_plain(file).read_text(encoding="utf-8"))["data"]
        found = [{name: entry[name] for name in ("path", "url", "file")} | entry for entry in data]
        outside = [entry["file"] for entry in found if entry["file"] and _is_outside(Path(entry["file"]))]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(f"{file} cannot be read as that of an export ({describe_error(error)})") from error
    if outside:
        raise ConfigError(f"{file}: {outside[0]!r} is not a file of the export")
    return found


def _is_outside(file: Path) -> bool:
    return file.is_absolute() or ".." in file.parts


def require_runs(folder: Path) -> list[Path]:
    """The folder itself if it is a run's, else the folders of the points of its sweep.

    Raises :class:`ConfigError` if it is neither a run nor a sweep.
    """
    found = find_runs(folder)
    if not found:
        raise ConfigError(f"{folder}: holds no {RECORD}, so it is not a run; `runner list` shows all runs")
    return found


@dataclass(frozen=True)
class PastRun:
    """A finished run, as recorded in its folder."""

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
        try:
            return {
                file.name.removesuffix(SUFFIX): require_inside(file, self.export.folder).read_bytes().decode()
                for file in files
            }
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder / PROMPTS} cannot be read ({describe_error(error)})") from error

    @cached_property
    def full_config(self) -> RunnerConfig:
        """Its config as it was, with the data files of its export in their new places."""
        config = to_typed_config(_relocate_data(self.record.config, self.export))
        return cast(RunnerConfig, OmegaConf.to_object(config))

    def make_config(self, providers: Mapping[str, Any]) -> DictConfig:
        """Its config with the recorded prompt texts, the data files of its export, and other providers.

        ``providers`` are config nodes for the model and the judges (:func:`list_judges`). Fine-tuning is left
        out, since the model already is its result. The budget, the prices and the published figures are left
        out, since they change neither an answer nor a score.
        """
        config = _relocate_data(deepcopy(self.record.config), self.export)
        config |= {"provider": providers["model"], "finetune": {"name": "none"}, "checkpoint": None}
        config |= {"budget_usd": None, "prices": {}, "reference": {}}
        for who, node in providers.items():
            if who != "model":
                find_judge_node(config["judge"], who)["provider"] = node
        config["prompt"].setdefault("check_assistant", False)  # older runs were made without this rule
        for name, text in self.texts.items():
            *groups, turn = name.split(".")
            reduce(getitem, groups, config)[turn] = text
        return to_typed_config(config)


def read_past_run(folder: Path, export: Export) -> PastRun:
    """Read a run. Raises :class:`ConfigError` if it is not finished, or too old to be reproduced."""
    record = read_record(folder)
    record.config = drop_retired_keys(record.config)
    if record.status != "finished":
        raise ConfigError(f"{folder}: this run is {record.status}; only a finished one can be reproduced")
    if not record.identities or not (folder / PREDICTIONS).exists():
        raise ConfigError(f"{folder}: its record does not say who answered; run it again, it costs nothing")
    if gap := _find_gap(record):
        raise DataError(f"{folder / RECORD}: {gap} is missing or not as a run writes it")
    return PastRun(folder, record, export)


def _find_gap(record: Record) -> str:
    """The first part of a record that a rerun needs and that is not as a run writes it; else empty."""
    config, judge = record.config, record.config.get("judge")
    inputs, split = record.inputs, {"split", "digest", "rows", "source", "columns"}
    right = {f"config.{name}": isinstance(config.get(name), dict) for name in GROUPS}
    right |= {"config.checkpoint": "checkpoint" in config}
    right |= {
        "config.judge": not judge or (isinstance(judge, dict) and {"provider", "prompt"} <= judge.keys())
    }
    right |= {"inputs": bool(inputs) and all(split <= entry.keys() for entry in inputs)}
    right |= {"models": all({"model", "evaluated"} <= entry.keys() for entry in record.models)}
    right |= {f"identities.{who}": who in record.identities for who in ("model", *list_judges(config))}
    return next((part for part, is_right in right.items() if not is_right), "")


def read_past_runs(top: Path, export: Export, tell: Callable[[str], None]) -> Iterator[PastRun]:
    """The runs of a folder. Of a sweep, ``tell`` names those that cannot be reproduced; they are passed over.

    Raises :class:`ConfigError` or :class:`DataError` if there is no other.
    """
    faults: list[ConfigError | DataError] = []
    folders = require_runs(top)
    for folder in folders:
        try:
            past = read_past_run(folder, export)
            _ = past.frame, past.texts  # read now, so that a broken file is found here
        except (ConfigError, DataError) as error:
            faults.append(error)
            if len(folders) > 1:
                tell(f"{error}; it is passed over")
            continue
        yield past
    if len(faults) == len(folders):
        raise faults[0]


@contextmanager
def open_ledger(past: PastRun, url: str, make: bool = False) -> Iterator[LedgerWithAnswers]:
    """The ledger at ``url``, which also finds the answers of the run's export.

    A ledger file that does not exist is created only with ``make``.
    """
    with tempfile.TemporaryDirectory() as folder:
        if not make and _is_missing_file(url):
            url = f"sqlite:///{folder}/ledger.db"
        with closing(LedgerWithAnswers(url, past.export.answers)) as opened:
            yield opened


def _is_missing_file(url: str) -> bool:
    try:
        parts = make_url(url)
    except ArgumentError:  # the ledger says what is wrong
        return False
    is_file = parts.get_backend_name() == "sqlite" and parts.database not in (None, "", ":memory:")
    return is_file and not Path(str(parts.database)).exists()


def to_typed_config(config: Mapping[str, Any]) -> DictConfig:
    """Turn plain, resolved data into a typed config. A key that the schema does not have is an error."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RunnerConfig), OmegaConf.create(escape(dict(config))))
    except RecursionError as error:
        raise ConfigError("the recorded config has too many levels") from error
    assert isinstance(merged, DictConfig)
    return merged


def drop_retired_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded config without the keys that the schema no longer has.

    A warning names each key that had another value than its old default.
    """
    kept: dict[str, Any] = _drop_retired(dict(config), ())
    return kept


def _drop_retired(node: Any, path: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_drop_retired(item, (*path, str(place))) for place, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    return {
        key: _drop_retired(value, (*path, str(key)))
        for key, value in node.items()
        if not _is_retired((*path, str(key)), value)
    }


def _is_retired(path: tuple[str, ...], value: Any) -> bool:
    patterns = [pattern for pattern in RETIRED if _matches(path, pattern.split("."))]
    for pattern in patterns:
        if value != RETIRED[pattern]:
            log.warning("%s=%r has no effect any more and is left out", ".".join(path), value)
    return bool(patterns)


def _matches(path: tuple[str, ...], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(
        part in ("*", name) for part, name in zip(pattern, path, strict=True)
    )


def _relocate_data(node: Any, export: Export) -> Any:
    """Point the config's data files to their places in the export, where it contains them."""
    if isinstance(node, list):
        return [_relocate_data(item, export) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _relocate_data(value, export) for key, value in node.items()}
    for entry in export.data:
        asked = node.get("path"), node.get("url")
        if entry["file"] and any(asked) and asked == (entry["path"], entry["url"]):
            node |= {"path": str((export.folder / entry["file"]).absolute()), "url": None}
    return node
