"""SQL expressions as polars reads them, and functions of our own: :data:`FUNCTIONS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import polars as pl

from runner.core.errors import ConfigError, quote_text
from runner.data.sql.mistakes import explain
from runner.data.sql.nearest import find_nearest

_OTHER_TABLE = re.compile(r"\bselect\b|\b(?:read|scan)_\w+\W*\(", re.IGNORECASE)
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_ODD = re.compile(r"--|/\*|[\\`$]")
"""Comments and other quotes, after which a quotation mark may not be one."""
_DECIMAL = re.compile(r"""'[^']*'|"[^"]*"|[^\W\d]\w*|(\d+\.\d*|\.\d+)(?![\w.])""")
"""Group 1 is a number such as 9.5. Polars would compare it with text letter by letter, but not 9.5e0."""
_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|(\b[a-z]\w*)\s*\(|[(),\[\]]""", re.IGNORECASE)
_HELPER = " sql "
"""Begins the names of columns that hold the value of such a function; no column of a data set begins so."""


def add_expression(
    frame: pl.DataFrame, text: str, where: str, by: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.Expr]:
    """The expression of an SQL text, and the frame on which it can be evaluated.

    The frame has a helper column for each call of one of :data:`FUNCTIONS`; :func:`drop_helpers` drops them.
    ``by`` are the columns of the groups in which ``MAJORITY`` counts.

    Raises :class:`ConfigError` for what is no expression over the columns of a row.
    """
    refuse_tables(text, where)
    plain, frame = _replace_calls(frame, text, where, by)
    return frame, parse(plain, where, text)


def drop_helpers(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame without helper columns."""
    return frame.select(name for name in frame.columns if not name.startswith(_HELPER))


def refuse_tables(text: str, where: str) -> None:
    """Raise :class:`ConfigError` for an expression that names a table: polars would read any file or URL."""
    if _OTHER_TABLE.search(text if _ODD.search(text) else _QUOTED.sub("''", text)):
        raise ConfigError(
            f"{where}={quote_text(text)}: sees only its own row, so it cannot select from a table or file"
        )


def parse(text: str, where: str, shown: str = "") -> pl.Expr:
    """The expression of an SQL text that has only functions of polars; ``shown`` is it as it was typed."""
    try:
        return pl.sql_expr(_DECIMAL.sub(lambda found: f"{found[1]}e0" if found[1] else found[0], text))
    except pl.exceptions.PolarsError as error:
        raise ConfigError(
            f"{where}={quote_text(shown or text)} is not a SQL expression: {explain(error, FUNCTIONS)}"
        ) from error


def _replace_calls(frame: pl.DataFrame, text: str, where: str, by: Sequence[str]) -> tuple[str, pl.DataFrame]:
    """The text with a helper column in place of each call, innermost first, and the frame with these."""
    while (call := _find_call(text)) is not None:
        start, end, name, given = call
        value = FUNCTIONS[name](
            frame, [each.strip() for each in given], f"{where}={quote_text(text[start:end])}", by
        )
        helper = f"{_HELPER}{sum(column.startswith(_HELPER) for column in frame.columns)}"
        frame = frame.with_columns(value.alias(helper))
        inside = f'FIRST("{helper}")' if name == MAJORITY else f'"{helper}"'
        text = f"{text[:start]}{inside}{text[end:]}"
    return text, frame


def _find_call(text: str) -> tuple[int, int, str, list[str]] | None:
    """The last call of one of :data:`FUNCTIONS`, which holds no other: its ends, name and arguments."""
    begins = [found for found in _TOKEN.finditer(text) if (found[1] or "").upper() in FUNCTIONS]
    if not begins:
        return None
    begin, depth, place, given = begins[-1], 0, begins[-1].end(), []
    for token in _TOKEN.finditer(text, begin.end()):
        if token[0].endswith(("(", "[")) and token[0][0] not in "'\"":
            depth += 1
        elif token[0] in ",)" and depth == 0:
            given.append(text[place : token.start()])
            place = token.end()
            if token[0] == ")":
                return begin.start(), token.end(), begin[1].upper(), given
        elif token[0] in ")]":
            depth -= 1
    return None


def _extract(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """REGEXP_EXTRACT(text, 'pattern'[, group]): of the first match the group, null without one."""
    texts, pattern, group = _read_text(given, where, "(text, 'pattern'), perhaps with a group", 3)
    groups = frame.clear().select(pl.lit("").str.extract_groups(pattern)).dtypes[0]
    count = len(groups.fields) if isinstance(groups, pl.Struct) else 0
    number = min(count, 1) if group is None else int(group) if group.isdecimal() else -1
    if not 0 <= number <= count:
        raise ConfigError(f"{where}: the pattern has no group {group}")
    return texts.str.extract(pattern, number)


def _read_json(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """JSON_VALUE(text, '$.path'): a value in a text that is JSON, as text; null without one."""
    texts, path, _ = _read_text(given, where, "(text, '$.path')", 2)
    return texts.str.json_path_match(path)


def _read_text(given: Sequence[str], where: str, form: str, most: int) -> tuple[pl.Expr, str, str | None]:
    """The text column, the quoted text behind it, and a third argument if there is one."""
    if not 2 <= len(given) <= most or not re.fullmatch(r"'(?:[^']|'')*'", given[1]):
        raise ConfigError(f"{where}: expected {form}")
    return parse(given[0], where), given[1][1:-1].replace("''", "'"), given[2] if len(given) > 2 else None


def _vote(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """MAJORITY(value): in a step ``group``, what more rows of the group have than anything else."""
    if not by:
        raise ConfigError(f"{where}: MAJORITY counts the rows of a group, so it belongs in a step 'group'")
    if len(given) != 1 or not given[0]:
        raise ConfigError(f"{where}: expected (value)")
    value = parse(given[0], where).drop_nulls()
    modes = value.mode()
    return pl.when(modes.len() == 1).then(modes.first()).over(by)


def _find_largest(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """ARG_MAX(list): the place of its largest number from 0; of equal ones the first, null without any."""
    if len(given) != 1 or not given[0]:
        raise ConfigError(f"{where}: expected (list)")
    return parse(given[0], where).list.arg_max()


def _choose_nearest(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """NEAREST(text, list): the first of the list's texts with the smallest edit distance to the text."""
    if len(given) != 2 or not all(given):
        raise ConfigError(f"{where}: expected (text, list)")
    text, options = (parse(each, where) for each in given)
    kind = frame.clear().select(options).dtypes[0]
    if kind not in (pl.List(pl.String), pl.Null, pl.List(pl.Null)):
        raise ConfigError(f"{where}: {given[1]} is {kind}, not a list of texts")
    return pl.struct(text.cast(pl.String).alias("text"), options.alias("options")).map_elements(
        lambda row: None if None in (row["text"], row["options"]) else find_nearest(**row),
        return_dtype=pl.String,
    )


def _find_part(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """STRPOS(text, part): where the part begins in the text, as it is written; from 1, 0 without it.

    That of polars takes the part for a regular expression, and counts bytes.
    """
    if len(given) != 2 or not all(given):
        raise ConfigError(f"{where}: expected (text, part)")
    text, part = (_require_text(frame, each, where) for each in given)
    found = pl.when(part == "").then(1).otherwise(text.str.split(part).list.first().str.len_chars() + 1)
    place = pl.when(text.str.contains(part, literal=True)).then(found).otherwise(0)
    return pl.when(text.is_not_null() & part.is_not_null()).then(place).cast(pl.Int64)


def _require_text(frame: pl.DataFrame, given: str, where: str) -> pl.Expr:
    value = parse(given, where)
    kind = frame.clear().select(value).dtypes[0]
    if kind not in (pl.String, pl.Null):
        raise ConfigError(f"{where}: {given} is {kind}, not a text")
    return value.cast(pl.String)


def _refuse_position(frame: pl.DataFrame, given: Sequence[str], where: str, by: Sequence[str]) -> pl.Expr:
    """POSITION is not taken: polars reads a regular expression there, and ``STRPOS`` finds a text."""
    raise ConfigError(f"{where}: write STRPOS(text, part), which finds the part as it is written")


MAJORITY = "MAJORITY"
Function = Callable[[pl.DataFrame, Sequence[str], str, Sequence[str]], pl.Expr]
FUNCTIONS: dict[str, Function] = {
    "REGEXP_EXTRACT": _extract,
    "JSON_VALUE": _read_json,
    "ARG_MAX": _find_largest,
    "NEAREST": _choose_nearest,
    "STRPOS": _find_part,
    "POSITION": _refuse_position,
    MAJORITY: _vote,
}
"""The functions that polars lacks, or has in another sense, by name. Each takes the frame, its arguments, its
place in the config and the columns of the groups."""


def is_one_value(frame: pl.DataFrame, expression: pl.Expr) -> bool:
    """Whether an expression gives one value for several rows, as ``AVG(x)`` does and ``x`` does not."""
    several = pl.concat([frame.head(1)] * 2) if frame.height else frame
    return several.select(expression).height == 1
