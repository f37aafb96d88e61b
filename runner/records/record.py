"""The record of a run, in ``record.json`` of its folder (:mod:`runner.records.folder`), and its rows."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import polars as pl

from runner.core.errors import BudgetError, DataError, WaitError, is_mistake
from runner.core.files import require_plain, write_atomically
from runner.core.redact import drop_controls, hide_keys
from runner.core.types import Score, list_keys
from runner.records.alive import is_alive
from runner.records.folder import MISTAKE, PREDICTIONS, RECORD, SCORED
from runner.records.published import read_comparisons

PAIRS = "(pairs)"
ROW_COLUMNS = ("id", "completion", "error", "prediction")
"""What every run's rows have."""

log = logging.getLogger(__name__)


@dataclass
class Record:
    """One run, as written to ``record.json``. Times are seconds since the epoch."""

    id: str
    name: str
    status: str = "running"
    """``running``, ``finished``, ``stopped`` (budget, a wait, Ctrl-C: partial results kept), ``failed``,
    ``killed``.

    ``killed`` is what is read where the file says ``running`` and no living process holds the folder.
    """
    started: float = 0.0
    finished: float | None = None
    sweep: str | None = None
    """Id of the sweep that this run is a point of."""
    job: int | None = None
    """Its number in that sweep, from 0."""
    overrides: list[str] = field(default_factory=list)
    swept: dict[str, Any] = field(default_factory=dict)
    """The swept keys of this point and their values."""
    config: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    """Flattened leaves of the config, and what was resolved: hashes, split sizes, the model that answered."""
    tags: dict[str, str] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    """Metrics with intervals; ``<metric>`` is strict, ``<metric>_parsed`` over parsed rows only."""
    figures: dict[str, float] = field(default_factory=dict)
    """Plain numbers: answered, parse_rate, tokens, cost_usd."""
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    """Data sets: name, source, digest, split, rows."""
    reference: list[dict[str, Any]] = field(default_factory=list)
    """Published against measured: metric, published, printed, measured, low, high, n, standing (see
    :mod:`runner.records.published`), agrees (whether an exact replay meets the figure; null otherwise)."""
    averages: list[dict[str, Any]] = field(default_factory=list)
    """Published averages to which this point of a sweep belongs, as ``compare_figure`` of
    :mod:`runner.records.published` takes them."""
    models: list[dict[str, Any]] = field(default_factory=list)
    """Fine-tuned checkpoints: number, step, model, evaluated (bool)."""
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Who answered, as in the ledger's keys: ``model``, ``judge``, and ``base``, which was trained."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions of Python, of this package and of what it builds on."""
    row_scores: dict[str, str] = field(default_factory=dict)
    """Metrics that score single rows, each a column of the predictions: ``right`` (1 or 0) or ``value``."""
    shown: list[str] = field(default_factory=list)
    """Columns of the rows that the prompt shows."""
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    """The variance of a score between ``rows`` and ``repeats``, that of a single ``verdict`` and the
    ``judge``'s part of this, if known."""
    no_spread: dict[str, str] = field(default_factory=dict)
    """Why the variance of other scores is not known, where rows were asked several times."""
    labels: list[str] = field(default_factory=list)
    """Classes of a classification, in the order of the confusion matrix."""
    warnings: list[str] = field(default_factory=list)
    """What somebody must do something about, such as a deployment that could not be deleted."""
    unmet: list[str] = field(default_factory=list)
    """The conditions of ``require`` that the scores do not meet, one line each."""
    error: str | None = None
    mistake: bool = False
    """Whether the input was at fault, and this was found before the first call."""

    @property
    def checkpoint_steps(self) -> list[int]:
        """The training steps at which checkpoints were taken, as far as they are known."""
        return [int(model["step"]) for model in self.models if model.get("step") is not None]

    def write(self, folder: Path, name: str = RECORD) -> None:
        """Write ``record.json`` so that a crash leaves the old one or the new one, never half of one."""
        with write_atomically(folder / name) as file:
            file.write_text(dumps(asdict(self), indent=1))


@contextmanager
def keep_record(record: Record, folder: Path) -> Iterator[None]:
    """Keep ``record.json`` true: written at the start, at the end and on every way out of the block.

    Whoever calls it also holds the folder (:func:`runner.records.alive.hold_alive`), or else the record reads
    as ``killed``. A mistake leaves no record: the file is again as it was. For the table of its sweep, the
    reason of a point is in ``mistake.json``.
    """
    before = _read_bytes(folder / RECORD)
    (folder / MISTAKE).unlink(missing_ok=True)
    record.started = time.time()
    record.write(folder)
    try:
        yield
        record.status = "finished"
    except BaseException as error:
        stopped = isinstance(error, BudgetError | WaitError) or not isinstance(error, Exception)
        record.status = "stopped" if stopped else "failed"
        record.error = hide_keys(drop_controls(str(error))) or type(error).__name__
        record.mistake = is_mistake(error)
        raise
    finally:
        record.finished = time.time()
        if record.mistake:
            _put_back(folder / RECORD, before)
        if record.sweep or not record.mistake:
            record.write(folder, MISTAKE if record.mistake else RECORD)


