"""The smaller commands, as functions of the composed config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import tracking
from runner.cli import screen
from runner.cli.sweep import read_tracking
from runner.cli.sweep_end import close_killed
from runner.config import validate
from runner.config.instantiate import instantiate
from runner.config.trust import refuse_foreign_classes
from runner.core.errors import ConfigError, DataError, RunnerError, count_of, suggest
from runner.core.paths import OUTPUTS
from runner.core.provider import Deployer
from runner.engine.batch_jobs import BATCH
from runner.engine.ledger import Ledger
from runner.engine.ledger.claims import describe_claim, say_age
from runner.experiment.plan import make_deployer
from runner.pipeline import hosting
from runner.pipeline.jobs import JOB
from runner.records.folder import RECORD
from runner.records.record import read_records


def list_runs(config: DictConfig) -> None:
    """Show the runs and sweeps that are recorded under outputs/, newest last; warn of unreadable records."""
    found = sorted(OUTPUTS.glob(f"runs/*/{RECORD}")) + sorted(OUTPUTS.glob(f"sweeps/*/*/{RECORD}"))
    records = read_records(file.parent for file in found)
    if found and not records:
        raise DataError(f"{OUTPUTS}: none of its {count_of(len(found), 'record')} can be read")
    screen.show_runs([(folder, record) for folder, record in records.items() if not record.mistake])


def write_report(config: DictConfig) -> None:
    """Write a page and tables about runs and sweeps into outputs/reports."""
    # imports plotting and statistics, which no other command needs
    from runner.report import write
    from runner.report.points import find_folders

    validate.check("report.rows", config.report.rows, validate.COUNT)
    folders = find_folders(list(config.report.folders), OUTPUTS)
    target = OUTPUTS / "reports" / (config.report.name or write.name_report(folders))
    build = instantiate if config.report.trust else instantiate_own
    for file in write.write_report(folders, target, build, config.report.rows):
        screen.console.print(str(file))


def instantiate_own(node: Any, key: str) -> Any:
    """Make a metric that a record names, if it is this package's own; else raise :class:`ConfigError`."""
    refuse_foreign_classes({key: node}, "report.trust=true")
    return instantiate(node, key)


def sync(config: DictConfig) -> None:
    """Log recorded runs that MLflow lacks, for example because its server was down."""
    close_killed(OUTPUTS, read_tracking(config))
    logged = tracking.sync_records(OUTPUTS, read_tracking(config))
    screen.console.print(f"{count_of(len(logged), 'run')} logged")


def cleanup(config: DictConfig) -> None:
    """List deployments and unfinished purchases; delete the deployments that are named, or left over.

    Raises :class:`RunnerError` if one could not be deleted, and a ``ConfigError`` for an unknown name.
    """
    names = list(config.cleanup.names)
    tuner = make_deployer(OmegaConf.to_container(config.provider, resolve=True))
    with closing(Ledger(config.ledger.url)) as ledger:
        known = dict(ledger.items(hosting.DEPLOYMENT))
        strangers = _list_strangers(tuner, known)
        for name in names:
            if tuner is None or name not in {**known, **strangers}:
                raise ConfigError(f"cleanup.names: {_describe_unknown(name, tuner, {**known, **strangers})}")
        done = _delete(names, tuner, known, ledger)
        lines = [_describe_deployment(name, entry, done, tuner, ledger) for name, entry in known.items()]
        lines += [
            f"{'deleted' if done.get(name, '') is None else 'not of this ledger'}  {name}  {model}"
            for name, model in strangers.items()
        ]
        lines += _describe_unfinished(ledger)
    for line in lines or ["nothing was left over"]:
        screen.console.print(line)
    stay = [name for name, reason in done.items() if reason]
    if stay:
        raise RunnerError(f"{count_of(len(stay), 'deployment')} could not be deleted: {', '.join(stay)}")


def _list_strangers(tuner: Deployer | None, known: Mapping[str, Any]) -> dict[str, str]:
    """Return the models of deployments at the service that look like ours and are not in the ledger."""
    list_all = getattr(tuner, "list_deployments", None)  # only some services can
    found = list_all() if list_all else {}
    return {
        name: model for name, model in found.items() if name.startswith(hosting.PREFIX) and name not in known
    }


def _describe_unknown(name: str, tuner: Deployer | None, known: Iterable[str]) -> str:
    if tuner is None:
        return f"to delete {name}, name its provider, as in provider=azure"
    return f"no deployment {name!r}{suggest(name, known)}"


def _delete(
    names: Sequence[str], tuner: Deployer | None, known: Mapping[str, Any], ledger: Ledger
) -> dict[str, str | None]:
    """Delete the named deployments, or else those left over; return by name why not, None if done."""
    if tuner is None:
        return {}
    if not names:
        return hosting.delete_leftovers(tuner, ledger)
    place = hosting.find_place(tuner)
    done: dict[str, str | None] = {}
    for name in names:
        entry = known.get(name, {})
        if entry.get("place", place) != place:
            done[name] = "it is at another account"
        elif entry and not hosting.claim(name, entry, ledger):
            done[name] = "it was changed at this moment; try again"
        else:
            done[name] = hosting.delete(name, tuner, ledger)
    return done


def _describe_deployment(
    name: str,
    entry: Mapping[str, Any],
    done: Mapping[str, str | None],
    tuner: Deployer | None,
    ledger: Ledger,
) -> str:
    claims = [*entry.get("users", {"": entry}).values(), *filter(None, [entry.get("deleting")])]
    owners = "; ".join(describe_claim(ledger, claim) for claim in claims) or "no user"
    if name in done:
        state = "deleted" if done[name] is None else f"not deleted ({done[name]})"
    elif not hosting.is_left_over(ledger, entry):
        state = "in use"
    elif tuner is None:
        service = entry.get("service")  # earlier versions did not note it
        state = f"left over (delete it with {f'provider={service}' if service else 'its provider'})"
    else:
        state = "left over"
    age = say_age(ledger.now() - float(entry.get("time") or ledger.now()))
    price = hosting.describe_price(entry.get("usd_per_hour"))
    return f"{state}  {name}  {entry.get('model')}  {age} old, {price}; {owners}"


def _describe_unfinished(ledger: Ledger) -> list[str]:
    """Return a line for each job and batch that somebody was about to create."""
    return [
        f"unfinished  {what} {key[:12]}  {describe_claim(ledger, entry)}; the next run with it takes it over"
        for kind, what in ((JOB, "training job"), (BATCH, "batch"))
        for key, entry in ledger.items(kind)
        if isinstance(entry, dict) and "owner" in entry and "id" not in entry and not entry.get("closed")
    ]
