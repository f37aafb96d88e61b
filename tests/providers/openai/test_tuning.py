"""Fine-tuning at OpenAI, against a server that checks every field."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest
from hosted import KEY, OpenAIApi
from servers import Call, Reply, Server, serving

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, RetryableError
from runner.core.provider import Tuner
from runner.core.services import Checkpoint, TrainingFile, TuningJob
from runner.providers.http.failures import Service
from runner.providers.openai import OpenAI, OpenAICompatible
from runner.providers.openai.tuning import OpenAITuner, translate_errors

ROW = {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}
FILE = TrainingFile("facts-0123.jsonl", (json.dumps(ROW) + "\n").encode() * 10, 10)
JOB = TuningJob(key="k" * 64, training=(("file-1", 1.0),), n_epochs=3)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@contextmanager
def tuning(api: OpenAIApi) -> Iterator[tuple[OpenAITuner, Server]]:
    with serving(api) as server:
        yield OpenAITuner(OpenAI(model="m", base_url=f"{server.url}/v1"), lambda seconds: None), server


def created(**changes: Any) -> dict[str, Any]:
    """The body of the create call for the job above with these changes."""
    with tuning(OpenAIApi()) as (tuner, server):
        tuner.upload(FILE)
        given = {"key": JOB.key, "training": JOB.training, "n_epochs": 3, **changes}
        tuner.create(TuningJob(**given))
    return dict(server.last.json)


def test_it_is_a_tuner() -> None:
    """The provider hands it out; other servers cannot fine-tune and name what can."""
    assert isinstance(OpenAI(model="m").tuner(), Tuner)
    with pytest.raises(ConfigError, match="provider=local"):
        OpenAICompatible(model="m", base_url="http://localhost/v1").tuner()


def test_upload_waits_until_the_file_is_read() -> None:
    """The bytes arrive as they are, and the id comes back once they are processed."""
    api = OpenAIApi()
    with tuning(api) as (tuner, server):
        assert tuner.upload(FILE) == "file-1"
    assert api.contents["file-1"] == FILE.content
    assert api.files["file-1"]["filename"] == FILE.name
    assert [(call.method, call.path) for call in server.calls] == [
        ("POST", "/v1/files"),
        ("GET", "/v1/files/file-1"),
    ]


def test_a_file_is_found_by_name() -> None:
    """Names hold the digest of the content, so an equal name is an equal file."""
    with tuning(OpenAIApi()) as (tuner, _):
        tuner.upload(FILE)
        assert tuner.find_file(FILE.name) == "file-1"
        assert tuner.find_file("other.jsonl") is None


def test_create() -> None:
    """Method instead of the old hyperparameters, the key as metadata, all settings at their place."""
    body = created(
        validation="file-1",
        batch_size=4,
        learning_rate_multiplier=0.5,
        seed=7,
        suffix="facts",
        integrations=({"type": "wandb", "wandb": {"project": "p"}},),
    )
    given = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert body == {
        "model": "m",
        "training_file": "file-1",
        "validation_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": given}},
        "seed": 7,
        "suffix": "facts",
        "metadata": {"runner_key": "k" * 64},
        "integrations": [{"type": "wandb", "wandb": {"project": "p"}}],
    }


def test_integration_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config names a variable, the service gets its value, and no message quotes it."""
    monkeypatch.setenv("WANDB_KEY", "wandb-secret-1")
    given = {"type": "wandb", "wandb": {"project": "p", "api_key_env": "WANDB_KEY"}}
    sent = {"type": "wandb", "wandb": {"project": "p", "api_key": "wandb-secret-1"}}
    assert created(integrations=(given,))["integrations"] == [sent]
    with serving(lambda call: Reply({"detail": str(call.json)}, status=422)) as server:
        tuner = OpenAI(model="m", base_url=server.url).tuner()
        with pytest.raises(ProviderError) as caught:
            tuner.create(replace(JOB, integrations=(given,)))
    assert "wandb-secret-1" not in str(caught.value)
    monkeypatch.delenv("WANDB_KEY")
    with pytest.raises(ConfigError, match=r"integrations\[0\].wandb.api_key_env=WANDB_KEY: the env"):
        tuner.check_job(replace(JOB, integrations=(given,)))