def _read_bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _put_back(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
        return
    with write_atomically(file) as partial:
        partial.write_bytes(content)


def read_record(folder: Path, name: str = RECORD) -> Record:
    """Read a record back from its folder. Raises :class:`DataError` if the file cannot be read."""
    file = folder / name
    try:
        data = loads(require_plain(file).read_text("utf-8-sig"))
        data["scores"] = {name: Score(**score) for name, score in data["scores"].items()}
        data["curves"] = {name: [(s, v) for s, v in points] for name, points in data["curves"].items()}
        exact = ((data.get("config") or {}).get("reference") or {}).get("exact", False)
        data["reference"] = read_comparisons(data.get("reference") or [], exact)
        record = Record(**data)
        _check_types(record)
        if record.status == "running" and not is_alive(folder):
            record.status = "killed"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file} cannot be read as a record ({reason})") from error
    return record


def _check_types(record: Record) -> None:
    """Raise :class:`TypeError` for a value that cannot be one of a record, such as a text as a number."""
    for name, hint in get_type_hints(Record).items():
        if not _fits(value := getattr(record, name), hint):
            raise TypeError(f"{name} is {value!r:.40}")
    for name in ("started", "finished"):
        if (when := getattr(record, name)) is not None and not 0 <= when < 1e11:  # also NaN
            raise TypeError(f"{name} is {when}")
    for score in record.scores.values():
        if not all(_fits(getattr(score, name), hint) for name, hint in get_type_hints(Score).items()):
            raise TypeError(f"a score is {score!r:.60}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value that JSON held is of this type; a whole number is also a number.

    >>> _fits([(1, 0.5)], list[tuple[int, float]]), _fits({"a": "b"}, dict[str, float])
    (True, False)
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return True
    if kind is Literal:
        return value in inner
    if kind is UnionType:
        return any(_fits(value, one) for one in inner)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and isinstance(value, bool):
        return False
    if not isinstance(value, kind):
        return False
    if kind is dict and inner:
        return all(_fits(key, inner[0]) and _fits(item, inner[1]) for key, item in value.items())
    if kind is tuple:
        return len(value) == len(inner) and all(map(_fits, value, inner))
    return kind is not list or all(_fits(item, inner[0]) for item in value)


def read_mistakes(points: Iterable[Path]) -> dict[Path, Record]:
    """Why points of a sweep could not begin, by their folders."""
    return read_records((point for point in points if (point / MISTAKE).exists()), MISTAKE)


def read_records(folders: Iterable[Path], name: str = RECORD) -> dict[Path, Record]:
    """The records of these folders; those that cannot be read are left out with a warning."""
    found: dict[Path, Record] = {}
    for folder in folders:
        try:
            found[folder] = read_record(folder, name)
        except DataError as error:
            log.warning("%s; it is left out", error)
    return found


def dumps(data: Any, indent: int | None = None) -> str:
    """JSON that keeps the keys of mappings as they are: YAML's ``1: yes`` does not come back as ``"1"``.

    >>> dumps({"labels": {1: "yes"}})
    '{"labels": {"(pairs)": [[1, "yes"]]}}'
    """
    return json.dumps(_with_pairs(data), indent=indent, ensure_ascii=False, default=str)


def loads(text: str) -> Any:
    """What :func:`dumps` wrote."""
    return json.loads(text, object_hook=lambda found: dict(found[PAIRS]) if PAIRS in found else found)


def _with_pairs(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return [_with_pairs(item) for item in node]
    if not isinstance(node, dict):
        return node
    if all(isinstance(key, str) for key in node):
        return {key: _with_pairs(value) for key, value in node.items()}
    return {PAIRS: [[key, _with_pairs(value)] for key, value in node.items()]}


def find_scored(folder: Path) -> Path:
    """The file of the rows that metrics read: what ``scoring.steps`` made, else the predictions."""
    scored = folder / SCORED
    return scored if scored.exists() else folder / PREDICTIONS


def read_scored(folder: Path) -> pl.DataFrame:
    """The rows of :func:`find_scored`; raises as :func:`read_predictions`."""
    return _read_rows(find_scored(folder))


def read_predictions(folder: Path) -> pl.DataFrame:
    """The per-row frame of a run. Raises :class:`DataError` if the file cannot be read as one."""
    return _read_rows(folder / PREDICTIONS)


def _read_rows(file: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(require_plain(file))
    except Exception as error:  # polars has many, and some are its own
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise DataError(f"{file} cannot be read as the rows of a run ({reason})") from error
    if missing := [name for name in ROW_COLUMNS if name not in frame.columns]:
        raise DataError(f"{file} cannot be read as the rows of a run (it has no column {missing[0]!r})")
    ids, keys = frame["id"], frame.select(list_keys(frame))
    if ids.dtype != pl.String or ids.has_nulls() or keys.is_duplicated().any():
        raise DataError(f"{file} cannot be read as the rows of a run (its ids are not texts, each used once)")
    return frame


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted key; lists stay whole.

    >>> flatten({"a": {"b": 1}, "c": [1, 2]})
    {'a.b': 1, 'c': [1, 2]}
    """
    if not isinstance(node, dict):
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        leaves |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves
