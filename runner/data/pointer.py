"""Follow JSON pointers (RFC 6901) through the values of JSON records, each record by itself.

A token that a list is entered with may be negative: ``/steps/-1/text`` is of the last step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.core.errors import ConfigError, count_of, suggest

EACH = "*"
"""The token that stands for each value of an object or list in ``rows``, and in a column for the only one."""
_INDEX = re.compile(r"0|-?[1-9][0-9]{0,8}")
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}


@dataclass(frozen=True)
class Miss:
    """Why a pointer does not lead on: ``there`` is the value that its part number ``depth`` was sought in.

    It is a ``clash`` if no value of this type could have such a part, and has ``several`` if ``*`` would have
    to choose.
    """

    there: Any
    depth: int
    clash: bool = False
    several: bool = False


def split_pointer(pointer: str) -> list[str]:
    """The parts of a JSON pointer.

    >>> split_pointer("/results/0/swap = False/a~1b")
    ['results', '0', 'swap = False', 'a/b']
    """
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def join_pointer(tokens: Iterable[str]) -> str:
    """The pointer of some parts.

    >>> join_pointer(["results", "a/b"])
    '/results/a~1b'
    """
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def check_pointer(pointer: str, where: str) -> list[str]:
    """The parts of a pointer of the config. Raises :class:`ConfigError` for what is none."""
    if pointer and not pointer.startswith("/"):
        raise ConfigError(f"{where}: a JSON pointer begins with /, such as /results/0/text")
    if odd := re.search(r"~(?![01])", pointer):
        raise ConfigError(f"{where}: write ~0 for the ~ before {pointer[odd.end() :][:10]!r}")
    return split_pointer(pointer)


def is_index(token: str) -> bool:
    """Whether a part of a pointer can be the place of an item in a list."""
    return _INDEX.fullmatch(token) is not None


def follow(value: Any, tokens: Sequence[str]) -> Any:
    """The value that ``tokens`` lead to, or a :class:`Miss`. What is below a null is null.

    A token ``*`` is the only value of an object or list; of an empty one it is a :class:`Miss`.
    """
    for depth, token in enumerate(tokens):
        if value is None:
            return None
        if token == EACH and (isinstance(value, list) or (isinstance(value, dict) and EACH not in value)):
            if len(value) != 1:
                return Miss(value, depth, several=len(value) > 1)
            value = next(iter(value.values() if isinstance(value, dict) else value))
        elif isinstance(value, dict):
            if token not in value:
                return Miss(value, depth)
            value = value[token]
        elif isinstance(value, list) and is_index(token):
            if not -len(value) <= int(token) < len(value):
                return Miss(value, depth)
            value = value[int(token)]
        else:
            return Miss(value, depth, clash=True)
    return value


def describe_clash(miss: Miss, tokens: Sequence[str]) -> str:
    """Why a part of the pointer names nothing in a value of this type, or no value alone."""
    if miss.several:
        names = f": {', '.join(list(miss.there)[:10])}" if isinstance(miss.there, dict) else ""
        place = join_pointer(tokens[: miss.depth]) or "it"
        return f"{place} has {len(miss.there)} values, and * stands for the only one; name one of them{names}"
    kind = next((said for type_, said in _KINDS.items() if isinstance(miss.there, type_)), "a number")
    place = join_pointer(tokens[: miss.depth])
    return f"{place or 'it'} is {kind}, which has no {tokens[miss.depth]!r}"


def describe_misses(misses: Sequence[Miss], tokens: Sequence[str]) -> str:
    """Why a pointer leads nowhere in any record: the part at which the best end, and the nearest name."""
    depth = max(miss.depth for miss in misses)
    ends = [miss.there for miss in misses if miss.depth == depth]
    token, place = tokens[depth], join_pointer(tokens[:depth])
    where = f" in {place}" if place else ""
    if token == EACH:
        return f"there is nothing{where or ' in it'}"
    lists = [len(there) for there in ends if isinstance(there, list)]
    if lists and len(lists) == len(ends):
        most = f"at most {count_of(max(lists), 'item')}" if max(lists) else "no items"
        return f"there is no item {token}{where}, which has {most}"
    names = {name for there in ends if isinstance(there, dict) for name in there}
    return f"there is no {token!r}{where}{suggest(token, names)}"


def find_rows(content: Any, rows: str | None, where: str) -> list[dict[str, Any]]:
    """The records of a JSON document.

    Without ``rows`` it must be a list of objects, and so must what the pointer ``rows`` leads to. With a part
    ``*``, which stands for each value of an object or list, each value that the pointer leads to is a record;
    so is the whole document with an empty ``rows``. A record has the fields of an object, or one field
    ``value`` for any other value, and in the field ``*`` what the parts ``*`` stood for, such as ``3/anna``.

    Raises:
        ConfigError: a pointer that leads to no records.
    """
    tokens = check_pointer(rows or "", f"{where}={rows!r}")
    if rows is not None and (not tokens or EACH in tokens):
        return [
            _make_record(value, keys) for value, keys in _expand(content, tokens, f"{where}={rows!r}", ())
        ]
    found = _enter(content, tokens, f"{where}={rows!r}")
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    said = f"{where}={rows!r} does not lead to" if rows else f"{where} is not set, and the file is not"
    raise ConfigError(f"{said} a list of objects{_describe_other(found, rows or '', where)}")


def _make_record(value: Any, keys: Sequence[str]) -> dict[str, Any]:
    record = value if isinstance(value, dict) else {"value": value}
    return record | {EACH: "/".join(keys)} if keys else record


def _expand(
    content: Any, tokens: Sequence[str], where: str, keys: Sequence[str]
) -> Iterator[tuple[Any, list[str]]]:
    if EACH not in tokens:
        yield _enter(content, tokens, where), list(keys)
        return
    place = tokens.index(EACH)
    found = _enter(content, tokens[:place], where)
    if not isinstance(found, dict | list):
        raise ConfigError(f"{where}: {join_pointer(tokens[:place]) or 'the file'} is no list and no object")
    items = found.items() if isinstance(found, dict) else enumerate(found)
    for key, value in items:
        yield from _expand(value, tokens[place + 1 :], where, [*keys, str(key)])


def _enter(content: Any, tokens: Sequence[str], where: str) -> Any:
    found = follow(content, tokens)
    if isinstance(found, Miss):
        said = describe_clash(found, tokens) if found.clash else describe_misses([found], tokens)
        raise ConfigError(f"{where}: {said}")
    return found


def _describe_other(content: Any, rows: str, key: str) -> str:
    """What there is in place of a list of objects, and what takes it."""
    if isinstance(content, list):
        place = next(place for place, row in enumerate(content) if not isinstance(row, dict))
        return f": item {place} of the list (counted from 0) is none; {key}={rows}/* makes a row of any item"
    if not isinstance(content, dict):
        return ""
    whole = "" if rows else f"; if this object is one row, say {key}: ''"
    if lists := [join_pointer([name]) for name, value in content.items() if isinstance(value, list)]:
        return f"; {rows or 'the file'} has lists at: {', '.join(lists[:20])}{whole}"
    if content and all(isinstance(value, dict) for value in content.values()):
        return (
            f"; with pandas, write it by to_json(…, orient='records'); {rows}/* in {key} makes a row of each"
            " value of this object"
        )
    return whole
