"""Read an object that is almost JSON and has one reading: as Python writes it, or with a comma too many."""

from __future__ import annotations

import ast
import re
from typing import Any

ABSENT = object()
DOUBTFUL = object()
"""In place of the value of a key that an object has twice with different values."""

_BEGINS = re.compile(r"\{\s*['\"]")
_PIECE = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[{}'\"]")
_NAMES = {"true": True, "false": False, "null": None}
_LONG = 20_000


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type."""
    return type(one) is type(other) and bool(one == other)


def join_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of pairs. A key that comes twice with different values is :data:`DOUBTFUL`."""
    joined: dict[str, Any] = {}
    for key, value in pairs:
        joined[key] = value if key not in joined or is_same(joined[key], value) else DOUBTFUL
    return joined


def read_literal(text: str, start: int) -> tuple[Any, int]:
    """The object that begins at a place and the place after it; :data:`ABSENT` if there is none.

    >>> read_literal("{'rating': 4, 'true': True,}", 0)
    ({'rating': 4, 'true': True}, 28)
    """
    end = _find_end(text, start) if _BEGINS.match(text, start) else 0
    # escapes that Python and JSON read differently
    if not end or re.search(r"\\[^\\'\"nrtbfu]", text[start:end]):
        return ABSENT, 0
    try:
        return _read(ast.parse(text[start:end], mode="eval").body), end
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ABSENT, 0


def _find_end(text: str, start: int) -> int:
    depth = 0
    for piece in _PIECE.finditer(text, start, start + _LONG):
        if piece[0] in "'\"":
            return 0
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if depth == 0:
            return piece.end()
    return 0


def _read(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=values):
            return [_read(value) for value in values]
        case ast.Dict(keys=keys, values=values):
            return join_pairs(
                [(_read_key(key), _read(value)) for key, value in zip(keys, values, strict=True)]
            )
    raise ValueError("not JSON")


def _read_key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("not JSON")
