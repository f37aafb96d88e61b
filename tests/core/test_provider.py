"""What a class of a user's own needs to answer, and what it has without saying so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from runner.core import tokens
from runner.core.adapt import adapt, check_completion
from runner.core.errors import ConfigError, ProviderError
from runner.core.identity import read_identity
from runner.core.provider import Provider
from runner.core.types import Completion, Request, Sampling
from runner.providers.openai import OpenAICompatible


class Mine(Provider):
    """The least that a subclass needs, with a setting of its own."""

    model = "m"
    style: str = "brief"

    async def complete(self, request: Request) -> Completion:
        return Completion(text=self.style)


class Plain:
    """The least that a class without a base needs."""

    model = "m"

    async def complete(self, request: Request) -> Completion:
        return Completion(text="plain")


class Whole(Plain):
    """A class without a base that has most of a provider."""

    name, max_concurrency, tokens_per_minute, stored, account = "whole", 3, 600, False, "an account's name"

    def identity(self) -> Mapping[str, Any]:
        return {"provider": "whole", "temper": "mild"}

    def check(self, sampling: Sampling | None = None, columns: Any = None) -> None:
        raise ConfigError("whole: nothing is right")

    def count_tokens(self, text: str) -> int:
        return 7

    def tuner(self) -> str:
        return "a tuner"


def ask(provider: Provider) -> str:
    return asyncio.run(provider.complete(Request(()))).text


@pytest.mark.parametrize(("made", "name"), [(Mine(), "mine"), (Plain(), "plain")])
def test_a_model_and_an_answer_are_enough(made: Any, name: str) -> None:
    """The class gives the name; everything else has a default."""
    provider = adapt(made)
    provider.check()
    provider.check_limits()
    assert ask(provider)
    assert (provider.name, provider.model, provider.max_concurrency, provider.stored) == (name, "m", 8, True)
    assert provider.account() == {"provider": name, "model": "m"}
    assert provider.count_tokens("two words") == tokens.count("two words")
    assert (provider.rate_limits(), provider.shutdown_date()) == (None, None)
    asyncio.run(provider.aclose())


@pytest.mark.parametrize("made", [Mine(), Plain()])
def test_halves_that_are_not_there_are_refused(made: Any) -> None:
    """By the provider's name, and with one that has them."""
    with pytest.raises(ConfigError, match=rf"provider={adapt(made).name} cannot fine-tune; provider=local"):
        adapt(made).tuner()
    with pytest.raises(ConfigError, match="has no batches"):
        adapt(made).batcher()


def test_a_class_without_a_base_keeps_what_it_has() -> None:
    """Its methods and settings go before the defaults; what is only called the same does not."""
    provider = adapt(Whole())
    assert (provider.max_concurrency, provider.tokens_per_minute, provider.stored) == (3, 600, False)
    assert provider.identity() == {"provider": "whole", "temper": "mild"}
    assert provider.count_tokens("one two") == 7
    assert provider.tuner() == "a tuner"  # type: ignore[comparison-overlap]
    assert provider.account() == {"provider": "whole", "model": "m"}
    with pytest.raises(ConfigError, match="nothing is right"):
        provider.check()


def test_settings_become_attributes() -> None:
    """Those of every provider and those that the class declares."""
    provider = Mine(model="n", style="long", requests_per_minute=5)
    assert (provider.model, provider.requests_per_minute, ask(provider)) == ("n", 5, "long")


@pytest.mark.parametrize(("key", "hint"), [("styl", "; did you mean 'style'"), ("complete", "")])
def test_an_unknown_setting_is_refused(key: str, hint: str) -> None:
    """With the nearest name; a method is no setting."""
    with pytest.raises(ConfigError, match=f"{key}: no such key{hint}"):
        Mine(**{key: 1})


@dataclass(kw_only=True)
class Data(Mine):
    model: str = "m"
    depth: int = 1


class Given(Plain):
    def __init__(self, model: str, depth: int = 1, max_concurrency: int = 2) -> None:
        self.model, self.depth, self.max_concurrency = model, depth, max_concurrency
        self.calls = 0


@pytest.mark.parametrize(
    ("made", "shaping"),
    [
        (Mine(max_concurrency=2), {"style": "brief"}),
        (Mine(style="brief", priced_as="x"), {"style": "brief"}),
        (Data(depth=2), {"depth": 2}),
        (Given("m", 2), {"depth": 2}),
        (Plain(), {}),
    ],
)
def test_identity_is_the_settings_that_shape_answers(made: Any, shaping: dict[str, Any]) -> None:
    """Given or by default, but neither pace, nor price, nor what an object notes for itself."""
    name = type(made).__name__
    found = {"provider": name.lower(), "class": f"{__name__}.{name}", "model": "m", **shaping}
    identity = dict(adapt(made).identity())
    assert len(identity.pop("code")) == 32
    assert identity == found


