"""Take a model's thinking out of an answer: what it writes between tags before it answers is no answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SPACE = r"\s{0,4}"  # no more, since a model may write white space without end
_SPECIAL = re.compile(r"\s*(<[^<>\s]*>|\[/?[A-Z_]+\])?\s*")  # white space, or a tag such as <|im_end|>


class Parts(NamedTuple):
    """An answer without its thinking. ``answer`` is None where the thinking has no end."""

    answer: str | None
    thoughts: list[str]


def split_thinking(text: str, tags: Sequence[str]) -> Parts:
    """Split a text into answer and thoughts. ``tags`` open a thought; a slash in them closes it.

    Case does not matter, nor does white space inside a tag. Thoughts may be nested. A closing tag without an
    opening one ends a thought that began with the text (its tag stood in the prompt). A text without tags
    stays as it is; of any other the parts outside are joined, without white space at the ends.

    >>> split_thinking("<think>4? No.</think> 5", ["<think>"])
    Parts(answer='5', thoughts=['4? No.'])
    >>> split_thinking("<think>4? No, ", ["<think>"]).answer is None
    True
    """
    found = list(re.finditer("|".join(map(_make_pattern, tags)), text, re.IGNORECASE)) if tags else []
    if not found:
        return Parts(text, [])
    said: list[str] = []
    thoughts: list[str] = []
    opened: list[int] = []  # the tags that are open
    begin = 0
    for match in found:
        tag, closes = _identify(match)
        if opened and tag != opened[0]:
            continue
        (thoughts if opened else said).append(text[begin : match.start()])
        begin = match.end()
        if not closes:
            opened.append(tag)
        elif opened:
            opened.pop()
        else:
            thoughts, said = [*thoughts, *said], []
    (thoughts if opened else said).append(text[begin:])
    answer = None if opened else "".join(said).strip()
    return Parts(answer, [thought for part in thoughts if (thought := part.strip())])


def find_answer_tokens(tokens: Sequence[Mapping[str, Any]], answer: str) -> list[Mapping[str, Any]] | None:
    """Return the tokens of an answer that comes after a thought; None where they do not end with it.

    ``tokens`` have a ``token`` each, in the order of the text; tags after the answer are left out.
    """
    texts = [token["token"] for token in tokens]
    while texts and _SPECIAL.fullmatch(texts[-1]) and not answer.endswith(texts[-1].strip() or "\n"):
        texts.pop()
    whole = "".join(texts).rstrip()
    if not answer or not whole.endswith(answer):
        return None
    begin, position = len(whole) - len(answer), 0
    for index, text in enumerate(texts):
        if position + len(text) > begin:
            return None if text[: begin - position].strip() else list(tokens[index : len(texts)])
        position += len(text)
    return None


def _make_pattern(tag: str) -> str:
    """A group that matches the tag, or its closing form, whose slash is in a group of its own."""
    first, name, last = re.escape(tag[0]), re.escape(tag[1:-1].strip()), re.escape(tag[-1])
    return rf"({first}{SPACE}(/?){SPACE}{name}{SPACE}{last})"


def _identify(match: re.Match[str]) -> tuple[int, bool]:
    """Which tag was found, by its place among the tags, and whether it closes."""
    place = next(number for number in range(1, match.re.groups, 2) if match[number] is not None)
    return place, bool(match[place + 1])
