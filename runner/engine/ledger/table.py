"""The ledger: everything that was bought, under a key made of the content that determines it.

It is one table from (kind, key) to a JSON value, in SQLite by default or in PostgreSQL. Thanks to it a second
run of the same experiment asks nothing, and a killed run continues where it stopped. Keys are digests, so the
same purchase has the same key on every machine.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from runner.core.errors import ConfigError, RunnerError

log = logging.getLogger(__name__)

ENTRIES = sa.Table(
    "entries",
    sa.MetaData(),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)
COMPLETION = "completion"  # the kind of the answers
T = TypeVar("T")
BUSY_TIMEOUT_S = 60.0  # how long to wait for another process that writes to the same SQLite file
OUTAGE_S = 60.0  # how long to wait for a database server that restarts
CHUNK = 500  # keys per query: below every database's limit on bound parameters


class Ledger:
    """A key-value store in a database; many threads and processes may use it at once."""

    def __init__(self, url: str) -> None:
        self._at_close: list[Callable[[], None]] = []
        try:
            self._engine = _connect(sa.make_url(url))
            self.url = self._engine.url.render_as_string(hide_password=False)  # the same in any folder
            _retry_while_locked(lambda: _create_table(self._engine))
            with self._engine.connect() as connection:
                connection.execute(sa.select(ENTRIES).limit(1))  # fails on another program's table
        except (sa.exc.ArgumentError, ValueError, TypeError) as error:
            raise ConfigError(
                f"ledger.url: {url!r} is not a database URL ({str(error).partition('.  ')[0]})"
            ) from error
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            where = sa.make_url(url).render_as_string(hide_password=True)
            raise RunnerError(f"ledger.url: cannot open {where}: {database_reason(error)}") from error

    def get(self, kind: str, key: str) -> Any | None:
        """Return the value under a key, or None."""
        return self.get_many(kind, [key]).get(key)

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those keys that exist.

        Raises :class:`RunnerError` for a value that is not JSON; an answer (:data:`COMPLETION`) is then None.
        """
        wanted = list(dict.fromkeys(keys))
        return self._run(lambda connection: _read(connection, kind, wanted))

    def put(self, kind: str, key: str, value: Any) -> None:
        """Store or replace one value; it is in the database when this returns."""
        self.put_many(kind, {key: value})

    def put_many(self, kind: str, values: Mapping[str, Any]) -> None:
        """Store or replace several values in one transaction."""
        rows = _make_rows(kind, values)

        def replace(connection: sa.Connection) -> None:
            for chunk in _split(rows):
                _upsert(connection, chunk)

        self._run(replace)

    def add(self, kind: str, key: str, value: Any) -> bool:
        """Store a value only if the key is free; return False if it is taken."""
        rows, attempts = _make_rows(kind, {key: value}), []

        def insert(connection: sa.Connection) -> None:
            attempts.append(connection)
            connection.execute(sa.insert(ENTRIES), rows)

        try:
            self._run(insert)
        except sa.exc.IntegrityError:
            return self._was_done(attempts, kind, key, value)
        return True

    def add_many(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Store the values whose keys are free, and return what is stored now under all the keys."""
        # in one order for all, so that two processes never wait for each other
        rows = _make_rows(kind, dict(sorted(values.items())))

        def insert(connection: sa.Connection) -> dict[str, Any]:
            for chunk in _split(rows):
                connection.execute(_make_insert(connection).on_conflict_do_nothing(), chunk)
            return _read(connection, kind, list(values))

        return self._run(insert)

    def swap(self, kind: str, key: str, old: Any, new: Any) -> bool:
        """Replace a value only if it is still ``old``; return False if it is not."""
        unchanged = (ENTRIES.c.kind == kind) & (ENTRIES.c.key == key) & (ENTRIES.c.value == _dump(old))
        statement, attempts = sa.update(ENTRIES).where(unchanged).values(value=_dump(new)), []

        def update(connection: sa.Connection) -> bool:
            attempts.append(connection)
            return connection.execute(statement).rowcount == 1

        return self._run(update) or self._was_done(attempts, kind, key, new)

    def change(self, kind: str, key: str, function: Callable[[Any], Any]) -> Any:
        """Replace a value by ``function(value)`` if that differs, and return it. A missing value is None.

        The change is atomic: if another process changes the value first, ``function`` is called again.
        """
        while True:
            old = self.get(kind, key)
            new = function(old)
            if new == old or (self.add(kind, key, new) if old is None else self.swap(kind, key, old, new)):
                return new

    def remove(self, kind: str, key: str) -> None:
        """Delete one entry, if it exists."""
        statement = sa.delete(ENTRIES).where(ENTRIES.c.kind == kind, ENTRIES.c.key == key)
        self._run(lambda connection: connection.execute(statement))

    def remove_equal(self, kind: str, value: Any) -> None:
        """Delete all entries of a kind that have this value."""
        statement = sa.delete(ENTRIES).where(ENTRIES.c.kind == kind, ENTRIES.c.value == _dump(value))
        self._run(lambda connection: connection.execute(statement))

    def items(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield the key and value of all entries of a kind, oldest first."""
        query = sa.select(ENTRIES.c.key, ENTRIES.c.value).where(ENTRIES.c.kind == kind)
        query = query.order_by(ENTRIES.c.created)
        for key, value in self._run(lambda connection: connection.execute(query).all()):
            yield key, _load(kind, key, value)

    def now(self) -> float:
        """Return the time in seconds since 1970, by the clock that all processes on this ledger share."""
        if self._engine.dialect.name == "sqlite":
            return time.time()
        clock = sa.text("SELECT extract(epoch FROM clock_timestamp())")
        return float(self._run(lambda connection: connection.execute(clock).scalar_one()))

    def _run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a transaction. A server that is gone is waited for, for at most :data:`OUTAGE_S` seconds."""
        end = pause = 0.0
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
                if self._engine.dialect.name == "sqlite":
                    raise
                if not end:
                    end = time.monotonic() + OUTAGE_S
                    log.warning("the ledger's database is gone, waiting: %s", database_reason(error))
                if time.monotonic() > end:
                    raise
            pause = min(pause + 0.1, 2.0)
            time.sleep(pause)

    def _was_done(self, attempts: Sequence[object], kind: str, key: str, value: Any) -> bool:
        """Whether an earlier attempt was committed, although its connection broke before it was told so."""
        return len(attempts) > 1 and bool(self.get(kind, key) == value)

    def call_at_close(self, function: Callable[[], None]) -> None:
        """Call a function before the connections are closed."""
        self._at_close.append(function)

    def close(self) -> None:
        """Close the connections."""
        try:
            while self._at_close:
                self._at_close.pop()()
        except sa.exc.SQLAlchemyError as error:  # nothing may hide the error for which a run ends
            log.debug("the ledger was not tidied: %s", database_reason(error))
        self._engine.dispose()


def _connect(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True, max_overflow=-1)
    if not url.database or url.database == ":memory:":
        raise ConfigError("ledger.url: a ledger needs a file, such as sqlite:///outputs/ledger.db")
    if not url.database.startswith("file:"):
        file = Path(url.database).absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
        url = url.set(database=str(file))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, max_overflow=-1)

    @sa.event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _: Any) -> None:
        # A write-ahead log lets readers and one writer work at once; NORMAL survives a killed process.
        _retry_while_locked(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _retry_while_locked(work: Callable[[], object]) -> None:
    """Repeat ``work`` until SQLite accepts it, for at most :data:`BUSY_TIMEOUT_S` seconds.

    SQLite ignores its own time-out for some statements when two processes issue them at once.
    """
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            work()
            return
        except (sqlite3.OperationalError, sa.exc.OperationalError) as error:
            if "database is locked" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _create_table(engine: sa.Engine) -> None:
    """Create the table if it does not exist; several processes may try at once."""
    statement = sa.schema.CreateTable(ENTRIES, if_not_exists=True)
    try:
        with engine.begin() as connection:
            connection.execute(statement)
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError):  # PostgreSQL, while another process creates it
        with engine.begin() as connection:
            connection.execute(statement)


def _read(connection: sa.Connection, kind: str, keys: list[str]) -> dict[str, Any]:
    """Return the values of those keys that exist."""
    found: dict[str, Any] = {}
    for chunk in _split(keys):
        query = sa.select(ENTRIES.c.key, ENTRIES.c.value).where(
            ENTRIES.c.kind == kind, ENTRIES.c.key.in_(chunk)
        )
        found.update((key, _load(kind, key, value)) for key, value in connection.execute(query))
    return found


def _upsert(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    statement = _make_insert(connection)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[ENTRIES.c.kind, ENTRIES.c.key], set_={"value": statement.excluded.value}
        ),
        list(rows),
    )


def _make_insert(connection: sa.Connection) -> Any:
    """Return the INSERT of the database's dialect, which can say what to do when a key is taken."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    elif connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    else:
        raise ConfigError(f"ledger.url: {connection.dialect.name} is not supported; use sqlite or postgresql")
    return insert(ENTRIES)


def _make_rows(kind: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return new entries as rows of the table."""
    now = time.time()
    return [
        {"kind": kind, "key": key, "value": _dump(value), "created": now} for key, value in values.items()
    ]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _load(kind: str, key: str, text: str) -> Any:
    """The stored value. An answer may be bought again where it is not JSON; a job must not be made twice."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if kind == COMPLETION:
            return None
        raise RunnerError(f"ledger: the entry {kind} {key} cannot be read: {error}") from error


def _split(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def database_reason(error: Exception) -> str:
    """Return the message of the database in one line."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
