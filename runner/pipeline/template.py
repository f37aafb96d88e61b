"""Templates: Jinja that writes values as files do, and refuses to show what is no value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import wraps
from pathlib import Path, PurePath
from traceback import walk_tb
from types import NoneType
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from runner.config.hydra_job import list_config_folders
from runner.core.errors import ConfigError, PromptError, describe_decoding, suggest
from runner.core.paths import PROMPTS, show_file
from runner.core.types import write_value

SUFFIX = ".jinja"
UNNAMED = "<template>"
"""What Jinja calls the file of a template in tracebacks, in which it puts the template's own lines."""

_TEXT_FILTERS = (
    "capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower", "replace", "string",
    "striptags", "title", "trim", "truncate", "upper", "urlize", "wordcount", "wordwrap",
)  # fmt: skip
"""Filters of Jinja that turn their value into text; two of them do so with all that is given to them."""


class EmptyGoldError(Exception):
    """A gold turn shows an empty cell."""


def _write_gold(value: Any) -> str:
    """A value in a gold turn: of several acceptable answers the first; an empty cell is an error."""
    while isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None:
        raise EmptyGoldError
    return write_value(value)


_VALUES = (str, int, float, Decimal, list, tuple, dict, date, time, timedelta, NoneType)
"""The types of values that a row may have."""

_ODD = {"lipsum", "pprint", "random"}
"""What Jinja has and a prompt must not: a text that differs each time, or values as Python writes them."""


_LOADING: Any = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def _describe_odd(value: Any) -> str:
    """What a template shows that is no value of a row."""
    if isinstance(value, Iterable):
        return f"shows a {type(value).__name__}; make a value of it by | list, | join or a loop"
    if callable(value):
        return f"shows the function {getattr(value, '__name__', value)!r}, which must be called: add ()"
    return f"shows a {type(value).__name__}, which is no value"


