"""``runner export``: write a run or a sweep as one folder or ``.zip`` that another machine can reproduce.

An export has the shape of the folder it was made from, so that whatever reads a run also reads an export.
:mod:`runner.reproduce.past_run` names the files that are added at the top. Nothing in an export depends on
this machine: it has no ledger and no credentials.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from runner.config.dataset_schema import DatasetConfig, FileConfig
from runner.config.schema import RunnerConfig
from runner.core.errors import DataError, count_of
from runner.core.files import require_inside
from runner.core.redact import remove_credentials
from runner.data import dataset, fetch, fingerprint
from runner.engine.call import KIND, read_completion
from runner.pipeline.template import SUFFIX
from runner.records import environment
from runner.records.folder import PREDICTIONS, RECORD, SCORED, SWEEP
from runner.records.record import dumps
from runner.reproduce import differences, past_run
from runner.reproduce.addresses import describe_ledger, guard_files, read_own
from runner.reproduce.answers import write_answer_file
from runner.reproduce.past_run import PastRun

log = logging.getLogger(__name__)

FORMAT = 1
TEXTS = (RECORD, ".hydra/config.yaml", ".hydra/overrides.yaml")


def export(
    source: Path, target: Path, ledger_url: str, named: Sequence[str] = (), with_data: bool = False
) -> str:
    """Write to ``target`` what is needed to reproduce the runs of ``source``. Returns a summary of it.

    The answers are read from the ledger at ``ledger_url``. Addresses of the records are used only if they
    are one's own, and ``named`` holds those that the command line names (:mod:`runner.reproduce.addresses`).
    Raises :class:`ConfigError` for a symbolic link that leads out of ``source``.
    """
    for folder in past_run.require_runs(source):
        _refuse_links(folder, source)
    pasts = list(past_run.read_past_runs(source, past_run.Export(source), log.warning))
    for past in pasts:
        _copy(past, target / past.folder.relative_to(source))
    if (source / SWEEP).exists():
        shutil.copyfile(require_inside(source / SWEEP, source), target / SWEEP)
    answers, lost = _read_answers(pasts, ledger_url)
    write_answer_file(target / past_run.ANSWERS, answers)
    owns = [read_own(past.record, named, ledger_url) for past in pasts]
    with guard_files(owns, source):
        data, changed = _describe_files(pasts)
        if changed and with_data:
            raise DataError(f"export.data: {changed}")
        if with_data:
            _copy_data(data, target)
    _write_manifest(target, data)
    how = "with content" if with_data else "by name and sha256 (export.data=true takes the content)"
    summary = [count_of(len(pasts), "run"), count_of(len(answers), "answer")]
    summary += [f"{count_of(len(data), 'data file')} {how}"]
    summary += [f"{count_of(lost, 'answer')} not in the ledger any more"] if lost else []
    ledgers = dict.fromkeys(describe_ledger(past.record, ledger_url) for past in pasts)
    notes = [f"data: {changed}" if changed else "", *ledgers]
    return "\n".join([", ".join(summary), *filter(None, notes)])


def _refuse_links(folder: Path, source: Path) -> None:
    """Raise :class:`ConfigError` if a file that an export takes is a link out of ``source``."""
    for name in (*TEXTS, PREDICTIONS, SCORED):
        if (folder / name).exists():
            require_inside(folder / name, source)
    for file in _list_prompts(folder):
        require_inside(file, source)


def _list_prompts(folder: Path) -> list[Path]:
    return sorted((folder / past_run.PROMPTS).glob(f"*{SUFFIX}"))


def _copy(past: PastRun, target: Path) -> None:
    (target / ".hydra").mkdir(parents=True)
    (target / past_run.PROMPTS).mkdir()
    for name in TEXTS:
        try:
            if (past.folder / name).exists():
                (target / name).write_text(remove_credentials((past.folder / name).read_text()))
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read (%s); it is left out", past.folder / name, error)
    for name in (PREDICTIONS, SCORED):
        if (past.folder / name).exists():
            shutil.copyfile(past.folder / name, target / name)
    for file in _list_prompts(past.folder):
        shutil.copyfile(file, target / past_run.PROMPTS / file.name)


def _read_answers(pasts: Iterable[PastRun], ledger_url: str) -> tuple[dict[str, Any], int]:
    """The ledger's entries for the answers of the runs, and how many of them it no longer has."""
    answers: dict[str, Any] = {}
    wanted: set[str] = set()
    for past in pasts:
        keys = set(_list_keys(past))
        with past_run.open_ledger(past, ledger_url) as ledger:
            found = ledger.get_many(KIND, keys - answers.keys())
            answers |= {key: value for key, value in found.items() if read_completion(value)}
        wanted |= keys
    return answers, len(wanted - answers.keys())


