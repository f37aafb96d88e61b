"""Answers of an export: ledger entries as lines of JSON, and a ledger that also reads those."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.core.errors import DataError
from runner.core.files import require_plain
from runner.engine.call import KIND
from runner.engine.ledger import Ledger


class LedgerWithAnswers(Ledger):
    """A ledger that looks for answers in a mapping first. It never writes them to its database."""

    def __init__(self, url: str, answers: Mapping[str, Any]) -> None:
        super().__init__(url)
        self._answers = dict(answers)

    def add_answers(self, answers: Mapping[str, Any]) -> None:
        """Add answers to the mapping. Answers that are already in it stay."""
        self._answers = {**answers, **self._answers}

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The values of the keys that are found."""
        wanted = dict.fromkeys(keys)
        found = {key: self._answers[key] for key in wanted if kind == KIND and key in self._answers}
        return found | super().get_many(kind, wanted.keys() - found.keys())


def write_answer_file(file: Path, answers: Mapping[str, Any]) -> None:
    """Write one answer per line, ordered by key, so that equal answers make equal files."""
    with file.open("w", encoding="utf-8") as stream:
        for key in sorted(answers):
            stream.write(json.dumps({"key": key, "value": answers[key]}, ensure_ascii=False) + "\n")


def read_answer_file(file: Path) -> dict[str, Any]:
    """Read the answers of a file. Raises :class:`DataError` naming a line that is not a ledger entry."""
    answers: dict[str, Any] = {}
    try:
        lines = require_plain(file).read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error})") from error
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line) if line else None
            answers |= {str(entry["key"]): entry["value"]} if entry is not None else {}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{file}, line {number}: not a ledger entry ({error})") from error
    return answers
