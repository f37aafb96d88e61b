"""The ledger keeps what was bought, across processes."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.core.errors import ConfigError, RunnerError
from runner.core.identity import digest
from runner.engine.ledger import Ledger


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/folder/ledger.db"


def test_survives(url):
    """A value that was put is there for the next process that opens the same database."""
    Ledger(url).put_many("completion", {"a": {"text": "é"}, "b": {"text": None}})
    assert Ledger(url).get_many("completion", ["a", "b", "c"]) == {"a": {"text": "é"}, "b": {"text": None}}


def test_kinds_are_apart(url):
    """The same key under two kinds is two entries."""
    ledger = Ledger(url)
    ledger.put("file", "k", 1)
    assert ledger.get("job", "k") is None


def test_many_keys(url):
    """Thousands of keys can be read at once, more than a database takes as parameters."""
    ledger = Ledger(url)
    ledger.put_many("completion", {str(n): n for n in range(5000)})
    assert len(ledger.get_many("completion", map(str, range(6000)))) == 5000


def _claim(url, queue):
    queue.put(Ledger(url).add("job", "k", "mine"))


def test_one_claims(url):
    """If several processes add the same key, ``add`` returns True in exactly one."""
    Ledger(url).close()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_claim, args=(url, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    claims = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(claims) == [False, False, False, True]


def test_opened_at_once(tmp_path):
    """Several processes can open a new file at once: one creates it and the others wait."""
    files = [f"sqlite:///{tmp_path}/{n // 3}.db" for n in range(90)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(Ledger, files))


def test_remove_and_list(url):
    """Entries of a kind are listed oldest first, without removed ones."""
    ledger = Ledger(url)
    for key in "abc":
        ledger.put("deployment", key, key.upper())
    ledger.remove("deployment", "b")
    assert list(ledger.items("deployment")) == [("a", "A"), ("c", "C")]


def test_add_many_keeps_what_is_there(url):
    """``add_many`` keeps existing entries, and ``remove_equal`` deletes all entries with one value."""
    ledger = Ledger(url)
    ledger.put("batched", "a", "first")
    ledger.add_many("batched", dict.fromkeys("abc", "second"))
    assert ledger.get_many("batched", "abc") == {"a": "first", "b": "second", "c": "second"}
    ledger.remove_equal("batched", "second")
    assert dict(ledger.items("batched")) == {"a": "first"}


def test_two_folders(tmp_path, monkeypatch):
    """One relative address in two folders is two ledgers, which share nothing within a process."""
    urls = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        urls.append(Ledger("sqlite:///ledger.db").url)
    assert urls == [f"sqlite:///{tmp_path / name / 'ledger.db'}" for name in ("a", "b")]


def test_bad_url():
    """A bad URL and an unusable folder raise errors that name ``ledger.url``."""
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        Ledger("nonsense")
    with pytest.raises(RunnerError, match="cannot open"):
        Ledger("postgresql://nobody:secret@127.0.0.1:1/none")


def test_no_password_in_errors():
    """The password of a server database is not in the message."""
    with pytest.raises(RunnerError) as caught:
        Ledger("postgresql://nobody:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


def test_digest_ignores_order():
    """Equal content has an equal digest, whatever the order of its keys."""
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 1, "b": [2, 1]})


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_needs_a_file(url):
    """What was bought would be lost."""
    with pytest.raises(ConfigError, match="needs a file"):
        Ledger(url)


def test_the_table_of_another_program(tmp_path):
    """It is named when the ledger is opened, and nothing is written into it."""
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE entries (title TEXT)")
    with pytest.raises(RunnerError, match=r"ledger\.url: cannot open .*other\.db: no such column"):
        Ledger(f"sqlite:///{tmp_path}/other.db")
