"""The smaller commands, as functions of the composed config."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import tracking
from runner.cli import screen
from runner.cli.run import read_tracking
from runner.config import validate
from runner.config.instantiate import instantiate
from runner.config.trust import refuse_foreign_classes
from runner.core.errors import DataError, count_of
from runner.core.provider import Deployer
from runner.engine.ledger import Ledger
from runner.experiment.plan import make_provider
from runner.pipeline.finetune import delete_leftovers
from runner.records.folder import RECORD
from runner.records.record import read_records

OUTPUTS = Path("outputs")


def list_runs(_: DictConfig) -> None:
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
    logged = tracking.sync_records(OUTPUTS, read_tracking(config))
    screen.console.print(f"{count_of(len(logged), 'run')} logged")


def cleanup(config: DictConfig) -> None:
    """Delete the deployments that killed runs left at this provider; each costs money by the hour."""
    tuner = make_provider(OmegaConf.to_container(config.provider, resolve=True)).tuner()
    if not isinstance(tuner, Deployer):
        screen.console.print("this provider has no deployments")
        return
    with closing(Ledger(config.ledger.url)) as ledger:
        names = delete_leftovers(tuner, ledger)
    screen.console.print("\n".join(f"deleted {name}" for name in names) or "nothing was left over")