def test_create_leaves_the_rest_to_the_service() -> None:
    """None is not sent."""
    assert created(n_epochs=None)["method"] == {"type": "supervised"}
    assert set(created()) == {"model", "training_file", "method", "metadata"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"learning_rate": 1e-4}, "hyperparameter.learning_rate:"),
        ({"training_steps": 10}, "hyperparameter.training_steps"),
        ({"training": (("a", 1.0), ("b", 1.0))}, "finetune.extra"),
        ({"training": (("a", 2.0),)}, "finetune.extra"),
        (
            {"options": {"metadata": {}}},
            "finetune.options.metadata: cannot be set here; it finds the job again",
        ),
        ({"options": {"method": {}}}, "finetune.options.method: cannot be set here; hyperparameter does"),
    ],
)
def test_what_openai_does_not_have_is_refused(changes: dict[str, Any], key: str) -> None:
    """Before any call, naming what it has instead."""
    with pytest.raises(ConfigError, match=key):
        OpenAI(model="m", base_url="http://127.0.0.1:9").tuner().create(
            TuningJob(**{"key": "k", "training": JOB.training, **changes})
        )


def test_a_job_is_found_by_its_key_over_all_pages() -> None:
    """Among others of the account, whatever order they come in."""
    api = OpenAIApi(page=2)
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        ids = [tuner.create(TuningJob(key=key, training=JOB.training)) for key in "abcde"]
        assert [tuner.find_job(key) for key in "abcdef"] == [*ids, None]


def test_a_failed_job_gives_way_to_one_that_did_not_fail() -> None:
    """Of several with one key the newest that can still succeed is ours."""
    api = OpenAIApi()
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        first, second = tuner.create(JOB), tuner.create(JOB)
        api.jobs[second]["status"] = "failed"
        assert tuner.find_job(JOB.key) == first
        api.jobs[first]["status"] = "cancelled"
        assert tuner.find_job(JOB.key) == second


def test_status_goes_on_to_the_model() -> None:
    """The six words of the API, and the finished model with its tokens."""
    api = OpenAIApi(states=("validating_files", "queued", "running", "succeeded"))
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        job_id = tuner.create(JOB)
        seen = [tuner.status(job_id) for _ in range(4)]
    assert [status.state for status in seen] == ["queued", "queued", "running", "succeeded"]
    assert (seen[-1].model, seen[-1].trained_tokens) == ("ft:m:o::1", 999)
    assert seen[0].model is None


@pytest.mark.parametrize(
    ("word", "state"),
    [("failed", "failed"), ("cancelled", "cancelled"), ("paused", "paused"), ("resting", "running")],
)
def test_every_end_is_told_with_its_reason(word: str, state: str) -> None:
    """The provider's reason where it gives one; a new word counts as running and is passed on."""
    error = {"code": "invalid_file", "message": "bad row 3", "param": None} if word == "failed" else None
    with tuning(OpenAIApi(states=(word,), error=error)) as (tuner, _):
        tuner.upload(FILE)
        status = tuner.status(tuner.create(JOB))
    assert (status.state, status.detail) == (state, "invalid_file: bad row 3" if error else word)


def test_events_are_oldest_first_over_all_pages() -> None:
    """The API gives the newest first, in pages."""
    with tuning(OpenAIApi(page=2)) as (tuner, _):
        assert tuner.events("ftjob-1") == ["event 1", "event 2", "event 3"]


def finished(api: OpenAIApi, tuner: OpenAITuner) -> str:
    tuner.upload(FILE)
    job_id = tuner.create(JOB)
    api.jobs[job_id] = api.finished(api.jobs[job_id] | {"status": "succeeded"})
    api.states = ("succeeded",)
    return job_id


def test_curve() -> None:
    """The base64 result file becomes curves, without its sentinels."""
    api = OpenAIApi()
    with tuning(api) as (tuner, _):
        curve = tuner.curve(finished(api, tuner))
    assert curve == {"train_loss": [(1, 2.5), (2, 1.5), (3, 0.5)], "valid_loss": [(3, 0.75)]}


