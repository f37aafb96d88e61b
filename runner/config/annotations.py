"""Whether a value fits the annotation of the parameter that takes it."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from runner.core.errors import suggest

LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)
SCALARS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    type(None): (type(None),),
    dict: (Mapping,),
    Mapping: (Mapping,),
    **dict.fromkeys((list, tuple, Sequence), (list, tuple)),
}


def read_hints(target: Any) -> dict[str, Any]:
    """The annotations of a constructor's or a function's parameters, by name; those that are known.

    Includes the attributes that a class declares, since a plain subclass of ``Provider`` takes these.
    """
    if not isinstance(target, type):
        return _resolve(target)
    return _resolve(target) | ({} if is_dataclass(target) else _resolve(target.__init__))  # type: ignore[misc]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of a config is of an annotated type. True where this cannot be told.

    A node with ``_target_`` fits anything, since an object takes its place. A truth value is no number, and a
    whole number is a float.

    >>> fits("3", int), fits(3, float), fits([1], list[str] | None), fits(None, str | None)
    (False, True, False, True)
    """
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is Annotated:
        return fits(value, inner[0])
    if origin in LISTS:
        each = inner[0] if inner and (origin is not tuple or inner[1:] == (...,)) else Any
        return isinstance(value, list | tuple) and all(fits(item, each) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(fits(item, inner[1]) for item in value.values())
    kinds = SCALARS.get(hint) if isinstance(hint, type | type(None)) else None
    if hint in (int, float) and isinstance(value, bool):
        return False
    return kinds is None or isinstance(value, kinds)


def show_hint(hint: Any) -> str:
    """An annotation as it is written in the code.

    >>> show_hint(int), show_hint(Sequence[str] | None)
    ('int', 'Sequence[str] | None')
    """
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    return re.sub(r"(\w+\.)+(?=\w)", "", str(hint))


def explain_misfit(value: Any, hint: Any, taker: str) -> str:
    """Why a value does not fit an annotation, for a message: what is possible, and how a text is written.

    >>> explain_misfit("makro", Literal["binary", "macro"], "F1")
    "'makro' is not possible; did you mean 'macro'? (binary, macro)"
    >>> explain_misfit("3", int, "F1")
    "'3' is of the wrong type; F1 takes int"
    """
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    named = [part for part in parts if part is not type(None)]
    if value is None:
        return f"a value is required; {taker} takes {show_hint(hint)}"
    if named and all(get_origin(part) is Literal for part in named) and not isinstance(value, bool):
        options = [str(option) for part in named for option in get_args(part)]
        return f"{value!r} is not possible{suggest(str(value), options)}"
    said = f"{value!r} is of the wrong type; {taker} takes {show_hint(hint)}"
    if has_truth_value(value):
        return f"{said}; YAML reads yes, no, on and off as truth values, so put quotes around them"
    is_text = isinstance(value, int | float) and fits("", hint)
    return said + (f"""; for the text write '"{value}"'""" if is_text else "")


def has_truth_value(value: Any) -> bool:
    """Whether a value is or contains true or false, as YAML reads yes, no, on and off."""
    if isinstance(value, Mapping):
        return any(has_truth_value(item) for item in (*value, *value.values()))
    return isinstance(value, bool) or (isinstance(value, list) and any(map(has_truth_value, value)))


def _resolve(thing: Any) -> dict[str, Any]:
    try:
        return get_type_hints(thing)
    except Exception:  # a name that is imported for type checkers only
        return {}
