"""Recorded answers come back as they were, without a model."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from runner.core.errors import ConfigError, FatalProviderError, ProviderError
from runner.core.provider import Provider
from runner.core.types import Completion, Request
from runner.providers.replay import Replay


def replay(row: Mapping[str, Any], column: str = "recorded") -> Completion:
    return asyncio.run(Replay(column=column, model="gpt-4").complete(Request((), row=row)))


def test_the_cell_is_the_answer() -> None:
    """The text as it was recorded, white space included, under the recorded model's name."""
    assert replay({"recorded": " Output (a)\n"}) == Completion(" Output (a)\n", "gpt-4", "stop")


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (0.5, "0.5"), (True, "true"), ({"winner": "ä"}, '{"winner": "ä"}'), ("", "")],
)
def test_other_values_are_json(value: object, text: str) -> None:
    """A recorded rating or object reads like the answer it was."""
    assert replay({"recorded": value}).text == text


def test_a_null_cell_is_the_rows_error() -> None:
    """Nothing recorded is an error of the row, never text."""
    with pytest.raises(ProviderError, match="'recorded'") as caught:
        replay({"recorded": None})
    assert type(caught.value) is ProviderError


def test_a_missing_column_names_the_nearest() -> None:
    """Known before the run it is a config error, else it stops the run."""
    with pytest.raises(ConfigError, match=r"provider\.column=recordd.*did you mean 'recorded'"):
        Replay(column="recordd").check(columns=["id", "recorded"])
    with pytest.raises(FatalProviderError, match="did you mean 'recorded'"):
        replay({"id": 1, "recorded": "x"}, "recordd")


def test_a_data_set_without_recorded_answers_is_told() -> None:
    """Where no column has a name like it."""
    with pytest.raises(ConfigError, match=r"column=recorded: .*has no recorded answers.*\(id, text\)"):
        Replay().check(columns=["id", "text"])


def test_a_present_column_passes() -> None:
    """And so does an unknown set of columns."""
    Replay().check(columns=["recorded"])
    Replay().check()


def test_it_is_a_provider_whose_answers_are_not_kept() -> None:
    """The ledger would only copy the rows; column and name are its identity."""
    provider = Replay(column="a", model="b")
    assert isinstance(provider, Provider)
    assert not provider.stored
    assert provider.identity() == {"provider": "replay", "column": "a", "model": "b"}
    asyncio.run(provider.aclose())
