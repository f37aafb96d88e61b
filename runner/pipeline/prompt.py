"""Prompts: Jinja templates to chat messages, by the same function for inference, shots and training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from runner.config.schema import PromptConfig, ShotPlacement
from runner.core.errors import ConfigError, DataError, PromptError, suggest
from runner.core.identity import digest
from runner.core.paths import PROMPTS
from runner.core.types import Message, write_value

SUFFIX = ".jinja"
UNNAMED = "<template>"
"""What Jinja calls the file of a template in tracebacks, in which it puts the template's own lines."""

_TEXT_FILTERS = (
    "capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower", "replace", "string",
    "striptags", "title", "trim", "truncate", "upper", "urlize", "wordcount", "wordwrap",
)  # fmt: skip
"""Filters of Jinja that turn their value into text; two of them do so with all that is given to them."""


class _EmptyGold(Exception):
    """A gold turn shows an empty cell."""


def _write_gold(value: Any) -> str:
    """A value in a gold turn: of several acceptable answers the first; an empty cell is an error."""
    while isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None:
        raise _EmptyGold
    return write_value(value)


def _write_json(value: Any, indent: int | None = None) -> str:
    """JSON for a model to read; Jinja's own is for web pages, and writes ü and < as escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=write_value)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja that turns values into text by ``write`` wherever it does so itself.

    That is in output, after ``~``, in ``%`` and ``format``, and in filters.
    """

    intercepted_binops = frozenset("%")

    def __init__(self, write: Callable[[Any], str]) -> None:
        super().__init__(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self._write = write
        self.finalize = self._finalize
        self.filters |= {name: self._read_text(self.filters[name], name) for name in _TEXT_FILTERS}
        self.filters["join"] = self._join_texts(self.filters["join"])
        self.filters["tojson"] = _write_json

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
        return value if isinstance(value, jinja2.Undefined) else self._write(value)

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
_GOLD_ENVIRONMENT = _Environment(_write_gold)


@dataclass(frozen=True)
class Prompt:
    """The compiled turns of a prompt. ``digest`` changes if and only if the prompt does."""

    config: PromptConfig
    system: Template | None
    user: Template
    assistant: Template
    digest: str

    def render_gold(self, row: Mapping[str, Any]) -> str:
        """Render the correct assistant turn of a row, which shots show and training teaches.

        Of a list of acceptable answers it shows the first. Raises :class:`DataError` for a row that has none:
        the template shows an empty cell, or nothing at all.
        """
        try:
            text = self.assistant.render(_make_variables(row))
        except _EmptyGold:
            text = ""
        if not text:
            raise DataError(self._describe_empty_gold(row))
        return text

    def _describe_empty_gold(self, row: Mapping[str, Any]) -> str:
        shown = sorted(name for name in self.assistant.variables if name in row)
        empty = [name for name in shown if write_value(row[name]).strip() in ("", "[]", "[null]")]
        why = f"the column {empty[0]!r} is empty" if empty else "what the template shows is empty"
        return (
            f"row {row.get('id')}: prompt.assistant has nothing to show or to teach, since {why};"
            " leave such rows out by a filter in dataset.steps"
        )

    def render_chat(self, row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]] = ()) -> list[Message]:
        """Render the chat for one row, up to the question.

        ``shots`` are rows of the train split. With the placement ``turns`` they become question and answer
        turns. With the placement ``user`` the template of the user turn loops over ``shots``; each is a row
        with its gold turn as ``gold``. Templates see each column by name, and the whole row as ``row``.
        Values are written as :func:`runner.core.types.write_value` does.
        """
        turns = self.config.shots.placement == ShotPlacement.turns
        chat: list[Message] = []
        if self.system:
            chat.append({"role": "system", "content": self.system.render(_make_variables(row))})
        for shot in shots if turns else ():
            chat.append({"role": "user", "content": self.user.render(_make_variables(shot))})
            chat.append({"role": "assistant", "content": self.render_gold(shot)})
        examples = [] if turns else [self._make_example(shot) for shot in shots]
        chat.append({"role": "user", "content": self.user.render(_make_variables(row, examples))})
        return chat

    def _make_example(self, shot: Mapping[str, Any]) -> dict[str, Any]:
        """A shot for the user template; without ``gold`` where the prompt has no gold turn at all."""
        return {**shot, "gold": self.render_gold(shot)} if self.assistant.source.strip() else dict(shot)

    def render_training_chat(
        self, row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]] = ()
    ) -> list[Message]:
        """Render the chat for one row with the gold turn appended."""
        return [*self.render_chat(row, shots), {"role": "assistant", "content": self.render_gold(row)}]

    def check(self, columns: Sequence[str], key: str = "prompt") -> None:
        """Raise :class:`PromptError` for a template that names a column which the rows do not have."""
        names = {*columns, "row", "shots"}
        for name in ("system", "user", "assistant"):
            template = getattr(self, name)
            missing = sorted(template.variables - names) if template else []
            if missing:
                hint, file = suggest(missing[0], columns), f"{template.file} " if template.file else ""
                raise PromptError(f"{key}.{name}: {file}uses {missing[0]!r}, which is not a column{hint}")


