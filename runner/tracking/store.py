"""The connection to MLflow: process settings, reachability, store and experiment."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.config.schema import TrackingConfig
from runner.core.errors import ConfigError, suggest
from runner.core.files import hold_lock
from runner.core.redact import remove_credentials
from runner.records.alive import is_alive
from runner.records.folder import RECORD, SWEEP, list_points

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_S = 3.0
EXPERIMENT = "runner"
"""The experiment of what has no name; the default of earlier versions."""
SOURCE = "runner"
"""What MLflow shows as the source of our runs."""
FOLDER = "folder"
"""The tag with the folder of a run's record, as seen from the folder in which it was started."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # by default MLflow tries a dead server for about four minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
NOISY = {"mlflow.store.db.utils": logging.CRITICAL, "urllib3.connectionpool": logging.ERROR}
"""Loggers that print stack traces and retries of errors that are raised, too."""
SERVERS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
KINDS = (*SERVERS, "sqlite", "databricks")


@dataclass(frozen=True)
class Store:
    """An open connection to one experiment."""

    client: MlflowClient
    uri: str
    experiment_id: str

    @property
    def label(self) -> str:
        """The address without credentials."""
        return remove_credentials(self.uri)


def describe_store(config: TrackingConfig) -> str:
    """The address in use without credentials, for messages."""
    return remove_credentials(_get_configured_uri(config) or "mlflow.db")


def describe_error(error: Exception) -> str:
    """Type and first line of an error; of a request that failed only the cause.

    >>> pool = "HTTPConnectionPool(host='h', port=1): "
    >>> describe_error(OSError(f"{pool}Failed (Caused by ResponseError('too many 500 error responses'))"))
    'too many 500 error responses'
    """
    line = str(error).strip().partition("\n")[0]
    cause = re.search(r"Caused by \w+\(.*?([^:'\"]+)['\"]\)", line)
    return cause[1].strip() if cause else f"{type(error).__name__}: {line}"


_open: dict[tuple[str, str], Store] = {}


def import_mlflow() -> None:
    """Import MLflow with this project's settings; the user's environment takes precedence."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    for name, level in NOISY.items():
        logger = logging.getLogger(name)
        logger.setLevel(logger.level or level)
    import mlflow  # noqa: F401


def is_server(config: TrackingConfig) -> bool:
    """Whether the store is on another machine, or might be."""
    return urlsplit(_get_configured_uri(config) or "").hostname is not None


def check(config: TrackingConfig) -> None:
    """Raise :class:`ConfigError` for an address in which MLflow cannot keep runs."""
    uri = _get_configured_uri(config)
    try:
        urlsplit(uri or "").port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise ConfigError(f"tracking.uri: {remove_credentials(str(uri))!r}: {error}") from error
    kind = urlsplit(uri or "sqlite:").scheme.split("+")[0]
    if kind in {"", "file"} and uri != "databricks":
        raise ConfigError(
            f"tracking.uri: {uri!r} is a folder, in which MLflow no longer keeps runs; "
            "use sqlite:///mlflow.db or the address of a server"
        )
    if kind and kind not in KINDS:
        public = remove_credentials(str(uri))
        raise ConfigError(f"tracking.uri: {public!r} has an unknown kind{suggest(kind, KINDS)}")


def _get_configured_uri(config: TrackingConfig) -> str | None:
    return config.uri or os.environ.get("MLFLOW_TRACKING_URI") or None


def get_uri(config: TrackingConfig) -> str:
    """The tracking URI in use."""
    import_mlflow()
    import mlflow

    return _get_configured_uri(config) or mlflow.get_tracking_uri()


def connect(config: TrackingConfig) -> Store:
    """Open the store and create what is missing; each store is opened once in a process.

    Raises :class:`ConfigError` for a wrong setting, or the error for which the store cannot be used.
    """
    check(config)
    uri = get_uri(config)
    name = config.experiment_name or EXPERIMENT
    known = (uri, name)
    _probe(uri)
    if known not in _open:
        if uri.startswith("http"):
            _open[known] = _open_store(uri, name)
        else:
            with hold_lock("open", uri):  # another thread may have been first
                _open[known] = _open.get(known) or _open_database(uri, name)
    return _open[known]


def _open_database(uri: str, name: str) -> Store:
    """Open a database, and try again if it fails, since two processes may run its migrations at once.

    The lock around this stops other processes of this program, but not ``mlflow ui`` and other machines.
    """
    create_file(uri)
    for pause in (1, 4):
        try:
            return _open_store(uri, name)
        except ConfigError:
            raise
        except Exception:
            time.sleep(pause)
    return _open_store(uri, name)


def create_file(uri: str) -> None:
    """Create a new SQLite store under another name, then rename it.

    MLflow's migrations take seconds, and a store whose creation was interrupted can never be opened again.
    """
    from mlflow import MlflowClient
    from sqlalchemy import make_url

    url = make_url(uri)
    file = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not file.name or file.exists() or os.name == "nt":
        return
    partial = file.with_name(f"{file.name}.partial")
    for left_over in file.parent.glob(f"{partial.name}*"):
        left_over.unlink()
    with _write_at_the_end(partial):
        MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(file)


@contextmanager
def _write_at_the_end(file: Path) -> Iterator[None]:
    """Within the block a new database does not wait for the disk; then all of it is written there.

    MLflow's migrations wait hundreds of times, for most of the seconds that they need.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def configure(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            (_, _, opened), *_ = connection.execute("PRAGMA database_list").fetchall()
            if opened and Path(opened) == file.resolve():
                connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", configure)
    try:
        yield
    finally:
        event.remove(Engine, "connect", configure)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _open_store(uri: str, name: str) -> Store:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        raise ConfigError(
            f"tracking.experiment_name: {name!r} was deleted in MLflow; restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}` or choose another name"
        )
    found = _create_experiment(client, name) if experiment is None else experiment.experiment_id
    store = Store(client, uri, found)
    _end_stray_runs(store)
    return store


def _end_stray_runs(store: Store) -> None:
    """End the RUNNING runs whose folder is here and whose process is not: it was killed.

    All others may live on another machine, or in another folder that is logged to the same store.
    """
    query = f"attributes.status = 'RUNNING' and tags.`mlflow.source.name` = '{SOURCE}'"
    for run in store.client.search_runs([store.experiment_id], query):
        if _is_left_over(run.data.tags):
            store.client.set_terminated(run.info.run_id, "KILLED")


def _is_left_over(tags: Mapping[str, str]) -> bool:
    """Whether the run or sweep with these tags is recorded in a folder that is here, and no longer lives."""
    if not tags.get(FOLDER):
        return False
    folder = Path(tags[FOLDER])
    if "sweep_parent" in tags:
        is_here = folder.name == tags["sweep_parent"] and (folder / SWEEP).exists()
        return is_here and not any(map(is_alive, [folder, *list_points(folder)]))
    try:
        identity = json.loads((folder / RECORD).read_text())["id"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return identity == tags.get("record_id") and not is_alive(folder)


def _create_experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_experiment(name)
    except MlflowException:
        # another machine may have been first; the lock does not stop it
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def probe(config: TrackingConfig) -> None:
    """Raise ``OSError`` soon if the configured server does not listen."""
    _probe(_get_configured_uri(config) or "")


def _probe(uri: str) -> None:
    """Raise ``OSError`` soon if no server listens; MLflow itself would try for minutes."""
    parts = urlsplit(uri)
    port = parts.port or SERVERS.get(parts.scheme.split("+")[0])
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=PROBE_S).close()