def test_a_deployment_is_identified_by_the_model_behind_it() -> None:
    """Its own name may be another one every day."""
    assert Mine(model="deployment-1", stands_for="m").identity() == Mine().identity()


class Hidden(Plain):
    def __init__(self, depth: int) -> None:
        self._depth = depth


class Held(Plain):
    def __init__(self, client: object) -> None:
        self.client = client


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Hidden(1), r"provider\.depth: is not an attribute"),
        (Held(object()), r"provider\.client: is not plain data"),
    ],
)
def test_what_cannot_identify_is_refused(made: Any, reason: str) -> None:
    """Two settings under one identity would share their answers."""
    with pytest.raises(ConfigError, match=rf"{reason} .*method identity\(\)"):
        adapt(made).identity()


class Closed(Mine):
    def __init__(self, model: str = "m", **more: Any) -> None:
        self.model, self._more = model, more


class Open(Mine):
    def __init__(self, model: str = "m", **more: Any) -> None:
        self.model, self.more, self.client = model, more, object()


class Passing(Given):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)


@dataclass(kw_only=True, eq=False)
class Vendor(OpenAICompatible):
    model: str = "m"
    base_url: str | None = "http://localhost/v1"
    tone: str = "plain"


def make_hidden(depth: int) -> Plain:
    made = Plain()
    made.depth = depth  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(("make", "key"), [(Closed, "tone"), (Open, "tone"), (make_hidden, "depth")])
def test_a_setting_that_no_identity_holds_is_refused(make: Any, key: str) -> None:
    """However the class took it, its values would share their answers."""
    with pytest.raises(ConfigError, match=rf"provider\.{key}: .*method identity\(\)"):
        adapt(make(**{key: 1}), given=[key])


@pytest.mark.parametrize(
    ("make", "setting"), [(Passing, {"model": "m", "depth": 2}), (Vendor, {"tone": "dry"})]
)
def test_settings_of_subclasses_identify(make: Any, setting: dict[str, Any]) -> None:
    """Those that a constructor only hands on to its base, and those added to a provider of this package."""
    provider = adapt(make(**setting), given=setting)
    assert setting.items() <= provider.identity().items()


def test_what_an_open_constructor_keeps_identifies() -> None:
    """As far as it is plain data."""
    assert Open(tone="dry").identity()["more"] == {"tone": "dry"}


def test_classes_of_one_name_are_two() -> None:
    """The module is part of the identity."""
    other = type("Mine", (Mine,), {"__module__": "elsewhere"})
    assert other().identity() != Mine().identity()


@pytest.mark.parametrize("identity", [None, {"client": object()}])
def test_an_identity_is_plain_data(identity: Any) -> None:
    """Another process has to find the same answers by it."""
    made = type("Odd", (Mine,), {"identity": lambda self: identity})()
    with pytest.raises(ConfigError, match=r"identity\(\) of odd must return plain data by name"):
        read_identity(made)


def test_a_subclass_has_a_name_of_its_own() -> None:
    """Unless one of its bases was given a name."""

    class Other(Mine):
        pass

    class Named(Mine):
        name = "service"

    class Again(Named):
        pass

    assert (Mine().name, Other().name, Named().name, Again().name) == ("mine", "other", "service", "service")


def test_what_cannot_be_a_provider_is_refused() -> None:
    """By what it lacks, and by its place in the config."""
    with pytest.raises(ConfigError, match=r"judge\.provider: object has no 'complete' and no 'model'"):
        adapt(object(), "judge.provider")


def test_a_model_must_have_a_name() -> None:
    """Null in a config is told before anything is sent."""
    with pytest.raises(ConfigError, match=r"provider\.model=None: a model's name is required"):
        Mine(model=None).check()


