"""Prices are found by model name, the user's before the shipped ones; an unknown price is never 0."""

from __future__ import annotations

import re

import pytest

from runner.config.command_schema import PricesConfig
from runner.core import tokens
from runner.core.errors import ConfigError
from runner.core.types import Completion, Sampling
from runner.money import prices
from runner.money.budget import find_bounding_price
from runner.money.price import LongPromptPrice, Price
from runner.providers.openai import OpenAI


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        ("openai", "gpt-5.4-mini", (0.75, 4.5)),
        ("openai", "gpt-5.4-mini-2026-03-17", (0.75, 4.5)),
        ("openai", "gpt-5.4", (2.5, 15)),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:me:facts:abc:ckpt-step-3", (0.8, 3.2)),
        ("azure", "gpt-4.1-mini-2025-04-14.ft-0a1b-facts", (0.4, 1.6)),
        ("mistral", "mistral-small-2603", (0.15, 0.6)),
        ("local", "any/model:file.gguf", (0, 0)),
        ("replay", "recorded", (0, 0)),
    ],
)
def test_by_name(provider, model, price):
    """A model is found by its own name, by a dated snapshot of it, and by a fine-tune's long name."""
    found = prices.load_prices().find_price(provider, model)
    assert found is not None
    assert (found.input, found.output) == price


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-5.4-maxi"), ("openai", "gpt-5.9"), ("azure", "our-deployment"), ("vllm", "gpt-5.4")],
)
def test_unknown(provider, model):
    """A longer name is another model, and another provider's price does not apply."""
    assert prices.load_prices().find_price(provider, model) is None


@pytest.mark.parametrize(
    "options",
    [
        *({"service_tier": "priority"}, {"service_tier": "flex"}, {"speed": "fast"}, {"inference_geo": "us"}),
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ],
)
def test_an_option_with_a_price_of_its_own(options):
    """The shipped price is another one's, so it is unknown; the user's own price holds."""
    provider = OpenAI(model="gpt-5.4-mini", options=options)
    assert prices.load_prices().find_provider_price(provider) is None
    with pytest.raises(
        ConfigError, match=rf"\(openai with provider\.options\.{next(iter(options))}\); name one"
    ):
        find_bounding_price(provider, Sampling(max_tokens=5), prices.load_prices())
    book = prices.load_prices(PricesConfig(None, {"gpt-5.4-mini": {"input": 3, "output": 4}}))
    own = book.find_provider_price(provider)
    assert own is not None
    assert own.input == 3
    plain = OpenAI(model="gpt-5.4-mini", options={"service_tier": "auto", "cache_control": {"ttl": "5m"}})
    assert prices.load_prices().find_provider_price(plain) is not None


def test_every_table_says_when_and_where():
    """Each shipped table of a hosted service has a date and an address."""
    for table in prices.load_prices().tables:
        for price in table.models.values():
            assert re.fullmatch(r"2\d{3}-\d\d-\d\d", price.date)
            assert price.source.startswith("https://") or (price.input, price.output) == (0, 0)


def test_own_prices_come_first(tmp_path):
    """A user's price wins over a shipped one, even with a shorter name; inline prices win over the file."""
    file = tmp_path / "prices.yaml"
    file.write_text("- {provider: openai, batch: 0.4, models: {'gpt-5*': {input: 1, output: 2}}}")
    book = prices.load_prices(PricesConfig(str(file), {"gpt-5.4-nano": {"input": 3, "output": 4}}))
    found = [book.find_price("openai", name) for name in ("gpt-5.4-mini", "gpt-5.4-nano", "gpt-4.1")]
    assert [(price.input, price.batch) for price in found if price] == [(1, 0.4), (3, 1.0), (2, 0.5)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{models: 1}", "a list of tables"),
        ("- {provider: x, modles: {}}", "'modles'; did you mean 'models'"),
        ("- {models: {m: {input: 1}}}", "m: expected input and output"),
        ("- {models: {m: {input: 1, output: 2, cahced_input: 1}}}", "did you mean 'cached_input'"),
        ("- {models: {m: {input: cheap, output: 2}}}", "input: 'cheap' is not a price"),
        (
            "- {models: {m: {input: 1, output: 2, long: {above: 3}}}}",
            "long: expected above, input and output",
        ),
    ],
)
def test_a_wrong_table_is_named(tmp_path, content, words):
    """A mistake in a price file is an error that names the file, the model and the key."""
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=f"mine.yaml.*{words}"):
        prices.load_prices(PricesConfig(path=str(file)))


PRICE = Price(2.0, 10.0, cached_input=0.5, cache_write=2.5, batch=0.5, long=LongPromptPrice(1000, 2.0, 1.5))


@pytest.mark.parametrize(
    ("completion", "dollars"),
    [
        (Completion("", input_tokens=100, output_tokens=10), 100 * 2 + 10 * 10),
        (Completion("", input_tokens=100, output_tokens=10, cached_tokens=60), 40 * 2 + 60 * 0.5 + 100),
        (Completion("", input_tokens=100, output_tokens=0, cached_tokens=60, cache_write_tokens=30), 125),
        (Completion("", input_tokens=100, output_tokens=10, batch=True), 150),
        (Completion("", input_tokens=2000, output_tokens=10), 2 * 4000 + 1.5 * 100),
    ],
)
def test_cost(completion, dollars):
    """Cached, written, batched and very long input each have their price; output has one."""
    assert PRICE.compute_cost(completion) == pytest.approx(dollars / 1e6)


def test_cost_is_unknown_without_counts():
    """A server that counts no tokens leaves the cost unknown, unless tokens are free."""
    assert PRICE.compute_cost(Completion("x")) is None
    assert Price(0, 0).compute_cost(Completion("x")) == 0


def test_bound_is_never_below_the_cost():
    """Whatever part of the input is cached or written to the cache, the bound covers it."""
    for cached in range(0, 101, 20):
        for saved in range(0, 101 - cached, 20):
            answer = Completion(
                "", input_tokens=100, output_tokens=7, cached_tokens=cached, cache_write_tokens=saved
            )
            assert (PRICE.compute_cost(answer) or 0) <= PRICE.bound_cost(100, 7) + 1e-12


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("The quick brown fox jumps over the lazy dog.", 9, 11),  # o200k: 10
        ("Правительство в среду объявило о реформе энергоснабжения.", 12, 18),  # o200k: 14
        ("政府は水曜日、エネルギー供給の抜本的な改革を発表した。", 17, 24),  # o200k: 22
        ('{"id": 12345, "ok": true}', 9, 14),  # o200k: 12
        ("", 0, 0),
    ],
)
def test_tokens(text, least, most):
    """The estimate is near what OpenAI's tokenizer says, in several scripts."""
    assert least <= tokens.count(text) <= most


def test_chat_tokens():
    """A chat has more tokens than its texts, since the format adds some to each turn."""
    assert tokens.count_chat(["The quick brown fox"] * 2) > 2 * tokens.count("The quick brown fox")
