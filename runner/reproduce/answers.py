"""Answers that travel: ledger entries as lines of JSON, and a ledger that reads them beside its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.core.errors import DataError
from runner.engine.call import KIND
from runner.engine.ledger import Ledger


class Overlay(Ledger):
    """A ledger with answers laid over it: they are read first, and never written to its database."""

    def __init__(self, url: str, answers: Mapping[str, Any]) -> None:
        super().__init__(url)
        self._answers = dict(answers)

    def add_answers(self, answers: Mapping[str, Any]) -> None:
        """Lay further answers over it; those that are there stay."""
        self._answers = {**answers, **self._answers}

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        wanted = dict.fromkeys(keys)
        found = {key: self._answers[key] for key in wanted if kind == KIND and key in self._answers}
        return found | super().get_many(kind, wanted.keys() - found.keys())


def write(file: Path, answers: Mapping[str, Any]) -> None:
    """One answer a line, ordered by key, so that equal answers make equal files."""
    with file.open("w", encoding="utf-8") as stream:
        for key in sorted(answers):
            stream.write(json.dumps({"key": key, "value": answers[key]}, ensure_ascii=False) + "\n")


def read(file: Path) -> dict[str, Any]:
    """The answers of a file; raises :class:`DataError` naming a line that is none."""
    answers = {}
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                entry = json.loads(line)
                answers[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{file}, line {number}: no ledger entry ({error})") from error
    return answers
