"""What a user's own class does is part of its identity; what it looks like is not."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from runner.core.adapt import adapt
from runner.core.errors import ConfigError
from runner.core.identity import identify, identify_code
from runner.providers.openai import OpenAI
from runner.providers.replay import Replay

MINE = """
import json
import words
from words import greet, TONE
from words import *
from runner.core.provider import Provider
from runner.core.types import Completion

TABLE = {}
TABLE["a"] = 1

def unused():
    return 1

def shorten(text):
    return cut(text, 3)

def cut(text, length):
    return text[:length]

class Base(Provider):
    model = "m"

    async def complete(self, request):
        return Completion(text=self.say())

class Helper:
    name = "helper"

class Mine(Base):
    '''Says something.'''

    max_concurrency = 3

    def say(self):
        from late import finish
        return finish(shorten(greet() + TONE + starred() + words.shout("x") + Helper.name + str(TABLE)))

    def rate_limits(self):
        return None
"""
WORDS = """
TONE = "mild"

def greet():
    return inner()

def inner():
    return "hello"

def starred():
    return "*"

def shout(text):
    return text.upper()
"""
LATE = """
def finish(text):
    return text + "."
"""


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """The digest of ``Mine`` in modules with these changes, imported anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = {"mine": MINE, "words": WORDS, "late": LATE}

    def write(*changes: tuple[str, str]) -> str:
        for name, text in texts.items():
            for old, new in changes:
                text = text.replace(old, new)
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return identify_code(importlib.import_module("mine").Mine)["code"]

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    for name in texts:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "change",
    [
        ("finish(shorten(", "finish(str("),
        ("text=self.say()", "text=self.say() + '!'"),
        ("text[:length]", "text[length:]"),
        ("cut(text, 3)", "cut(text, 4)"),
        ('TABLE["a"] = 1', 'TABLE["a"] = 2'),
        ('TONE = "mild"', 'TONE = "harsh"'),
        ('return "hello"', 'return "bye"'),
        ('return "*"', 'return "+"'),
        ("text.upper()", "text.lower()"),
        ('name = "helper"', 'name = "other"'),
        ('text + "."', 'text + "?"'),
    ],
    ids=lambda change: change[1],
)
def test_what_the_class_does_identifies_it(digest_of, change):
    """Its methods, its bases, and the functions and constants that it uses, in whatever own module."""
    assert digest_of(change) != digest_of()


@pytest.mark.parametrize(
    "change",
    [
        ("Says something.", "Says nothing."),
        ("def say(self):", "def say(self):  # a comment\n"),
        ("return inner()", "return (inner(\n))"),
        ("def unused():\n    return 1", "def unused():\n    return 2"),
        ("max_concurrency = 3", "max_concurrency = 4"),
        ("def rate_limits(self):\n        return None", "def rate_limits(self):\n        return 5"),
        ("import json\n", "import json\nimport os\n"),
    ],
    ids=lambda change: change[1],
)
def test_what_it_looks_like_does_not(digest_of, change):
    """Comments, docstrings, formatting, pace, and what else is in the file."""
    assert digest_of(change) == digest_of()


def test_shipped_providers_are_identified_as_before():
    """What was bought from them stays bought."""
    assert "code" not in {**OpenAI(model="m").identity(), **Replay().identity()}


def test_a_subclass_of_a_shipped_provider_has_its_code(digest_of):
    """An overridden method changes the answers as well as a setting does."""

    class Loud(Replay):
        pass

    assert len(str(Loud().identity()["code"])) == 32


def make(text: str) -> Any:
    """An object of a class without source, as one typed into a console."""
    names: dict[str, Any] = {"__name__": "console", "TONE": "mild"}
    exec(text, names)
    return names["Typed"]()


TYPED = """
def say(): return "a"
class Typed:
    model = "m"
    async def complete(self, request): return say() + TONE
"""


@pytest.mark.parametrize("change", [('"a"', '"b"'), ("say() +", "say() * 2 +"), ("TONE", "say()")])
def test_a_class_without_source(change):
    """Its bytecode stands for it, and that of the functions that it calls."""
    same, other = (identify(make(text), "typed") for text in (TYPED, TYPED.replace(*change)))
    assert same == identify(make(TYPED), "typed")
    assert same != other


def test_a_class_without_any_code_is_refused():
    """The message says what to give it."""
    made = type("Compiled", (), {"__module__": "console", "model": "m", "complete": len})
    with pytest.raises(ConfigError, match=r"the code of Compiled cannot be read, .*method identity\(\)"):
        adapt(made()).identity()


def test_an_identity_of_its_own_replaces_the_code():
    """Whoever writes it says when the class has changed."""
    made = type("Own", (), {"model": "m", "complete": len, "identity": lambda self: {"version": 1}})
    assert adapt(made()).identity() == {"version": 1}
