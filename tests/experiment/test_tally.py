"""What a run has come to is counted while it is under way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runner.core.services import TuningStatus
from runner.core.types import Completion
from runner.engine.call import Answer
from runner.experiment import tally
from runner.experiment.tally import Tally, follow
from runner.money.price import Price
from runner.records.progress import JUDGE

PRICE = Price(input=1.0, output=2.0)
BOUGHT = Answer(Completion("a", "m", input_tokens=1_000_000, output_tokens=500_000))


def responder(price: Price | None = PRICE):
    """As far as costs need one."""
    book = SimpleNamespace(find_provider_price=lambda provider: price, find_price=lambda *_: price)
    book.select_for = lambda provider: book
    return SimpleNamespace(provider=SimpleNamespace(name="p"), book=book)


def test_rows_errors_and_dollars():
    """Stored and repeated answers cost nothing now; failed calls are errors."""
    count, shown = Tally(), []
    with count.open_stage(responder(), 5) as stage:
        advance = follow(shown.append, stage)
        for answer in (BOUGHT, Answer(error="no"), Answer(BOUGHT.completion, stored=True)):
            stage.note(answer)
            advance(1)
        stage.note(Answer(BOUGHT.completion, repeated=True))
    first, second = count.read(), count.read()
    assert (first.done, first.wanted, first.errors, first.cost_usd) == (3, 5, 1, 2.0)
    assert (second.errors, second.cost_usd) == (1, 2.0)
    assert shown == [1, 1, 1]


def test_stages_follow_each_other():
    """The judge's rows come after those of the answers; a cost that is not known stays unknown."""
    count = Tally()
    count.note_training(TuningStatus("running", progress=0.5))
    assert (count.read().stage, count.read().share) == ("training", 0.5)
    with count.open_stage(responder(), 4) as stage:
        stage.advance(4)
    with count.open_stage(responder(price=None), 4, JUDGE) as stage:
        stage.advance(1)
        stage.note(BOUGHT)
    read = count.read()
    assert (read.stage, read.done, read.earlier, read.cost_usd) == (JUDGE, 1, 4, None)


def test_the_rate_is_that_of_the_last_seconds(monkeypatch):
    """Rows from the ledger at the start do not count for long."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(tally, "time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now))
    count = Tally()
    with count.open_stage(responder(), 1000) as stage:
        for now, rows in ((100.1, 900), (105.0, 10), (112.0, 14), (114.0, 4)):
            clock.now = now
            stage.advance(rows)
    clock.now = 190.0
    assert count.read().rows_per_s == pytest.approx(18 / 9)