def _list_keys(past: PastRun) -> Iterator[str]:
    for prefix in ("", "judge_"):
        key, columns = f"{prefix}ledger_key", past.frame.columns
        if key in columns:
            signs = [name for name in (f"{prefix}completion", f"{prefix}finish_reason") if name in columns]
            # an answer that is all thought has no completion
            answered = pl.any_horizontal(pl.col(signs).is_not_null())
            for joined in past.frame.filter(answered)[key].drop_nulls():
                yield from joined.split("\n")


def _describe_files(pasts: Sequence[PastRun]) -> tuple[list[dict[str, Any]], str]:
    """The data files of the runs, and a sentence on what changed since then (empty if nothing did)."""
    configs = {dumps(past.record.config["dataset"]): past for past in pasts}
    changed = [reason for past in configs.values() if (reason := _describe_change(past))]
    files: dict[tuple[str | None, str | None], FileConfig] = {}
    for past in pasts:
        files |= {(file.path, file.url): file for file in _list_files(past.full_config)}
    entries = [_describe_file(file, known=not changed) for file in files.values()]
    return entries, "; ".join(changed)


def _describe_change(past: PastRun) -> str:
    """How the data differs from what a run read; empty if it does not."""
    data = past.full_config.dataset
    try:
        now = fingerprint.describe_rows(data, dataset.load_rows(data))
    except DataError as error:
        return f"the data is not here: {error}"
    checks = differences.compare_inputs(past.record, now)
    changed = [check.what for check in checks if check.fails]
    return f"changed since the run: {', '.join(changed)}" if changed else ""


def _list_files(config: RunnerConfig) -> Iterator[FileConfig]:
    """Every file that evaluated rows, training rows and joined columns come from."""
    own: list[DatasetConfig | None] = [config.dataset, config.finetune.dataset]
    for data in (*own, *config.finetune.extra.values()):
        if data is not None:
            yield from dataset.list_files(data)
            for step in data.steps:
                if step.join:
                    join = step.join
                    yield FileConfig(*(join.get(name) for name in ("path", "url", "sha256", "token_env")))


def _describe_file(file: FileConfig, known: bool) -> dict[str, Any]:
    """An entry of the manifest. A file that may have changed since the run is only named."""
    entry: dict[str, Any] = {"path": file.path, "url": file.url, "sha256": file.sha256, "file": None}
    if known:
        found = fetch.locate(file)
        entry |= {
            "sha256": fetch.hash_located(found),
            "bytes": sum(path.stat().st_size for path, _ in found),
        }
    return entry


def _copy_data(data: Sequence[dict[str, Any]], target: Path) -> None:
    """Copy the files of the entries, and note below which name: a pattern for files that a pattern found."""
    for entry in data:
        folder = f"data/{entry['sha256'][:12]}"
        file = FileConfig(entry["path"], entry["url"], entry["sha256"])
        for path, name in fetch.locate(file):
            place = target / folder / (name or path.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            entry["file"] = fetch.move(file, folder, path, name)


def _write_manifest(target: Path, data: Sequence[dict[str, Any]]) -> None:
    manifest = {
        "format": FORMAT,
        "made": time.time(),
        "environment": environment.find_versions(),
        "data": data,
    }
    (target / past_run.MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False))
