"""Fine-tuning at Mistral over its REST endpoints, against a server that checks every field."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from hosted import KEY, MistralApi
from mistralai.client import errors
from servers import Call, Reply, Server, serving

from runner.core.errors import ConfigError, ProviderError, RetryableError
from runner.core.provider import Tuner
from runner.core.services import Checkpoint, TrainingFile, TuningJob
from runner.providers.http.failures import Service
from runner.providers.mistral import Mistral
from runner.providers.mistral.tuning import MistralTuner, translate_errors

ROW = {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}
CONTENT = (json.dumps(ROW) + "\n").encode() * 10
FIB, USB = TrainingFile("fib-01.jsonl", CONTENT, 10), TrainingFile("usb-02.jsonl", CONTENT + CONTENT, 20)
HEX = "0123456789abcdef" * 4
WANDB = {"type": "wandb", "project": "p", "api_key_env": "WANDB_API_KEY"}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    monkeypatch.setenv("WANDB_API_KEY", "wandb-secret-1")


@contextmanager
def tuning(api: MistralApi) -> Iterator[tuple[MistralTuner, Server]]:
    with serving(api) as server:
        yield MistralTuner(Mistral(model="m", base_url=f"{server.url}/v1"), lambda seconds: None), server


def job(**changes: Any) -> TuningJob:
    given = {"key": HEX, "training": (("file-1", 1.0),), "training_steps": 20, **changes}
    return TuningJob(**given)


def test_it_is_a_tuner() -> None:
    """The provider hands it out."""
    assert isinstance(Mistral(model="m").tuner(), Tuner)


def test_files_go_and_are_found_by_name() -> None:
    """The bytes as they are, under a name that another file does not have."""
    api = MistralApi()
    with tuning(api) as (tuner, server):
        assert [tuner.upload(file) for file in (FIB, USB)] == ["file-1", "file-2"]
        assert [tuner.find_file(name) for name in ("usb-02.jsonl", "usb", "no.jsonl")] == [
            "file-2",
            None,
            None,
        ]
    assert api.contents["file-2"] == USB.content
    assert {call.path for call in server.calls} == {"/v1/files"}


def test_create_prices_first(caplog: pytest.LogCaptureFixture) -> None:
    """A dry run of the same body tells the price; then the job is made, with files, weights and settings."""
    caplog.set_level(logging.INFO)
    api = MistralApi()
    with tuning(api) as (tuner, server):
        for file in (FIB, USB):
            tuner.upload(file)
        tuner.create(
            job(
                training=(("file-1", 1.0), ("file-2", 0.5)),
                validation="file-1",
                learning_rate=1e-4,
                n_epochs=2,
                suffix="fib+usb",
                integrations=(WANDB,),
            )
        )
    dry, real = server.calls[-2:]
    assert (dry.query, real.query, dry.json) == ({"dry_run": ["true"]}, {}, real.json)
    assert "this job costs 4.0 USD" in caplog.text
    assert real.json == {
        "model": "m",
        "job_type": "completion",
        "training_files": [{"file_id": "file-1", "weight": 1.0}, {"file_id": "file-2", "weight": 0.5}],
        "validation_files": ["file-1"],
        "hyperparameters": {"training_steps": 20, "learning_rate": 1e-4, "epochs": 2},
        "suffix": "0123456789ab-fib-u",
        "integrations": [{"type": "wandb", "project": "p", "api_key": "wandb-secret-1"}],
        "auto_start": True,
    }


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"batch_size": 4}, "hyperparameter.batch_size: mistral takes hyperparameter.training_steps"),
        ({"learning_rate_multiplier": 0.5}, "hyperparameter.learning_rate_multiplier"),
        (
            {"integrations": ({**WANDB, "api_key_env": "NO_KEY"},)},
            r"finetune.integrations\[0\].api_key_env=NO_KEY: the env",
        ),
        ({"options": {"hyperparameters": {"epochs": 9}}}, "finetune.options.hyperparameters: cannot be set"),
        ({"options": {"suffix": "x"}}, "finetune.options.suffix: cannot be set here; finetune.suffix does"),
    ],
)
def test_what_mistral_does_not_have_is_refused(changes: dict[str, Any], key: str) -> None:
    """Before any call."""
    with tuning(MistralApi()) as (tuner, server):
        with pytest.raises(ConfigError, match=key):
            tuner.create(job(**changes))
        assert server.calls == []


def test_a_job_is_found_by_its_suffix() -> None:
    """The newest that did not fail; a failed one only if there is no other."""
    api = MistralApi()
    with tuning(api) as (tuner, _):
        tuner.upload(FIB)
        other, first, second = (tuner.create(job(key=key)) for key in ("9" * 64, HEX, HEX))
        assert (tuner.find_job(HEX), tuner.find_job("9" * 64), tuner.find_job("8" * 64)) == (
            second,
            other,
            None,
        )
        api.jobs[second]["status"] = "FAILED"
        assert tuner.find_job(HEX) == first
        api.jobs[first]["status"] = "CANCELLED"
        assert tuner.find_job(HEX) == second


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("QUEUED", "queued"),
        ("VALIDATING", "queued"),
        ("VALIDATED", "queued"),
        ("STARTED", "running"),
        ("RUNNING", "running"),
        ("CANCELLATION_REQUESTED", "running"),
        ("SUCCESS", "succeeded"),
        ("FAILED", "failed"),
        ("FAILED_VALIDATION", "failed"),
        ("CANCELLED", "cancelled"),
        ("HIBERNATING", "running"),
    ],
)
def test_every_state_of_the_open_set(word: str, state: str) -> None:
    """The ten known words, and one that may come."""
    with tuning(MistralApi(states=(word,))) as (tuner, _):
        tuner.upload(FIB)
        assert tuner.status(tuner.create(job())).state == state


def test_a_failure_has_its_reason() -> None:
    """It is in the last event."""
    with tuning(MistralApi(states=("FAILED",), error={"error": "bad row 3"})) as (tuner, _):
        tuner.upload(FIB)
        status = tuner.status(tuner.create(job()))
    assert status.detail == "status-updated: status FAILED, error bad row 3"


def test_a_finished_job() -> None:
    """Model, tokens, share done, events oldest first, and a curve from the checkpoints' metrics."""
    with tuning(MistralApi(states=("SUCCESS",))) as (tuner, _):
        tuner.upload(FIB)
        job_id = tuner.create(job())
        status = tuner.status(job_id)
        assert tuner.events(job_id) == ["job-created", "status-updated: status SUCCESS"]
        assert tuner.curve(job_id) == {"train_loss": [(10, 2.0), (20, 1.0)], "valid_loss": [(20, 1.5)]}
    assert (status.model, status.trained_tokens, status.progress) == ("ft:mistral:1", 999, 1.0)


