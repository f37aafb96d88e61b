"""Say what is wrong with an SQL expression that polars refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

KNOWN = (
    "ABS", "ARRAY_CONTAINS", "ARRAY_GET", "ARRAY_LENGTH", "ARRAY_TO_STRING", "AVG", "CAST", "CEIL",
    "COALESCE", "CONCAT", "CONCAT_WS", "COUNT", "ENDS_WITH", "EXP", "FIRST", "FLOOR", "GREATEST", "IF",
    "INITCAP", "LAST", "LEAST", "LEFT", "LENGTH", "LN", "LOG", "LOWER", "LPAD", "LTRIM", "MAX", "MEDIAN",
    "MIN", "MOD", "NULLIF", "POW", "REGEXP_LIKE", "REGEXP_REPLACE", "REPLACE", "REVERSE", "RIGHT", "ROUND",
    "RPAD", "RTRIM", "SIGN", "SPLIT_PART", "SQRT", "STARTS_WITH", "STDDEV", "STRING_TO_ARRAY", "STRPOS",
    "SUBSTR", "SUM", "TRIM", "TRY_CAST", "UPPER", "VARIANCE",
)  # fmt: skip
"""Functions of polars that help in steps, to name the nearest one; polars itself cannot list its own."""
OTHER_NAMES = {"LEN": "LENGTH", "SUBSTRING": "SUBSTR", "MEAN": "AVG", "IFNULL": "COALESCE", "INSTR": "STRPOS"}
"""What other databases call some of them."""
_UNKNOWN = re.compile(r"unsupported function '(\w+)'")


def explain(error: Exception, also: Iterable[str]) -> str:
    """What polars says of an expression; of an unknown function also the nearest name, ``also`` among them.

    >>> explain(ValueError("unsupported function 'lenght'"), ["ARG_MAX"])
    "there is no function LENGHT; did you mean LENGTH? docs/reference.md lists them under 'SQL in steps'"
    """
    found = _UNKNOWN.search(str(error))
    if found is None:
        return str(error)
    name = found[1].upper()
    close = (
        [OTHER_NAMES[name]]
        if name in OTHER_NAMES
        else get_close_matches(name, [*KNOWN, *also], n=1, cutoff=0.7)
    )
    hint = f"did you mean {close[0]}? " if close else ""
    return f"there is no function {name}; {hint}docs/reference.md lists them under 'SQL in steps'"


def advise_on_quotes(name: str, step: Any) -> str:
    """What to say of an unknown column that stands in double quotes in an expression of a step.

    >>> print(advise_on_quotes("yes", {"a": 'said = "yes"'}) + advise_on_quotes("yes", "said = yes"))
    ; "yes" is a column's name, and a text takes single quotes: 'yes'
    """
    if not any(f'"{name}"' in text for text in _list_texts(step)):
        return ""
    return f"; \"{name}\" is a column's name, and a text takes single quotes: '{name}'"


def _list_texts(step: Any) -> Iterator[str]:
    if isinstance(step, str):
        yield step
    elif isinstance(step, Mapping):
        for key, value in step.items():
            yield from (*_list_texts(key), *_list_texts(value))
