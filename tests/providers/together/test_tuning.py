"""Fine-tuning at Together, against a server that checks every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hosted import KEY
from hosted_together import TogetherApi
from servers import Reply, Server, serving

from runner.core.errors import ConfigError, DataError, ProviderError, RetryableError
from runner.core.provider import Deployer, Tuner
from runner.core.services import Checkpoint, Schedule, TrainingFile, TuningJob
from runner.providers.together import Together
from runner.providers.together.tuning import TogetherTuner

ROW = {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}
CONTENT = (json.dumps(ROW) + "\n").encode() * 10
FILE, WATCHED = TrainingFile("facts-01.jsonl", CONTENT, 10), TrainingFile("watched-02.jsonl", CONTENT, 10)
HEX = "0123456789abcdef" * 4
WANDB = {"type": "wandb", "project": "p", "entity": "e", "api_key_env": "WANDB_API_KEY"}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    monkeypatch.setenv("WANDB_API_KEY", "wandb-secret-1")


@contextmanager
def tuning(api: TogetherApi, **settings: Any) -> Iterator[tuple[TogetherTuner, Server]]:
    with serving(api) as server:
        provider = Together(model="m", base_url=f"{server.url}/v1", **settings)
        yield TogetherTuner(provider, lambda seconds: None), server


def job(**changes: Any) -> TuningJob:
    return TuningJob(**{"key": HEX, "training": (("file-1", 1.0),), "n_epochs": 3, **changes})


def test_it_is_a_tuner_that_deploys() -> None:
    """The lifecycle tells by this that models must be hosted."""
    tuner = Together(model="m").tuner()
    assert isinstance(tuner, Tuner)
    assert isinstance(tuner, Deployer)


def test_files_go_and_are_found_by_name() -> None:
    """The bytes as they are; each is waited for until the service has read it."""
    api = TogetherApi()
    with tuning(api) as (tuner, _):
        assert [tuner.upload(file) for file in (FILE, WATCHED)] == ["file-1", "file-2"]
        assert [tuner.find_file(name) for name in ("watched-02.jsonl", "no.jsonl")] == ["file-2", None]
    assert api.contents["file-2"] == CONTENT
    assert all(file["Processed"] for file in api.files.values())


def test_a_job_is_priced_and_made() -> None:
    """The same job: a checkpoint and an evaluation per epoch, loss on answers only."""
    with tuning(TogetherApi()) as (tuner, server):
        for file in (FILE, WATCHED):
            tuner.upload(file)
        order = job(
            validation="file-2",
            learning_rate=1e-4,
            batch_size=8,
            seed=7,
            suffix="medical facts!",
            integrations=(WANDB,),
            options={"lora_rank": 16, "lora_dropout": 0.1, "warmup_ratio": 0.1},
        )
        assert tuner.quote(order) == pytest.approx(0.5e-6 * 6 * 150)
        tuner.create(order)
        dry, real = server.calls[-2:]
    assert dry.path.endswith("/estimate-price")
    assert dry.json.items() <= real.json.items()
    assert real.json == {
        "model": "m",
        "training_file": "file-1",
        "validation_file": "file-2",
        "n_epochs": 3,
        "n_checkpoints": 3,
        "n_evals": 3,
        "batch_size": 8,
        "learning_rate": 1e-4,
        "random_seed": 7,
        "suffix": "0123456789abcdef-medical-facts",
        "training_method": {"method": "sft", "train_on_inputs": False},
        "training_type": {"type": "Lora", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.1},
        "wandb_api_key": "wandb-secret-1",
        "wandb_project_name": "p",
        "wandb_entity": "e",
        "warmup_ratio": 0.1,
    }


def test_what_is_left_to_the_service() -> None:
    """Without options nothing is said but what the experiment needs; all weights are one word."""
    with tuning(TogetherApi()) as (tuner, _):
        plain = tuner.build_body(job(n_epochs=None))
        full = tuner.build_body(job(options={"method": "full"}))
    assert set(plain) == {"model", "training_file", "suffix", "training_method"}
    assert full["training_type"] == {"type": "Full"}


def test_a_job_that_the_account_does_not_allow() -> None:
    """Is refused with the price and the limit. A price that is not told, or is no price, is None."""
    with tuning(TogetherApi(allowed=False)) as (tuner, _):
        tuner.upload(FILE)
        with pytest.raises(ProviderError, match=r"would cost \$.* limit is \$50"):
            tuner.quote(job())
    api = TogetherApi(price=Reply({"error": {"message": "no"}}, status=403))
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        assert tuner.quote(job()) is None
        api.price = Reply({"estimated_total_price": float("nan"), "allowed_to_proceed": True})
        assert tuner.quote(job()) is None
        api.price = Reply(status=500)
        with pytest.raises(RetryableError):
            tuner.quote(job())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"learning_rate_multiplier": 0.5}, "hyperparameter.learning_rate_multiplier: together takes"),
        ({"training_steps": 9}, "hyperparameter.training_steps: together takes hyperparameter.n_epochs"),
        ({"training": (("a", 1.0), ("b", 1.0))}, "finetune.extra: together takes one training file"),
        (
            {"options": {"lora_rang": 1}},
            "lora_rang: no such option; did you mean 'lora_rank'",
        ),
        ({"options": {"packing": 1}}, "finetune.options.packing=1: must be true or false"),
        ({"options": {"lora_alpha": 8}}, "finetune.options.lora_alpha: together needs lora_rank"),
        (
            {"options": {"lora_rank": 8, "lora_alpha": 0.4}},
            "options.lora_alpha=0.4: must be a whole",
        ),
        ({"options": {"method": "full", "lora_dropout": 0.1}}, "finetune.options.lora_dropout: method=full"),
        ({"integrations": (WANDB, WANDB)}, "finetune.integrations: together has one"),
        ({"integrations": ({**WANDB, "run": "x"},)}, r"finetune.integrations\[0\].run: no such key"),
    ],
)
def test_what_together_does_not_have_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Before any call, with the key."""
    with tuning(TogetherApi()) as (tuner, server):
        with pytest.raises(ConfigError, match=reason):
            tuner.create(job(**changes))
        assert server.calls == []


