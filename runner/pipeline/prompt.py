"""Prompts: Jinja templates to chat messages, by the same function for inference, shots and training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.config.schema import PromptConfig, ShotPlacement
from runner.core.errors import ConfigError, PromptError, suggest
from runner.core.identity import digest
from runner.core.paths import PROMPTS
from runner.core.types import Message

SUFFIX = ".jinja"
UNNAMED = "<template>"
"""What Jinja calls the file of a template in tracebacks, in which it puts the template's own lines."""

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)


@dataclass(frozen=True)
class Prompt:
    """The compiled turns of a prompt. ``digest`` changes if and only if the prompt does."""

    config: PromptConfig
    system: Template | None
    user: Template
    assistant: Template
    digest: str

    def render_gold(self, row: Mapping[str, Any]) -> str:
        """Render the correct assistant turn of a row, which shots show and training teaches."""
        return self.assistant.render(_make_variables(row))

    def render_chat(self, row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]] = ()) -> list[Message]:
        """Render the chat for one row, up to the question.

        ``shots`` are rows of the train split. With the placement ``turns`` they become question and answer
        turns. With the placement ``user`` the template of the user turn loops over ``shots``; each is a row
        with its gold turn as ``gold``. Templates see each column by name, and the whole row as ``row``.
        """
        turns = self.config.shots.placement == ShotPlacement.turns
        chat: list[Message] = []
        if self.system:
            chat.append({"role": "system", "content": self.system.render(_make_variables(row))})
        for shot in shots if turns else ():
            chat.append({"role": "user", "content": self.user.render(_make_variables(shot))})
            chat.append({"role": "assistant", "content": self.render_gold(shot)})
        examples = [] if turns else [{**shot, "gold": self.render_gold(shot)} for shot in shots]
        chat.append({"role": "user", "content": self.user.render(_make_variables(row, examples))})
        return chat

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
    assistant = _compile_template(config.assistant, f"{key}.assistant")
    texts = [system.source if system else None, user.source, assistant.source]
    content = [*texts, str(config.shots.placement), str(config.response_format), config.json_schema]
    return Prompt(config, system, user, assistant, digest(content))


def _compile_template(value: str, key: str) -> Template:
    is_file = value.endswith(SUFFIX) and "\n" not in value
    source = _read_template(value, key) if is_file else value
    file = value if is_file else ""
    try:
        tree = _ENVIRONMENT.parse(source)
        compiled = _ENVIRONMENT.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        where = f"{file}, line" if file else "line"
        raise PromptError(f"{key}: {where} {error.lineno}: {error.message}") from error
    except (RecursionError, MemoryError, OverflowError, ValueError, SyntaxError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise PromptError(f"{key}: {file or 'the template'} cannot be compiled: {said}") from error
    return Template(key, file, source, frozenset(meta.find_undeclared_variables(tree)), compiled.render)


def _read_template(name: str, key: str) -> str:
    for folder in (Path(), *PROMPTS):
        if (folder / name).is_file():
            try:
                return (folder / name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{key}: {folder / name} cannot be read: {error}") from error
    files = {file.relative_to(folder).as_posix() for folder in PROMPTS for file in folder.rglob(f"*{SUFFIX}")}
    raise ConfigError(f"{key}: no prompt file {name!r}{suggest(name, files)}")
