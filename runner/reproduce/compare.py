"""``runner reproduce``: a finished run made again from its record, and what differs.

Its config comes from the record, its prompts' texts from its folder, its answers from the ledger (or the
export); rows, chats, predictions, verdicts and scores are made anew by today's code and data.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runner.cli import screen
from runner.cli.progress import progress
from runner.cli.reproduce import shown
from runner.config import hydra_job
from runner.core.errors import ConfigError, RunnerError
from runner.core.provider import Provider
from runner.experiment import plan as build
from runner.records.record import Record, read_record
from runner.reproduce import checks, differences, past_run
from runner.reproduce.differences import ANSWERS, COMPARED, Check, Report
from runner.reproduce.past_run import Past
from runner.reproduce.rerun import absent, answered, replay

TAKEN = ("reproduce.", "ledger.url=")


def command(config: DictConfig) -> None:
    """Reproduce the given runs; raises :class:`RunnerError` naming what is not the same."""
    _refuse_others(hydra_job.get_overrides())
    if not config.reproduce.folders:
        raise ConfigError("runner reproduce FOLDER: name the folder of a run or a sweep, or an export")
    failed = [part for name in config.reproduce.folders for part in _reproduced(Path(name), config)]
    if failed:
        raise RunnerError("not reproduced: " + "; ".join(failed))


def _refuse_others(overrides: list[str]) -> None:
    for override in overrides:
        if not override.startswith(TAKEN):
            raise ConfigError(
                f"{override}: the config is that of the record; only reproduce.ask and ledger.url can change"
            )


def _reproduced(given: Path, config: DictConfig) -> list[str]:
    """Show what became of each run of a folder; return the names of what is not the same."""
    failed = []
    with unpacked(given) as top:
        export, folders = past_run.exported(top), past_run.runs(top)
        for folder in folders:
            name = str(given / folder.relative_to(top))
            if len(folders) > 1 and (status := read_record(folder).status) != "finished":
                screen.console.print(f"{name}: {status}, so there is nothing to reproduce")
                continue
            past = past_run.past(folder, export)
            report = compare(past, past_run.typed_ledger(config), ask=config.reproduce.ask)
            screen.console.print(shown(report, name, brief=len(folders) > 1))
            failed += [f"{name}: {', '.join(report.failed)}"] if report.failed else []
    return failed


@contextmanager
def unpacked(given: Path) -> Iterator[Path]:
    """The folder itself, or what is in a ``.zip``, for as long as the context is open."""
    if not zipfile.is_zipfile(given):
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(given) as file:
            file.extractall(folder)
        yield Path(folder)


def compare(past: Past, ledger_url: str | None = None, ask: bool = False) -> Report:
    """Make a run again and compare; nothing is asked of a model unless ``ask``.

    ``ledger_url`` null means the run's own ledger.
    """
    nodes = checks.nodes(past.record)
    providers = {who: checks.today(node) for who, node in nodes.items()}
    models = [checks.identity(who, past.record.identities[who], providers[who]) for who in nodes]
    if ask:
        _refuse_strangers(models)
    plan = build.plan(past.config({who: _node(past, who, nodes[who], providers[who], ask) for who in nodes}))
    now = Record(id=past.record.id, name=past.record.name)
    with past_run.ledger(past, ledger_url, make=ask) as ledger, progress() as (advance, _):
        found = [] if ask else absent(past, ledger)
        if not ask:
            ledger.add_answers(answered(past))
        frame, data = replay(plan, past, ledger, advance, now)
        found = found or absent(past, ledger)
    changes = differences.rows(past.frame, frame, list(past.record.inputs[0]["columns"]))
    scores = differences.scores(past.record.scores, now.scores)
    replayed = any(check.what == "chats" for check in data)  # then there is nothing to compare them with
    return Report(
        checks=[
            checks.config(past),
            *data,
            *checks.prompts(past),
            *models,
            *checks.training(past, plan, frame),
            *found,
            *differences.counted(changes, frame, ANSWERS if replayed else COMPARED),
            differences.measured(scores),
            *checks.versions(past.record),
        ],
        scores=scores,
        changes=changes,
    )


def _refuse_strangers(models: list[Check]) -> None:
    for model in models:
        if model.state != "same":
            raise ConfigError(f"reproduce.ask: the {model.what} is not the recorded one: {model.detail}")


def _node(past: Past, who: str, node: Any, provider: Provider | None, ask: bool) -> Mapping[str, Any]:
    """Who answers now: the provider itself where its answers are not kept, else the ledger in its name."""
    if ask or not getattr(provider, "stored", True):
        return dict(node)
    known = {"known_as": past.record.identities[who]}
    return {"_target_": "runner.reproduce.recorded.Recorded", **known}