def test_only_the_last_checkpoint_can_be_evaluated(caplog: pytest.LogCaptureFixture) -> None:
    """The earlier ones have no model id, and the log says so."""
    caplog.set_level(logging.INFO)
    with tuning(MistralApi(states=("RUNNING", "SUCCESS"))) as (tuner, _):
        tuner.upload(FIB)
        job_id = tuner.create(job())
        assert tuner.checkpoints(job_id) == []
        found = tuner.checkpoints(job_id)
    assert found == [Checkpoint(2, 20, "ft:mistral:1", {"train_loss": 1.0, "valid_loss": 1.5})]
    assert "only the last has a model id" in caplog.text


def test_serving_answers_as_the_model() -> None:
    """The same account under the fine-tuned model's id."""
    served = Mistral(model="m").tuner().serving("ft:mistral:1")
    assert (served.model, served.name) == ("ft:mistral:1", "mistral")


def test_a_service_that_no_longer_fine_tunes_names_the_local_one() -> None:
    """The words that users report, and what trains instead."""
    refusal = Reply({"detail": [{"msg": "Model not available for this type of fine-tuning"}]}, status=422)
    with tuning(MistralApi(refusal=refusal)) as (tuner, _):
        tuner.upload(FIB)
        with pytest.raises(ProviderError, match=r"not available for this type.*provider=local"):
            tuner.create(job())


def test_no_refusal_quotes_a_key() -> None:
    """Validation errors repeat the input, the key of an integration included."""

    def echo(call: Call) -> Reply:
        return Reply({"detail": [{"msg": f"bad {KEY}", "input": call.json}]}, status=422)

    with serving(echo) as server:
        tuner = Mistral(model="m", base_url=server.url).tuner()
        with pytest.raises(ProviderError) as caught:
            tuner.create(job(integrations=(WANDB,)))
    assert "wandb-secret-1" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_nothing_that_costs_is_sent_twice() -> None:
    """A create or an upload whose answer is lost is not repeated; a look at a job is."""
    with serving(lambda call: Reply(fault="cut")) as server:
        tuner = MistralTuner(Mistral(model="m", base_url=server.url), lambda seconds: None)
        for call in (lambda: tuner.create(job()), lambda: tuner.upload(FIB), lambda: tuner.status("j")):
            with pytest.raises(RetryableError):
                call()
    assert [call.method for call in server.calls] == ["POST", "POST", *["GET"] * 6]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_garbage_is_not_an_answer(body: bytes) -> None:
    """What is no job is a fault on the way."""
    with serving(lambda call: Reply(body)) as server:
        tuner = MistralTuner(Mistral(model="m", base_url=server.url), lambda seconds: None)
        with pytest.raises(RetryableError, match="cannot be read"):
            tuner.status("j")


def sdk_errors() -> list[Exception]:
    response = httpx2.Response(500, text=f"boom {KEY}")
    data = errors.HTTPValidationErrorData()
    return [
        errors.MistralError("boom", response),
        errors.SDKError("boom", response),
        errors.HTTPValidationError(data, response),
        errors.ResponseValidationError("boom", response, ValueError("boom")),
        errors.ObservabilityError.__new__(errors.ObservabilityError),
        errors.NoResponseError(f"boom {KEY}"),
        httpx2.ConnectError(f"boom {KEY}"),
        httpx2.ReadTimeout("boom"),
        json.JSONDecodeError("boom", "", 0),
    ]


@pytest.mark.parametrize("error", sdk_errors(), ids=lambda error: type(error).__name__)
def test_every_error_of_the_sdk_is_ours(error: Exception) -> None:
    """Whatever class it is, and without the key in its message."""
    if isinstance(error, errors.ObservabilityError):
        errors.MistralError.__init__(error, "boom", httpx2.Response(500, text="boom"))
    with (
        pytest.raises(ProviderError, match="boom") as caught,
        translate_errors(Service("mistral", "u", secrets=(KEY,))),
    ):
        raise error
    assert KEY not in str(caught.value)


def test_no_error_class_of_the_sdk_is_forgotten() -> None:
    """The list above has every exception that the SDK exports."""
    exported = {getattr(errors, name) for name in errors.__all__}
    classes = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes <= {type(error) for error in sdk_errors()}
