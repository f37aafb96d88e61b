"""Texts of servers, rows and records may hold keys, markup of the screen, and what a terminal obeys."""

from __future__ import annotations

import re

import pytest
from adding import Sums, answer
from rich.table import Table
from servers import Reply, serving

from runner.cli.screen import console
from runner.core.redact import hide_keys, remember_secret

SECRET = "f3b12c4d5e6f7a8b9c0d1e2f3a4b5c6d"
SHOWN = [
    (f"bad key {SECRET}", "bad key ***"),
    (f"bad key {SECRET.upper()}", "bad key ***"),
    (f"bad key {SECRET[:-1]}", "bad key ***"),
    (f"'{SECRET[:9]}' (cut)", "'***' (cut)"),
    ("bad key f3b1****5c6d", "bad key ***"),
    ("bad key f3b1********", "bad key ***"),
    ("bad key ********5c6d.", "bad key ***."),
    ("bad key f3b1…5c6d", "bad key ***"),
    ("bad key f3bxxxxxxxxc6d", "bad key ***"),
    ("bad key f3b1[REDACTED]5c6d", "bad key ***"),
    ("the key ending in 5c6d", "the key ending in ***"),
    ("try again... in 5c6d s", "try again... in 5c6d s"),
    ("**bold** [INST] and 20xxxx, ending in 2026", "**bold** [INST] and 20xxxx, ending in 2026"),
]


@pytest.mark.parametrize(("said", "shown"), SHOWN)
def test_parts_of_a_key(said, shown):
    """A key whose form nobody knows is removed whole, cut, or masked in the middle."""
    assert hide_keys(said, [SECRET]) == shown


TEXT = f"[/INST] [bold]x\x1b[2J :smile: {SECRET} or f3b1****5c6d"
ANSWERS = [
    Reply({"error": {"message": TEXT, "code": 400}}),
    Reply({"choices": [{"error": {"message": TEXT, "code": 400}}]}),
    Reply({"error": {"message": TEXT}}, 400),
    Reply({"detail": [{"msg": TEXT}]}, 422),
    Reply(f"<html>{TEXT}".encode(), 403),
    Reply({"choices": [{"message": {"refusal": TEXT}, "finish_reason": "stop"}]}),
    Reply({"choices": [{"message": {"content": {"x": TEXT}}, "finish_reason": "stop"}]}),
]


def test_answers_of_a_server(runner, monkeypatch):
    """No error that quotes the key brings it into a file or onto the screen; its text is shown as it is."""
    monkeypatch.setenv("MY_VARIABLE", SECRET)

    def respond(call):
        number = int(call.json["messages"][-1]["content"].split()[0]) - 80
        return ANSWERS[number] if number in range(len(ANSWERS)) else answer(call)

    with serving(respond) as server:
        outcome = Sums(runner, server, 90)("provider.api_key_env=MY_VARIABLE", "provider.max_concurrency=1")
    said = outcome.out + outcome.err
    assert re.search(
        r"7 rows failed; first: row \S+: openai_compatible: HTTP 400: \[/INST\] \[bold\]x\[2J :smi", said
    )
    written = b"".join(file.read_bytes() for file in runner.folder.rglob("*") if file.is_file())
    for text in (said.encode(), written):
        assert not any(part in text for part in (SECRET.encode(), b"f3b1****", b"\x1b[2J"))


def test_screen():
    """Cells and lines are shown as they are: no markup, no emoji, and nothing for the terminal."""
    table = Table("[red]", box=None)
    table.add_row("['f1'] [/b] [text] :smile: \x1b]0;title\x07")
    with console.capture() as shown:
        console.print(table)
        console.print("outputs/[x]/[/y]\r")
    assert shown.get().split() == [
        *("[red]", "['f1']", "[/b]", "[text]", ":smile:", "]0;title"),
        "outputs/[x]/[/y]",
    ]


def test_a_short_placeholder_hides_no_words():
    """Keys such as ``EMPTY`` are no secrets."""
    assert hide_keys("the list is EMPTY", [""]) == remember_secret("EMPTY").join(["the list is ", ""])
