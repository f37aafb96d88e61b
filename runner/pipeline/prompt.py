"""Prompts: Jinja templates to chat messages, by the same function for inference, shots and training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.config.schema import PromptConfig, ShotPlacement
from runner.core.errors import DataError, PromptError, suggest
from runner.core.identity import digest
from runner.core.types import Message, write_value
from runner.pipeline.template import GOLD_ENVIRONMENT, EmptyGoldError, Template, compile_template


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
        except EmptyGoldError:
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

    def render_training_chat(self, row: Mapping[str, Any]) -> list[Message]:
        """Render the chat for one row, without shots, with the gold turn appended."""
        return [*self.render_chat(row), {"role": "assistant", "content": self.render_gold(row)}]

    def find_columns(self, columns: Sequence[str]) -> list[str]:
        """Return those of the rows' columns that a question shows; all of them if it shows the whole row."""
        turns = [turn.variables for turn in (self.system, self.user) if turn]
        names = frozenset().union(*turns)
        return [name for name in columns if "row" in names or name in names]

    def find_oversight(self, columns: Sequence[str]) -> str:
        """What a question was probably meant to show of a row and does not; empty if nothing is amiss.

        That is a column in single braces, as Python writes it, or any column at all.
        """
        shown = self.find_columns(columns)
        source = "\n".join(turn.source for turn in (self.system, self.user) if turn)
        for name in columns:
            if name not in shown and re.search(rf"(?<![\w{{}}$\\]){{\s*{re.escape(name)}\s*}}(?!}})", source):
                return f"{{{name}}} is sent as it stands; the column is written {{{{ {name} }}}}"
        if shown:
            return ""
        return f"shows no column of the rows, so that all rows are asked the same ({', '.join(columns)})"

    def check(self, columns: Sequence[str], key: str = "prompt") -> None:
        """Raise :class:`PromptError` for a template that names a column which the rows do not have."""
        for name in ("system", "user", "assistant"):
            template = getattr(self, name)
            names = {*columns, "row", "shots"} if name == "user" else {*columns, "row"}
            missing = sorted(template.variables - names) if template else []
            if missing:
                hint, place = suggest(missing[0], columns), template.find_place(missing[0])
                raise PromptError(f"{key}.{name}: {place}uses {missing[0]!r}, which is not a column{hint}")


def _make_variables(row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    return {**row, "row": row, "shots": shots}


def compile_prompt(config: PromptConfig, key: str = "prompt") -> Prompt:
    """Read and compile the templates of a prompt; ``key`` is its place in the config, for messages."""
    system = compile_template(config.system, f"{key}.system") if config.system else None
    user = compile_template(config.user, f"{key}.user")
    assistant = compile_template(config.assistant, f"{key}.assistant", GOLD_ENVIRONMENT)
    texts = [system.source if system else None, user.source, assistant.source]
    content = [*texts, str(config.shots.placement), str(config.response_format), config.json_schema]
    return Prompt(config, system, user, assistant, digest(content))
