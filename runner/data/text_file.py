"""Read the records of a log file by one regular expression, and pass over nothing unseen."""

from __future__ import annotations

import re

from runner.core.errors import ConfigError, quote_text

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
        raise ConfigError(f"{key}={quote_text(pattern)} is no regular expression: {error}") from error


def read_records(
    text: str, pattern: str | None, skip: str | None = None, key: str = "dataset"
) -> list[Record]:
    """One record for each match of ``pattern``, in order: its named groups; null where a group takes no part.

    All of the text must be in a match, except empty lines and those that ``skip`` matches from end to end.
    So no record is left out because it looks a little different. For the same reason no match may hold a
    line for ``skip`` between others, nor a later line at which the pattern could begin: one record would
    have swallowed the next one. A line ends with ``\\n``, also where the file has ``\\r\\n``.

    Raises:
        ConfigError: a pattern that is none, has no named group, or matches nothing at all.
        ValueError: a line outside of all matches, or one that begins a second record in a match, with its
            number.
    """
    text = text.replace("\r\n", "\n")
    compiled = compile_pattern(pattern, f"{key}.pattern")
    passed = _compile(skip, f"{key}.skip") if skip else None
    if not compiled.groupindex:
        raise ConfigError(
            f"{key}.pattern={quote_text(compiled.pattern)} has no named group; (?P<answer>…) makes a column"
            " 'answer'"
        )
    matches, end = [], 0
    for match in compiled.finditer(text):
        if not match[0]:
            raise ConfigError(
                f"{key}.pattern={quote_text(compiled.pattern)} matches an empty text, which is no record"
            )
        _check_between(text, end, match.start(), passed, key)
        matches.append(match)
        end = match.end()
    if matches:
        _check_between(text, end, len(text), passed, key)
        _check_inside(matches, passed, key)
    elif text.strip():
        raise ValueError(f"{key}.pattern matches nowhere in it; it begins with {text.strip()[:60]!r}")
    return [match.groupdict() for match in matches]


def _check_inside(matches: list[re.Match[str]], skip: re.Pattern[str] | None, key: str) -> None:
    """Refuse a match that holds two records.

    A pattern such as that of a paragraph can begin at any line. It does so at the second line of most of its
    matches, and then tells nothing about where a record begins.
    """
    inner = [(match, _list_inner_starts(match)) for match in matches]
    seconds = [_begins(match, starts[0]) for match, starts in inner if starts]
    anywhere = 2 * sum(seconds) > len(seconds)
    for match, starts in inner:
        lines = match[0].split("\n")
        told = [number for number, line in enumerate(lines) if line.strip() and not _fits(line, skip)]
        for number, start in enumerate(starts, 1):
            if told and told[0] < number < told[-1] and _fits(lines[number], skip):
                why = f"{key}.skip matches it"
            elif not anywhere and _begins(match, start):
                why = f"{key}.pattern could begin there, so these may be two records"
            else:
                continue
            first = match.string.count("\n", 0, match.start()) + 1
            raise ValueError(
                f"line {first + number}: {lines[number].strip()[:80]!r} is inside the match that begins"
                f" at line {first}, but {why}; let the pattern end before it, for example by a group that"
                r" cannot hold such a line: (?:(?!Question: ).*\n)*"
            )


def _list_inner_starts(match: re.Match[str]) -> list[int]:
    """Where the later lines of a match begin."""
    return [found.end() for found in re.finditer(r"\n(?!\Z)", match[0])]


def _begins(match: re.Match[str], start: int) -> bool:
    found = match.re.match(match.string, match.start() + start)
    return bool(found and found[0] and found.end() <= match.end())


def _fits(line: str, skip: re.Pattern[str] | None) -> bool:
    return bool(skip and line.strip() and (skip.fullmatch(line) or skip.fullmatch(line.strip())))


def _check_between(text: str, begin: int, end: int, skip: re.Pattern[str] | None, key: str) -> None:
    line = text.count("\n", 0, begin) + 1 if text[begin:end].strip() else 0
    for number, part in enumerate(text[begin:end].split("\n") if line else ()):
        said = part.strip()
        if said and not _fits(part, skip):
            raise ValueError(
                f"line {line + number}: {said[:80]!r} is in no match of {key}.pattern; let it match there,"
                f" or let {key}.skip match such lines, which leaves them out"
            )