def test_a_broken_result_file_costs_only_the_curve(caplog: pytest.LogCaptureFixture) -> None:
    """The model is there and paid for."""

    class Broken(OpenAIApi):
        def route(self, call: Call) -> Reply:
            return Reply(b"not a table") if call.path.endswith("/content") else super().route(call)

    api = Broken()
    with tuning(api) as (tuner, _):
        assert tuner.curve(finished(api, tuner)) == {}
    assert "no training curve" in caplog.text


def test_checkpoints_are_numbered_by_epoch() -> None:
    """From the job's own list, oldest first, the finished model last."""
    api = OpenAIApi(page=2)
    with tuning(api) as (tuner, _):
        found = tuner.checkpoints(finished(api, tuner))
    assert found == [
        Checkpoint(1, 1, "ft:m:o::1:ckpt-step-1", {"train_loss": 1.0}),
        Checkpoint(2, 2, "ft:m:o::1:ckpt-step-2", {"train_loss": 0.5}),
        Checkpoint(3, 3, "ft:m:o::1", {"train_loss": 1 / 3}),
    ]


def test_checkpoints_that_were_not_kept_leave_their_numbers() -> None:
    """Of five epochs the API keeps three: they are 3, 4 and 5, as they are with every other provider."""
    kept = ((375, "ft:m:o::1:ckpt-step-375"), (500, "ft:m:o::1:ckpt-step-500"), (625, "ft:m:o::1"))
    api = OpenAIApi(checkpoints=kept)
    with tuning(api) as (tuner, _):
        job_id = finished(api, tuner)
        api.jobs[job_id]["hyperparameters"] = {"n_epochs": 5}
        assert [point.number for point in tuner.checkpoints(job_id)] == [3, 4, 5]


def test_the_finished_model_is_always_a_checkpoint() -> None:
    """Also where the list holds none: it is that of the last epoch."""
    api = OpenAIApi(checkpoints=())
    with tuning(api) as (tuner, _):
        assert tuner.checkpoints(finished(api, tuner)) == [Checkpoint(3, 0, "ft:m:o::1")]


def test_serving_answers_as_the_model() -> None:
    """The same account and settings under the fine-tuned model's id."""
    provider = OpenAI(model="m", max_concurrency=3)
    served = provider.tuner().serving("ft:m:o::1")
    assert served.identity() == {**provider.identity(), "model": "ft:m:o::1"}
    assert served.max_concurrency == 3


def test_a_closed_service_names_the_local_one() -> None:
    """Accounts that may not fine-tune any more are told what still can."""
    with serving(lambda call: Reply({"error": {"message": "Fine-tuning is closed"}}, status=403)) as server:
        tuner = OpenAI(model="m", base_url=server.url).tuner()
        with pytest.raises(FatalProviderError, match=r"Fine-tuning is closed.*provider=local"):
            tuner.create(JOB)


def test_nothing_that_costs_is_sent_twice() -> None:
    """A failed create or upload is not repeated by the SDK; a look at a job is."""
    with serving(
        lambda call: Reply({"error": {"message": "boom"}}, status=500, headers={"retry-after-ms": "1"})
    ) as server:
        tuner = OpenAI(model="m", base_url=server.url).tuner()
        for call in (lambda: tuner.create(JOB), lambda: tuner.upload(FILE), lambda: tuner.status("j")):
            with pytest.raises(RetryableError):
                call()
    assert [call.method for call in server.calls] == ["POST", "POST", *["GET"] * 6]


def leaves(kind: type) -> set[type]:
    return {kind}.union(*(leaves(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(leaves(openai.OpenAIError), key=lambda kind: kind.__name__))
def test_every_error_of_the_sdk_is_ours(kind: type[openai.OpenAIError]) -> None:
    """Whatever class it is, and without the key in its message."""
    error = kind.__new__(kind)
    error.args = (f"boom {KEY}",)
    if isinstance(error, openai.APIStatusError):
        error.status_code, error.body = kind.__dict__.get("status_code", 500), {"message": f"boom {KEY}"}
        error.response = httpx2.Response(500)
    with (
        pytest.raises(ProviderError, match="boom") as caught,
        translate_errors(Service("openai", "u", secrets=(KEY,))),
    ):
        raise error
    assert KEY not in str(caught.value)
