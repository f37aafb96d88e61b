"""The groups that single commands read, such as ``reproduce``, and those of ledger and prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ReproduceConfig:
    """``runner reproduce FOLDER`` of a run, a sweep or an export. ``ask`` buys answers that are missing.

    ``trust`` makes classes of others that the record names, which runs their code. ``named`` holds the
    addresses that the command line names, such as ``provider.base_url=…``.
    """

    folders: list[str] = field(default_factory=list)  # the words behind the command
    ask: bool = False  # buy missing answers
    trust: bool = False  # run others' classes
    named: list[str] = field(default_factory=list)  # addresses on the command line


@dataclass
class ExportConfig:
    """``runner export FOLDER``: ``to`` is a new folder or a ``.zip``, by default under outputs/exports.

    An ``.eval`` file is a log of one run for Inspect, which has its rows, answers and scores, and no more.

    ``data`` includes the data files; their licences may forbid that. ``named`` is as in ``reproduce``.
    """

    folders: list[str] = field(default_factory=list)  # the words behind the command
    to: str | None = None  # a folder, .zip, or .eval for Inspect
    data: bool = False  # with the data files
    named: list[str] = field(default_factory=list)  # addresses on the command line


@dataclass
class ReportConfig:
    """``runner report [FOLDER…]`` of runs and sweeps, in outputs/reports/``name``.

    Without ``folders`` it is about the newest one with a score. ``rows`` is the number of rows on the page of
    each data set, those worth reading first. ``trust`` makes metrics of others that a record names, which
    runs their code.
    """

    folders: list[str] = field(default_factory=list)  # the words behind the command
    name: str | None = None
    rows: int = 1000
    trust: bool = False


@dataclass
class CleanupConfig:
    """``runner cleanup [NAME…]``: the deployments in ``names`` are deleted even if a living run uses them."""

    names: list[str] = field(default_factory=list)  # the words behind the command


@dataclass
class ShowConfig:
    """``runner show``: rows before a run, or of a recorded one. ``runner show row=7`` sets ``show.row``.

    ``run`` is the folder of a recorded run or sweep, ``last`` the newest; null shows what a run would send.
    """

    run: str | None = None
    row: str | None = None
    """One row, whole, by its id or its number."""
    rows: int | None = None
    """How many rows are shown at most; null: 3 before a run, 50 of a recorded one."""
    text: str | None = None
    """Only rows in which this text stands, in a value, the chat or the answer; case does not matter."""
    only: list[str] = field(default_factory=list)
    """Only rows that are ``wrong``, ``unparsed``, ``error`` or ``disagreeing``; several mean any of these."""


@dataclass
class LedgerConfig:
    """The database of everything bought, as a SQLAlchemy URL; by default SQLite under outputs/."""

    url: str = "sqlite:///outputs/ledger.db"  # its address


@dataclass
class PricesConfig:
    """Prices that replace shipped ones (``runner/money/prices.yaml``).

    ``path`` is a file of the same form. ``models`` maps a model's name to its price, such as
    ``{input: 0.1, output: 0.4}`` in US dollars per million tokens.
    """

    path: str | None = None  # a file of prices
    models: dict[str, Any] = field(default_factory=dict)  # prices by model
