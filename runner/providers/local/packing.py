"""Training rows as tokens, the batches they come in, and how a batch is packed into one sequence."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runner.core.errors import DataError


class Tokenizer(Protocol):
    """The tokenizer of inference; see :class:`runner.providers.local.llama.LoadedModel`."""

    def apply_chat_template(self, messages: list[Any]) -> str: ...

    def tokenize(self, text: str, *, begins: bool = False) -> list[int]: ...


@dataclass(frozen=True)
class Row:
    """A chat as tokens: the prompt as inference sees it, and the answer that is learned."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """The last turn's content, and the token that ends the turn."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Packed:
    """Rows in one sequence of N tokens; what they begin with in common stands there once.

    A token sees the tokens before it (by ``positions``) in its own ``segments`` and in segment 0, the
    common one. ``predict`` are the indices at which an answer's token is predicted, ``targets`` these tokens.
    """

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    segments: tuple[int, ...]
    predict: tuple[int, ...]
    targets: tuple[int, ...]


def encode(messages: Sequence[Any], tokenizer: Tokenizer) -> Row:
    """A chat as tokens, by the chat template and tokenizer of inference.

    The answer is tokenized by itself, since at inference it follows a prompt that is complete.
    """
    *turns, answer = messages
    prompt = tokenizer.apply_chat_template(turns)
    whole = tokenizer.apply_chat_template(list(messages))
    content = answer["content"]
    shown = next((text for text in (content, content.strip()) if whole.startswith(prompt + text)), None)
    if not shown:
        raise DataError("the model's chat template shows an answer otherwise than after its prompt")
    end = tokenizer.tokenize(whole[len(prompt) + len(shown) :])[:1]
    return Row(tuple(tokenizer.tokenize(prompt, begins=True)), (*tokenizer.tokenize(shown), *end))


def read_rows(content: bytes, name: str, tokenizer: Tokenizer, context_length: int) -> list[Row]:
    """The rows of a training file. Raises :class:`DataError` for one that is longer than the context."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        row = encode(json.loads(line)["messages"], tokenizer)
        check_length(row, f"{name}, line {number}", context_length)
        rows.append(row)
    return rows


def check_length(row: Row, where: str, context_length: int) -> None:
    """Raise :class:`DataError` for a row that is longer than the context."""
    if len(row) > context_length:
        raise DataError(f"{where}: {len(row)} tokens, more than provider.context_length={context_length}")


class Batches:
    """Which rows are seen when, by seed alone.

    An epoch takes ``round(weight * rows)`` rows of each file: every row once at weight 1, twice at 2, at 0.5
    one half in one epoch and the other half in the next. The files are mixed anew in every epoch.
    """

    def __init__(self, files: Sequence[tuple[Sequence[Row], float]], batch_size: int, seed: int) -> None:
        self._files = files
        self._size = batch_size
        self._seed = seed
        self._shares = [max(1, round(weight * len(rows))) for rows, weight in files]
        self.per_epoch = math.ceil(sum(self._shares) / batch_size)

    def draw_epoch(self, number: int) -> list[list[Row]]:
        """The batches of epoch ``number``, counted from 0."""
        rows = [
            rows[index]
            for file, ((rows, _), share) in enumerate(zip(self._files, self._shares, strict=True))
            for index in self._draw(file, len(rows), number * share, share)
        ]
        random.Random(f"{self._seed} epoch {number}").shuffle(rows)
        return [rows[start : start + self._size] for start in range(0, len(rows), self._size)]

    def _draw(self, file: int, count: int, start: int, share: int) -> Iterator[int]:
        """Places ``start`` to ``start + share`` in an endless row of shuffled rounds through a file."""
        order: list[int] = []
        for place in range(start, start + share):
            turn, index = divmod(place, count)
            if index == 0 or not order:
                order = list(range(count))
                random.Random(f"{self._seed} file {file} round {turn}").shuffle(order)
            yield order[index]


def pack(batch: Sequence[Row], most_tokens: int) -> Iterator[Packed]:
    """A batch as sequences of at most ``most_tokens`` (a longer row has one of its own)."""
    common = _count_common(batch)
    group: list[Row] = []
    for row in batch:
        tokens = common + sum(len(item) - common for item in (*group, row))
        if group and tokens > most_tokens:
            yield _pack_rows(group, common)
            group = []
        group.append(row)
    yield _pack_rows(group, common)


def _count_common(batch: Sequence[Row]) -> int:
    """Number of tokens that all prompts begin with; a prompt's last token, which predicts, stays its own."""
    shortest = min(len(row.prompt) for row in batch) - 1
    first = batch[0].prompt
    different = (
        place for place in range(shortest) if any(row.prompt[place] != first[place] for row in batch)
    )
    return max(0, next(different, shortest))


def _pack_rows(rows: Sequence[Row], common: int) -> Packed:
    tokens = list(rows[0].prompt[:common])
    positions = list(range(common))
    segments = [0] * common
    predict: list[int] = []
    targets: list[int] = []
    for segment, row in enumerate(rows, start=1):
        own = (*row.prompt[common:], *row.answer[:-1])
        first = len(tokens) + len(row.prompt) - common - 1
        predict += range(first, first + len(row.answer))
        targets += row.answer
        tokens += own
        positions += range(common, common + len(own))
        segments += [segment] * len(own)
    return Packed(tuple(tokens), tuple(positions), tuple(segments), tuple(predict), tuple(targets))