class _Missing(jinja2.StrictUndefined):
    """What a template names and nothing has; of a row or an object its fields are told."""

    @property
    def _undefined_message(self) -> str:
        if not isinstance(self._undefined_obj, dict):
            return super()._undefined_message
        known = [str(name) for name in self._undefined_obj]
        return f"no field {self._undefined_name!r}{suggest(str(self._undefined_name), known)}"


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja that turns values into text by ``write`` wherever it does so itself.

    That is in output, after ``~``, in ``%`` and ``format``, and in filters. What is no value, such as a
    method that is not called, is an error. ``x.items`` is the field ``items`` where an object has one.
    """

    intercepted_binops = frozenset("%")

    def __init__(self, write: Callable[[Any], str]) -> None:
        super().__init__(undefined=_Missing, trim_blocks=True, lstrip_blocks=True)
        self._write = write
        self.finalize = self._finalize
        self.filters |= {name: self._read_text(self.filters[name], name) for name in _TEXT_FILTERS}
        self.filters["join"] = self._join_texts(self.filters["join"])
        self.filters |= {name: self._read_number(self.filters[name], name) for name in ("int", "float")}
        self.filters["tojson"] = self._write_json
        for name in _ODD:
            self.filters.pop(name, None)
            self.globals.pop(name, None)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``: a field of this name comes before Python's method."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """``%``; the values that a text takes are written first."""
        if isinstance(left, str):
            right = tuple(map(self._soften, right)) if isinstance(right, tuple) else self._soften(right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Any:
        """``format`` of a text; the values that it takes are written first."""
        plain = super().wrap_str_format(value)
        return plain and (
            lambda *given, **named: plain(
                *map(self._soften, given), **{name: self._soften(item) for name, item in named.items()}
            )
        )

    def _finalize(self, value: Any) -> Any:
        if isinstance(value, jinja2.Undefined):
            return value
        if not isinstance(value, _VALUES):
            raise jinja2.TemplateRuntimeError(_describe_odd(value))
        return self._write(value)

    def _write_json(self, value: Any, indent: int | None = None) -> str:
        """JSON for a model to read; Jinja's own is for web pages, and writes ü and < as escapes."""
        if value is None:
            self._finalize(value)  # which a gold turn refuses
        return json.dumps(
            value, ensure_ascii=False, indent=indent, default=lambda item: str(self._finalize(item))
        )

    def _read_number(self, plain: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(plain)
        def apply(value: Any, default: Any = None, *rest: Any, **named: Any) -> Any:
            number = plain(value, default, *rest, **named)
            if number is None and value is not None:
                raise jinja2.TemplateRuntimeError(f"{name}: {value!r} is no number")
            return number

        return apply

    def _soften(self, value: Any) -> Any:
        """The value as text unless it is a number, which may be formatted."""
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return value if plain or isinstance(value, dict) else self._finalize(value)

    def _read_text(self, plain: Callable[..., Any], name: str) -> Callable[..., Any]:
        place = 1 if hasattr(plain, "jinja_pass_arg") else 0

        @wraps(plain)  # with the mark by which Jinja knows what to give first
        def apply(*given: Any, **named: Any) -> Any:
            rest = given[place + 1 :]
            if name in ("format", "replace"):
                rest = tuple(map(self._soften, rest))
                named = {key: self._soften(value) for key, value in named.items()}
            return plain(*given[:place], self._finalize(given[place]), *rest, **named)

        return apply

    def _join_texts(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def apply(context: Any, value: Any, d: str = "", attribute: Any = None) -> Any:
            items = value if attribute is None else map(make_attrgetter(self, attribute), value)
            return plain(context, [self._finalize(item) for item in items], d)

        return apply


class _JoinTexts(NodeTransformer):
    """Makes each side of ``~`` a text, as output is."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [
            nodes.Filter(part, "string", [], [], None, None, lineno=part.lineno, environment=part.environment)
            for part in node.nodes
        ]
        return node


_ENVIRONMENT = _Environment(write_value)
GOLD_ENVIRONMENT = _Environment(_write_gold)


@dataclass(frozen=True)
class Template:
    """A compiled text and the names of its variables. ``file`` is empty if the text is in the config."""

    key: str
    file: str
    source: str
    variables: frozenset[str]
    render_text: Callable[[Mapping[str, Any]], str]

    def find_place(self, name: str) -> str:
        """The file and the line in which a variable is used first; a text of one line has no place."""
        lines = [
            node.lineno for node in _ENVIRONMENT.parse(self.source).find_all(nodes.Name) if node.name == name
        ]
        if self.file:
            return f"{self.file}, line {min(lines, default=1)}, "
        return f"line {min(lines, default=1)} of the text " if "\n" in self.source.strip() else ""

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with the values filled in, without surrounding white space.

        Raises :class:`PromptError` with the template, the line and the row for whatever goes wrong in it.
        """
        try:
            return self.render_text(values).strip()
        except EmptyGoldError:
            raise
        except Exception as error:  # a template is a small program, and can fail like any
            lines = [
                line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == UNNAMED
            ]
            place = ", ".join(filter(None, [self.file, f"line {lines[-1]}" if lines else ""]))
            place += " of the text" if place and not self.file else ""
            row = f"row {values['id']}" if "id" in values else ""
            where = f"{place} ({row})" if place and row else place or row
            known = isinstance(error, jinja2.TemplateError)
            reason = str(error) if known else f"{type(error).__name__}: {error}".removesuffix(": ")
            raise PromptError(": ".join(filter(None, [self.key, where, reason]))) from error


def compile_template(value: str, key: str, environment: jinja2.Environment = _ENVIRONMENT) -> Template:
    is_file = value.endswith(SUFFIX) and "\n" not in value
    source = _read_template(value, key) if is_file else value
    file = value if is_file else ""
    try:
        tree = environment.parse(source)
        if other := tree.find(_LOADING):
            raise jinja2.TemplateSyntaxError("a template cannot load another one", other.lineno)
        names = frozenset(meta.find_undeclared_variables(tree))
        compiled = environment.from_string(_JoinTexts().visit(tree))
    except jinja2.TemplateSyntaxError as error:
        where = f"{file}, line {error.lineno}" if file else f"line {error.lineno} of the text"
        raise PromptError(f"{key}: {where}: {error.message}") from error
    except (RecursionError, MemoryError, OverflowError, ValueError, SyntaxError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise PromptError(f"{key}: {file or 'the template'} cannot be compiled: {said}") from error
    return Template(key, file, source, names, compiled.render)


def _read_template(name: str, key: str) -> str:
    """The text of a template file, from the first of the places where there is one."""
    beside = list_config_folders()
    folders = [*(folder / "prompts" for folder in beside), *beside, Path(), *PROMPTS]
    for folder in folders:
        if (folder / name).is_file():
            try:
                return (folder / name).read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise PromptError(f"{key}: {name}, {describe_decoding(error)}") from error
            except OSError as error:
                raise ConfigError(f"{key}: {folder / name} cannot be read: {error}") from error
    raise ConfigError(
        f"{key}: no prompt file {name!r}{_suggest_file(name, [*folders[: len(beside)], *PROMPTS])}"
    )


def _suggest_file(name: str, folders: Sequence[Path]) -> str:
    """The nearest template, one's own before a shipped one, and the folders that were searched."""
    own, shipped = _list_templates(folders[:-1]), _list_templates(folders[-1:])
    stem = PurePath(name).stem
    near = get_close_matches(name, own, n=1, cutoff=0.7) or get_close_matches(name, shipped, n=1, cutoff=0.7)
    near = near or [file for file in own if PurePath(file).stem == stem]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    places = ", ".join([*(show_file(folder) for folder in folders[:-1]), "the shipped prompts"])
    return f" in {places}{hint}"


def _list_templates(folders: Sequence[Path]) -> list[str]:
    return [
        file.relative_to(folder).as_posix()
        for folder in folders
        for file in folder.rglob(f"*{SUFFIX}")
        if file.is_file()
    ]