def test_turns_must_alternate() -> None:
    """A rule that only Together states."""
    turns = [ROW["messages"][0], *ROW["messages"]]
    file = TrainingFile("x.jsonl", json.dumps({"messages": turns}).encode(), 1)
    with pytest.raises(DataError, match="line 1: turn 2 is the user's, expected the assistant's"):
        Together(model="m").tuner().check((file,))


def test_a_job_is_found_by_its_suffix_or_its_models_name() -> None:
    """The newest that did not fail; a failed one only if there is no other."""
    api = TogetherApi()
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        other, first, second = (tuner.create(job(key=key)) for key in ("9" * 64, HEX, HEX))
        del api.jobs[other]["suffix"]
        api.jobs[other]["model_output_name"] = f"me/m-{'9' * 16}-ft"
        found = [tuner.find_job(key) for key in (HEX, "9" * 64, "8" * 64)]
        assert found == [second, other, None]
        api.jobs[second]["status"] = "error"
        assert tuner.find_job(HEX) == first


def test_a_failure_has_its_reason() -> None:
    """It is in the last event that is an error."""
    with tuning(TogetherApi(states=("error",), error={"message": "bad row 3"})) as (tuner, _):
        tuner.upload(FILE)
        status = tuner.status(tuner.create(job()))
    assert (status.state, status.detail) == ("failed", "bad row 3")


def test_a_finished_job() -> None:
    """Model, tokens, share done, events oldest first, curves by step, and each epoch's state once."""
    with tuning(TogetherApi(states=("running", "completed"))) as (tuner, _):
        tuner.upload(FILE)
        job_id = tuner.create(job())
        assert tuner.checkpoints(job_id) == []
        status = tuner.status(job_id)
        assert tuner.events(job_id) == ["event 1", "event 2", "event 3"]
        curve = tuner.curve(job_id)
        found = tuner.checkpoints(job_id, Schedule(10, 8, 3))
    model = f"me/m-{HEX[:16]}-ft-1"
    assert (status.state, status.model, status.progress) == ("succeeded", model, 1.0)
    assert status.trained_tokens == 450
    assert curve == {
        "train_loss": [(1, 3.0), (2, 1.5), (3, 1.0)],
        "train_learning_rate": [(1, 1e-4), (2, 1e-4), (3, 1e-4)],
    }
    assert found == [
        Checkpoint(1, 2, f"{model}:2"),
        Checkpoint(2, 4, f"{model}:4"),
        Checkpoint(3, 6, model),
    ]


def test_a_state_of_another_kind_is_not_the_finished_model() -> None:
    """Only what is called final has its weights; the last epoch's state is the same one."""
    api = TogetherApi(states=("completed",))
    api.points = lambda job_id: [{"step": step, "checkpoint_type": "Epoch"} for step in (2, 4, 6)]  # type: ignore[method-assign]
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        found = tuner.checkpoints(tuner.create(job()), Schedule(10, 8, 3))
    model = f"me/m-{HEX[:16]}-ft-1"
    assert [point.model for point in found] == [f"{model}:2", f"{model}:4", model]


def test_no_refusal_quotes_a_key() -> None:
    """Validation errors may repeat the input, the key of an integration included."""
    with serving(lambda call: Reply({"error": {"message": call.body.decode()}}, status=400)) as server:
        tuner = TogetherTuner(Together(model="m", base_url=server.url), lambda seconds: None)
        with pytest.raises(ProviderError) as caught:
            tuner.create(job(integrations=(WANDB,)))
    assert "wandb-secret-1" not in str(caught.value)