@dataclass(frozen=True)
class Template:
    """A compiled text and the names of its variables. ``file`` is empty if the text is in the config."""

    key: str
    file: str
    source: str
    variables: frozenset[str]
    render_text: Callable[[Mapping[str, Any]], str]

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with the values filled in, without surrounding white space.

        Raises :class:`PromptError` with the template, the line and the row for whatever goes wrong in it.
        """
        try:
            return self.render_text(values).strip()
        except _EmptyGold:
            raise
        except Exception as error:  # a template is a small program, and can fail like any
            lines = [
                line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == UNNAMED
            ]
            place = f", line {lines[-1]}" if lines else ""
            row = f" (row {values['id']})" if "id" in values else ""
            known = isinstance(error, jinja2.TemplateError)
            reason = str(error) if known else f"{type(error).__name__}: {error}".removesuffix(": ")
            raise PromptError(f"{self.file or self.key}{place}{row}: {reason}") from error


def _make_variables(row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    return {**row, "row": row, "shots": shots}


def compile_prompt(config: PromptConfig, key: str = "prompt") -> Prompt:
    """Read and compile the templates of a prompt; ``key`` is its place in the config, for messages."""
    system = _compile_template(config.system, f"{key}.system") if config.system else None
    user = _compile_template(config.user, f"{key}.user")
    assistant = _compile_template(config.assistant, f"{key}.assistant", _GOLD_ENVIRONMENT)
    texts = [system.source if system else None, user.source, assistant.source]
    content = [*texts, str(config.shots.placement), str(config.response_format), config.json_schema]
    return Prompt(config, system, user, assistant, digest(content))


def _compile_template(value: str, key: str, environment: jinja2.Environment = _ENVIRONMENT) -> Template:
    is_file = value.endswith(SUFFIX) and "\n" not in value
    source = _read_template(value, key) if is_file else value
    file = value if is_file else ""
    try:
        tree = environment.parse(source)
        names = frozenset(meta.find_undeclared_variables(tree))
        compiled = environment.from_string(_JoinTexts().visit(tree))
    except jinja2.TemplateSyntaxError as error:
        where = f"{file}, line" if file else "line"
        raise PromptError(f"{key}: {where} {error.lineno}: {error.message}") from error
    except (RecursionError, MemoryError, OverflowError, ValueError, SyntaxError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise PromptError(f"{key}: {file or 'the template'} cannot be compiled: {said}") from error
    return Template(key, file, source, names, compiled.render)


def _read_template(name: str, key: str) -> str:
    for folder in (Path(), *PROMPTS):
        if (folder / name).is_file():
            try:
                return (folder / name).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{key}: {folder / name} cannot be read: {error}") from error
    files = {file.relative_to(folder).as_posix() for folder in PROMPTS for file in folder.rglob(f"*{SUFFIX}")}
    raise ConfigError(f"{key}: no prompt file {name!r}{suggest(name, files)}")
