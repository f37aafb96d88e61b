"""The ledger: what has been bought, by the content that determines it.

One table of (kind, key) to a JSON value, in SQLite by default or in any database that SQLAlchemy reaches, so
that a second run of the same thing asks nothing and a killed run continues. Keys are digests, so the
same purchase has the same key on every machine.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from runner.core.errors import ConfigError, RunnerError

ENTRIES = sa.Table(
    "entries",
    sa.MetaData(),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)
T = TypeVar("T")
PATIENCE_S = 60.0  # for another process to finish its write to the same SQLite file
CHUNK = 500  # keys per query: below every database's limit on bound parameters


class Ledger:
    """A keyed store that survives the process; safe for many threads and processes at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._engine = _connect(sa.make_url(url))
            _retry_while_locked(lambda: _create(self._engine))
        except sa.exc.ArgumentError as error:
            raise ConfigError(f"ledger.url: {url!r} is not a database URL ({error})") from error
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            where = sa.make_url(url).render_as_string(hide_password=True)
            raise RunnerError(f"ledger.url: cannot open {where}: {database_reason(error)}") from error

    def get(self, kind: str, key: str) -> Any | None:
        """The value under a key, or None."""
        return self.get_many(kind, [key]).get(key)

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        found: dict[str, Any] = {}
        with self._engine.connect() as connection:
            for chunk in _chunks(list(dict.fromkeys(keys))):
                query = sa.select(ENTRIES.c.key, ENTRIES.c.value).where(
                    ENTRIES.c.kind == kind, ENTRIES.c.key.in_(chunk)
                )
                found.update((key, json.loads(value)) for key, value in connection.execute(query))
        return found

    def put(self, kind: str, key: str, value: Any) -> None:
        """Store or replace one value; on return it is in the database."""
        self.put_many(kind, {key: value})

    def put_many(self, kind: str, values: Mapping[str, Any]) -> None:
        """Store or replace values in one transaction."""
        with self._engine.begin() as connection:
            for chunk in _chunks(_rows(kind, values)):
                _upsert(connection, chunk)

    def add(self, kind: str, key: str, value: Any) -> bool:
        """Store a value only if the key is free; False if another process was first."""
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(ENTRIES), _rows(kind, {key: value}))
        except sa.exc.IntegrityError:
            return False
        return True

    def add_many(self, kind: str, values: Mapping[str, Any]) -> None:
        """Store those values whose keys are free; the others stay as they are."""
        with self._engine.begin() as connection:
            for chunk in _chunks(_rows(kind, values)):
                connection.execute(_insert(connection).on_conflict_do_nothing(), chunk)

    def swap(self, kind: str, key: str, old: Any, new: Any) -> bool:
        """Replace a value only if it is still ``old``; False if another process was first."""
        mine = (ENTRIES.c.kind == kind) & (ENTRIES.c.key == key) & (ENTRIES.c.value == _dump(old))
        with self._engine.begin() as connection:
            return connection.execute(sa.update(ENTRIES).where(mine).values(value=_dump(new))).rowcount == 1

    def change(self, kind: str, key: str, function: Callable[[Any], Any]) -> Any:
        """Replace a value by ``function`` of it (None if there is none) and return the new one.

        No other process changes it in between; ``function`` may be called again if one was faster.
        """
        while True:
            old = self.get(kind, key)
            new = function(old)
            if self.add(kind, key, new) if old is None else self.swap(kind, key, old, new):
                return new

    def remove(self, kind: str, key: str) -> None:
        """Forget one entry; no error if it is not there."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(ENTRIES).where(ENTRIES.c.kind == kind, ENTRIES.c.key == key))

    def remove_equal(self, kind: str, value: Any) -> None:
        """Forget all entries of a kind that have this value."""
        with self._engine.begin() as connection:
            same = (ENTRIES.c.kind == kind) & (ENTRIES.c.value == _dump(value))
            connection.execute(sa.delete(ENTRIES).where(same))

    def items(self, kind: str) -> Iterator[tuple[str, Any]]:
        """All entries of a kind, oldest first."""
        query = sa.select(ENTRIES.c.key, ENTRIES.c.value).where(ENTRIES.c.kind == kind)
        with self._engine.connect() as connection:
            for key, value in connection.execute(query.order_by(ENTRIES.c.created)).all():
                yield key, json.loads(value)

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()


def _connect(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True, max_overflow=-1)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": PATIENCE_S}, max_overflow=-1)

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        # A write-ahead log lets readers and one writer work at once; NORMAL survives a killed process.
        _retry_while_locked(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _retry_while_locked(work: Callable[[], object]) -> None:
    """Do what SQLite refuses at once, whatever the time-out, while another process does the same."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            work()
            return
        except (sqlite3.OperationalError, sa.exc.OperationalError) as error:
            if "database is locked" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _create(engine: sa.Engine) -> None:
    """Make the table if it is not there; of several processes that try at once, one does."""
    statement = sa.schema.CreateTable(ENTRIES, if_not_exists=True)
    try:
        with engine.begin() as connection:
            connection.execute(statement)
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError):  # PostgreSQL, when another one is just making it
        with engine.begin() as connection:
            connection.execute(statement)


def _upsert(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    statement = _insert(connection)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[ENTRIES.c.kind, ENTRIES.c.key], set_={"value": statement.excluded.value}
        ),
        list(rows),
    )


def _insert(connection: sa.Connection) -> Any:
    """The dialect's own INSERT, which knows what to do where a key is taken."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    elif connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    else:
        raise ConfigError(f"ledger.url: {connection.dialect.name} is not supported; use sqlite or postgresql")
    return insert(ENTRIES)


def _rows(kind: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """New entries as rows of the table."""
    now = time.time()
    return [
        {"kind": kind, "key": key, "value": _dump(value), "created": now} for key, value in values.items()
    ]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def database_reason(error: Exception) -> str:
    """What the database said, in one line."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