def test_a_subclass_without_a_model_is_refused() -> None:
    """As soon as it is made."""

    class Nameless(Provider):
        async def complete(self, request: Request) -> Completion:
            raise NotImplementedError

    with pytest.raises(ConfigError, match="Nameless has no 'model'"):
        adapt(Nameless())


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("max_concurrency", 0, "a whole number of at least 1"),
        ("max_concurrency", "many", "a whole number of at least 1"),
        ("max_concurrency", True, "a whole number of at least 1"),
        ("requests_per_minute", -1, "a number above 0 or null"),
        ("tokens_per_minute", "1k", "a number above 0 or null"),
    ],
)
def test_limits_out_of_range_are_refused(key: str, value: Any, wanted: str) -> None:
    """With the key, the value and what it may be; no key is needed."""
    with pytest.raises(ConfigError, match=rf"provider\.{key}={value!r}: must be {wanted}"):
        Mine(**{key: value}).check_limits()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("text", None), ("text", 5), ("input_tokens", 3.5), ("output_tokens", -1), ("cached_tokens", True)),
        *(("input_tokens", 10**20), ("reasoning", 5), ("finish_reason", 7), ("latency_s", float("inf"))),
        *(("logprobs", 7), ("batch", 1), ("model", None)),
    ],
)
def test_a_field_of_a_wrong_type_is_the_rows_error(field: str, value: Any) -> None:
    """It is named, and never gets into the ledger."""
    answer = Completion(**{"text": "yes", field: value})
    with pytest.raises(ProviderError, match=rf"odd: Completion\.{field}={value} has a wrong type"):
        check_completion(answer, "odd")


def test_logprobs_that_are_not_plain_data_are_the_rows_error() -> None:
    """They could not be stored, or would fail whoever reads them."""
    with pytest.raises(ProviderError, match=r"Completion\.logprobs: expected a token and its logprob"):
        check_completion(Completion("yes", logprobs=[{"token": {1}}]), "odd")


@pytest.mark.parametrize(
    "tokens",
    [
        *([1], [None], [{"token": "a"}], [{"token": "a", "logprob": None}], [{"token": 5, "logprob": -1.0}]),
        *([{"token": "a", "logprob": odd}] for odd in (float("nan"), -(10**400), 0.7, True)),
        *([{"token": "a", "logprob": -1.0, "top": odd}] for odd in (7, [1], [{"token": "a"}])),
    ],
)
def test_odd_logprobs_are_the_rows_error(tokens: Any) -> None:
    """Stored, they would fail every later run."""
    with pytest.raises(ProviderError, match=r"odd: Completion\.logprobs: expected a"):
        check_completion(Completion("yes", logprobs=tokens), "odd")


class Word(str):
    """A text of a class of its own."""


def test_a_completion_is_plain_data() -> None:
    """What is stored is read back the same."""
    found = check_completion(
        Completion(Word("yes"), logprobs=[{"token": Word("a"), "logprob": 0, "bytes": {1}}]), "odd"
    )
    assert type(found.text) is str
    assert found.logprobs == [{"token": "a", "logprob": 0.0, "top": []}]


def test_numbers_of_numpy_become_plain_ones() -> None:
    """A class that runs a model itself has them at hand."""
    token = {"token": "a", "logprob": np.float32(-0.5), "top": []}
    counts: Any = {"input_tokens": np.int64(7), "latency_s": np.float32(0.5)}
    found = check_completion(Completion("yes", logprobs=[token], **counts), "odd")
    assert json.dumps([found.input_tokens, found.latency_s, found.logprobs])
    assert (found.input_tokens, found.latency_s) == (7, 0.5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("thinking_tags", odd) for odd in ("<think>", None, ["think"], ["</think>"], [7], ["<>"])),
        ("max_wait_s", 0),
    ],
)
def test_settings_about_answers_are_checked(key: str, value: Any) -> None:
    """By their key, without a call; no tag at all is right."""
    with pytest.raises(ConfigError, match=rf"provider\.{key}="):
        Mine(**{key: value}).check_limits()
    Mine(thinking_tags=[]).check_limits()


def test_settings_about_answers_identify_nothing() -> None:
    """What was bought before stays bought."""
    assert Mine(thinking_tags=["[THINK]"], max_wait_s=1).identity() == Mine().identity()


@pytest.mark.parametrize("text", ["", "plain", "naïve 中 🙂", "\x00\n"])
@pytest.mark.parametrize("half", ["\ud83d", "\udcff\ud83d"])
def test_half_characters_are_replaced(text: str, half: str) -> None:
    """What remains can be encoded; whole characters and log-probabilities stay as they are."""
    answer = Completion(text + half, logprobs=[{"token": half, "logprob": -1.5}])
    found = check_completion(answer, "odd")
    assert found.text.startswith(text)
    assert found.logprobs
    assert (found.text + found.logprobs[0]["token"]).encode()
    assert found.logprobs[0]["logprob"] == -1.5
