"""Prices of the package: as it counts them, for names that it knows, with a date; else unknown."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from genai_prices.data import providers
from genai_prices.types import Usage
from hypothesis import given
from hypothesis import strategies as st

from runner.core.types import Completion
from runner.money.packaged import SERVICES, find_packaged_price
from runner.money.prices import load_prices

KNOWN = [
    (service, provider, info)
    for service, name in SERVICES.items()
    for provider in providers
    if provider.id == name
    for info in provider.models
    if find_packaged_price(service, info.id)
]
"""Ours and the package's entries with a price that can be said."""
NOW = datetime.now(UTC)


def test_each_service_has_prices():
    """Every name of a service is one of the package."""
    assert {service for service, _, _ in KNOWN} == set(SERVICES) - {"fireworks"}  # its names are paths


@given(
    known=st.sampled_from(KNOWN),
    cached=st.integers(0, 300_000),
    fresh=st.integers(0, 300_000),
    written=st.integers(0, 100_000),
)
def test_a_bill_is_that_of_the_package(known, cached, fresh, written):
    """With cache reads and beyond the length from which a prompt is dearer."""
    service, provider, _ = known
    info = provider.find_model(known[2].id.lower())
    usage = Usage(input_tokens=cached + fresh, cache_read_tokens=cached, output_tokens=written)
    billed = info.calc_price(usage, provider, genai_request_timestamp=NOW).total_price
    answer = Completion(
        "", input_tokens=cached + fresh, output_tokens=written, cached_tokens=cached, cache_write_tokens=0
    )
    price = find_packaged_price(service, known[2].id)
    assert price.compute_cost(answer) == pytest.approx(float(billed), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("gemini", "gemini-3.5-flash-lite"),
        ("groq", "llama-3.3-70b-versatile"),
        ("fireworks", "accounts/fireworks/models/deepseek-v4-flash"),
        ("xai", "grok-4.3"),
        ("openrouter", "meta-llama/llama-3.3-70b-instruct"),
    ],
)
def test_the_models_of_the_presets(service, model):
    """They have a price with the day of the data, the package's version and the service's page."""
    price = load_prices().find_price(service, model)
    assert price.date >= "2026-11-09"
    assert re.fullmatch(r"genai-prices [\d.]+, https://\S+", price.source)
    assert price.describe().endswith(f"({price.date}, {price.source})")


@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("deepseek", "deepseek-v4-flash"),  # twice the price at some hours
        ("openai", "gpt-5.4-maxi"),  # only begins like a known one
        ("openai", "ft:o4-mini:me::abc"),  # has its own price
        ("azure", "o3"),  # the name of any deployment
        ("openai_compatible", "gpt-4o"),
        ("ollama", "gemma-3"),
        ("gemini", "gemma-3"),  # without a price
        ("perplexity", "sonar"),  # also costs by the request
        ("gemini", "gemini-embedding-001"),  # writes nothing
    ],
)
def test_what_is_unknown_stays_so(service, model):
    """It is never 0, and never that of something near it."""
    assert load_prices().find_price(service, model) is None


def test_ours_come_first_and_batches_stay_ours():
    """The package fills gaps: a model of ours keeps its price, and another one the share of a batch."""
    book = load_prices()
    assert book.find_price("mistral", "mistral-large-latest").date == "2026-10-06"
    assert book.find_price("openai", "o3").batch == 0.5
    assert book.find_price("groq", "llama-3.3-70b-versatile").batch == 1.0


def test_a_model_whose_end_is_announced():
    """The package has no date of it, but says so."""
    assert find_packaged_price("gemini", "gemini-2.0-flash-lite").source.endswith("; the model is deprecated")
