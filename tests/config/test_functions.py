"""A plain function as a metric or as a parser."""

from __future__ import annotations

import pytest

from runner.config.instantiate import instantiate
from runner.core.errors import ConfigError


def share(frame: list[int], value: int) -> float:
    """A metric."""
    return frame.count(value) / len(frame)


def shout(text: str) -> str:
    """A parser."""
    return text.upper()


def join(rows: str, mark: str) -> str:
    """A function whose first parameter does not say when it is given."""
    return rows + mark


def make(text: str = "x") -> str:
    """A function that needs nothing, and so makes the object."""
    return text


def node(function: object, **options: object) -> dict[str, object]:
    return {"_target_": f"{__name__}.{getattr(function, '__name__', '')}", **options}


@pytest.mark.parametrize("partial", [{}, {"_partial_": True}])
def test_a_function_of_the_frame_or_the_text_is_called_later(partial):
    """The run gives its first parameter, the config the others; ``_partial_`` may stand there or not."""
    assert instantiate(node(share, value=1, **partial), "metric.share")([1, 2]) == 0.5
    assert instantiate(node(shout, **partial), "prompt.parser")("a") == "A"


def test_other_functions_are_called_at_once():
    """A function that has all it needs makes the object; one that lacks a value is told of it."""
    assert instantiate(node(make), "prompt.parser") == "x"
    assert instantiate(node(join, rows="a", mark="!"), "metric.join") == "a!"
    with pytest.raises(
        ConfigError, match=r"metric\.join\.rows: a value is required; _partial_: true if the run"
    ):
        instantiate(node(join, mark="!"), "metric.join")
    with pytest.raises(ConfigError, match=r"metric\.share\.value: a value is required"):
        instantiate(node(share), "metric.share")
