"""Read the records of a log file by one regular expression, and pass over nothing unseen."""

from __future__ import annotations

import re

from runner.core.errors import ConfigError

Record = dict[str, str | None]


def compile_pattern(pattern: str | None, key: str) -> re.Pattern[str]:
    """The regular expression of ``key``, with ``^`` and ``$`` at each line. Raises :class:`ConfigError`."""
    if not pattern:
        raise ConfigError(
            f"{key} is not set; format: text needs a regular expression of one record, whose named groups"
            r" become columns, such as '^Question: (?P<question>.*)\nAnswer: (?P<answer>.*)$'"
        )
    return _compile(pattern, key)


def _compile(pattern: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{key}={pattern!r} is no regular expression: {error}") from error


def read_records(
    text: str, pattern: str | None, skip: str | None = None, key: str = "dataset"
) -> list[Record]:
    """One record for each match of ``pattern``, in order: its named groups; null where a group takes no part.

    All of the text must be in a match, except empty lines and those that ``skip`` matches from end to end,
    and no group may hold the begin of another whole match. So no record is left out because it looks a
    little different, or disappears in the one before it. A line ends with ``\\n``, also where the
    file has ``\\r\\n``.

    Raises:
        ConfigError: a pattern that is none, has no named group, or matches nothing at all.
        ValueError: a line outside of all matches, or a record inside of another one, with its number.
    """
    text = text.replace("\r\n", "\n")
    compiled = compile_pattern(pattern, f"{key}.pattern")
    passed = _compile(skip, f"{key}.skip") if skip else None
    if not compiled.groupindex:
        raise ConfigError(
            f"{key}.pattern={pattern!r} has no named group; (?P<answer>…) makes a column 'answer'"
        )
    records, end = [], 0
    for match in compiled.finditer(text):
        if not match[0]:
            raise ConfigError(f"{key}.pattern={pattern!r} matches an empty text, which is no record")
        _check_between(text, end, match.start(), passed, key)
        _check_inside(text, match, key)
        records.append(match.groupdict())
        end = match.end()
    if records:
        _check_between(text, end, len(text), passed, key)
    elif text.strip():
        raise ValueError(f"{key}.pattern matches nowhere in it; it begins with {text.strip()[:60]!r}")
    return records


def _check_inside(text: str, match: re.Match[str], key: str) -> None:
    """Raise for a group that runs on into another record, as ``(?s:.*?)`` does where an end is missing."""
    place = match.start()
    while (place := text.find("\n", place, match.end()) + 1) > 0:
        if not match.re.match(text, place, match.end()):
            continue
        for name in match.re.groupindex:
            if match.start(name) < place < match.end(name):
                first, line = (text.count("\n", 0, at) + 1 for at in (match.start(), place))
                said = text[place : match.end()].partition("\n")[0]
                raise ValueError(
                    f"line {line}: {said[:80]!r} begins a record, but it is in the group {name!r} of the one"
                    f" that begins in line {first}; let {key}.pattern match a record like that one, too, or"
                    " tell the two apart"
                )


def _check_between(text: str, begin: int, end: int, skip: re.Pattern[str] | None, key: str) -> None:
    line = text.count("\n", 0, begin) + 1 if text[begin:end].strip() else 0
    for number, part in enumerate(text[begin:end].split("\n") if line else ()):
        said = part.strip()
        if said and not (skip and (skip.fullmatch(part) or skip.fullmatch(said))):
            raise ValueError(
                f"line {line + number}: {said[:80]!r} is in no match of {key}.pattern; let it match there,"
                f" or let {key}.skip match such lines, which leaves them out"
            )
