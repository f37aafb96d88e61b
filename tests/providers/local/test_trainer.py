"""Training on this machine: real LoRA and full fine-tuning of a tiny model, then served by llama.cpp."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_model

from runner.core.errors import ConfigError, DataError, ProviderError
from runner.core.provider import Tuner
from runner.core.services import TrainingFile, TuningJob, TuningStatus
from runner.core.types import Request, Sampling
from runner.pipeline.finetune import make_training_file
from runner.providers.local import Local, trainer, tuning
from runner.providers.local.llama import LoadedModel
from runner.providers.local.packing import encode
from runner.providers.local.training_folder import COLUMNS, TrainingFolder
from runner.providers.local.tuning import LocalTuner

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in tuning.EXTRA),
        reason="needs the extra train: torch, transformers, peft, gguf",
    ),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),  # peft's own use of it
]
KEY = "0123456789abcdef" * 4
ANSWERS = ("the thin thing", "the end", "in the tin", "nothing", "in the thin end", "tint", "hint", "the hen")
FILE = make_training_file(
    "things",
    [
        [
            {"role": "system", "content": "the thing"},
            {"role": "user", "content": f"question {number}?"},
            {"role": "assistant", "content": answer},
        ]
        for number, answer in enumerate(ANSWERS)
    ],
)


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return Local(
        model=str(tiny_model.write(tmp_path / "tiny.gguf")),
        context_length=512,
        models_dir=str(tmp_path / "models"),
    )


@pytest.fixture(autouse=True)
def _no_trainer_is_left() -> Iterator[None]:
    yield
    for child in tuning._children.values():
        child.kill()
        child.wait()
    tuning._children.clear()


@pytest.fixture
def _trains_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers work in this process, which has torch already: another one needs ten seconds of CPU for it."""
    monkeypatch.setattr(LocalTuner, "_spawn", lambda tuner, folder: trainer.main([str(folder.path)]))


def job(tuner: LocalTuner, key: str = KEY, validation: bool = False, **given: Any) -> TuningJob:
    """A job on the uploaded file; few steps, with rates that a tiny model can take."""
    file = tuner.upload(FILE)
    settings: dict[str, Any] = {"n_epochs": 2, "batch_size": 4, "learning_rate": 0.02, "seed": 1, **given}
    return TuningJob(key, ((file, 1.0),), file if validation else None, **settings)


def prepared(local: Local, **given: Any) -> TrainingFolder:
    """A job's folder without a trainer at work, for training in this process."""
    tuner = LocalTuner(local)
    wanted = job(tuner, **given)
    made = tuner._open_folder(f"local-{wanted.key[:12]}")
    made.prepare(tuner._make_recipe(wanted))
    return made


def never() -> bool:
    return False


def finished(tuner: LocalTuner, job_id: str, seconds: float = 120) -> TuningStatus:
    """The status once the training has ended."""
    ended = ("succeeded", "failed")
    status: TuningStatus = until(lambda: tuner.status(job_id), lambda found: found.state in ended, seconds)
    return status


def until(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 120) -> Any:
    """What is seen once it is good."""
    deadline = time.monotonic() + seconds
    while not good(value := look()):
        assert time.monotonic() < deadline, f"still {value}"
        time.sleep(0.05)
    return value


def first_token(loaded: LoadedModel, chat: list[Any]) -> dict[int, float]:
    """llama.cpp's five likeliest first tokens of an answer, with their log-probabilities."""
    body = {"messages": chat, "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 5}
    chunks = loaded.chat(body, never)
    parts = [part for chunk in chunks for part in chunk["choices"] if part.get("logprobs")]
    return {top["id"]: top["logprob"] for top in parts[0]["logprobs"]["content"][0]["top_logprobs"]}


def trained(local: Local, **given: Any) -> tuple[Any, Local]:
    """A model after five steps in this process, and the provider that serves it."""
    from runner.providers.local.torch_model import Optimizer, TrainableModel

    folder = prepared(local, training_steps=5, **given)
    recipe = folder.read_recipe()
    model = TrainableModel(recipe, local.find_settings().weights)
    optimizer = Optimizer(model, recipe, 5)
    chats = [json.loads(line)["messages"] for line in FILE.content.splitlines()]
    rows = [encode(chat, local.load()) for chat in chats]
    for step in range(5):
        model.add_gradient(rows)
        optimizer.step(step)
    checkpoint = folder.locate_checkpoint(1)
    checkpoint.mkdir()
    model.write(checkpoint)
    (checkpoint / "checkpoint.json").write_text("{}")
    return model, replace(local, model=f"{folder.path.name}:1")


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_llama_cpp_serves_what_was_trained(architecture: str, method: str, tmp_path: Path) -> None:
    """The log-probabilities are those of the trained PyTorch model, and not those of the base."""
    import torch

    weights = tiny_model.write(tmp_path / "tiny.gguf", architecture)
    base = Local(model=str(weights), context_length=512, models_dir=str(tmp_path / "models"))
    model, tuned = trained(base, options={"method": method})
    chat = [{"role": "user", "content": "the thing?"}]
    tokens = base.load().tokenize(base.load().apply_chat_template(chat), begins=True)
    with torch.no_grad():
        logits = model.eval()(torch.tensor([tokens])).logits[0, -1]
    expected = torch.log_softmax(logits, -1)
    measured = first_token(tuned.load(), chat)
    assert {token: expected[token].item() for token in measured} == pytest.approx(measured, abs=0.02)
    assert first_token(base.load(), chat) != pytest.approx(measured, abs=0.5)


def test_packing_changes_no_loss(local: Local) -> None:
    """Rows of one batch in one sequence, or each in its own: the same loss and accuracy."""
    model, _ = trained(local)
    rows = [encode(json.loads(line)["messages"], local.load()) for line in FILE.content.splitlines()]
    together = model.evaluate(rows, len(rows))
    assert model.evaluate(rows, 1) == pytest.approx(together, rel=1e-4)


@pytest.mark.usefixtures("_trains_here")
def test_a_job_from_upload_to_answer(local: Local) -> None:
    """The whole life: events, curve, checkpoints, a model that has learned."""
    tuner = LocalTuner(local)
    assert isinstance(tuner, Tuner)
    tuner.check((FILE,))
    assert tuner.find_file(FILE.name) is None
    wanted = job(tuner, n_epochs=40, validation=True)
    assert tuner.find_file(FILE.name) == FILE.name
    assert tuner.find_job(KEY) is None
    job_id = tuner.create(wanted)
    assert LocalTuner(local).find_job(KEY) == job_id
    status = finished(tuner, job_id)
    assert (status.state, status.model, status.progress) == ("succeeded", f"{job_id}:40", 1.0)
    checkpoints = tuner.checkpoints(job_id)
    assert [(point.number, point.step) for point in checkpoints] == [(n, 2 * n) for n in range(1, 41)]
    curve = tuner.curve(job_id)
    assert [step for step, _ in curve["train_loss"]] == list(range(1, 81))
    assert curve["valid_loss"][-1][1] == pytest.approx(checkpoints[-1].metrics["valid_loss"], abs=1e-6)
    assert curve["valid_loss"][-1][1] < 0.5 < 3 < curve["train_loss"][0][1]
    assert any("epoch 40" in event for event in tuner.events(job_id))
    question = Request(
        tuple(json.loads(FILE.content.splitlines()[1])["messages"][:2]), Sampling(temperature=0)
    )
    served = tuner.serving(status.model or "")
    assert asyncio.run(served.complete(question)).text == "the end"
    asyncio.run(served.aclose())
    assert served.identity() != local.identity()


class Killed(Exception):
    """Ends a training like a signal: nothing is saved on the way out."""


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_crash_at_any_step_changes_nothing_in_the_end(local: Local, tmp_path: Path, step: int) -> None:
    """Resumed from the last epoch, weights and curve are those of an undisturbed training, bit by bit."""
    given = {"n_epochs": 4, "options": {"lora_dropout": 0.1}}
    undisturbed = prepared(replace(local, models_dir=str(tmp_path / "other")), **given)
    trainer.train(undisturbed, never)
    disturbed = prepared(local, **given)

    def killed() -> bool:
        if disturbed.read_progress().step == step:
            raise Killed
        return False

    with pytest.raises(Killed):
        trainer.train(disturbed, killed)
    trainer.train(disturbed, never)
    for name in ("checkpoint-4/adapter.gguf", "checkpoint-4/checkpoint.json", "curve.csv"):
        assert (disturbed.path / name).read_bytes() == (undisturbed.path / name).read_bytes()


@pytest.mark.usefixtures("_trains_here")
def test_a_trainer_stops_with_its_runner_and_goes_on_with_the_next(local: Local) -> None:
    """The first trainer is a process of its own. Its runner is killed with SIGKILL: no process is left and no
    step is lost; the next runner's trainer goes on, and no second job is made.
    """
    wanted = prepared(local, n_epochs=100)
    name = wanted.path.name
    code = (
        "import time; from runner.providers.local import Local\n"
        f"tuner = Local(model={local.model!r}, context_length=512, models_dir={local.models_dir!r}).tuner()\n"
        f"while True: tuner.status({name!r}); time.sleep(0.05)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as runner:
        until(lambda: wanted.read_progress().step, lambda step: step > 3)
        runner.kill()
    until(wanted.is_running, lambda running: not running)
    stopped = wanted.read_progress().step
    assert wanted.read_events()[-1] == f"stopped after {stopped} steps, to be resumed"
    assert finished(LocalTuner(local), name).state == "succeeded"
    assert any(event.startswith(f"resumed after {stopped} of 200 steps") for event in wanted.read_events())


def test_only_one_trainer_works_on_a_folder(local: Local) -> None:
    """A second one leaves at once and changes nothing."""
    folder = prepared(local)
    with folder.claim() as mine:
        assert mine
        assert folder.is_running()
        assert trainer.main([str(folder.path)]) == 0
    assert not folder.is_running()
    assert folder.read_events() == []


def test_steps_end_a_training_within_an_epoch(local: Local) -> None:
    """``training_steps`` counts, whatever ``n_epochs`` says; the last state is a checkpoint too."""
    folder = prepared(local, training_steps=3, n_epochs=1)
    trainer.train(folder, never)
    points = LocalTuner(local).checkpoints(folder.path.name)
    assert [(point.number, point.step) for point in points] == [(1, 2), (2, 3)]
    lines = (folder.path / "curve.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert not (folder.path / "state.pt").exists()


def test_a_failed_training_tells_why_and_may_be_tried_again(local: Local) -> None:
    """The reason reaches the status; the next run, started later, tries once more."""
    folder = prepared(local)
    weights = Path(local.model)
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"beef")
    tuner = LocalTuner(local)
    assert trainer.main([str(folder.path)]) == 1
    status = tuner.status(folder.path.name)
    assert status.state == "failed"
    assert "has changed since the training began" in status.detail
    weights.write_bytes(content)
    assert LocalTuner(local).status(folder.path.name).state == "running"


def test_a_trainer_that_is_killed_again_and_again_is_given_up(local: Local, monkeypatch: Any) -> None:
    """Without getting ahead, a third start was the last."""
    monkeypatch.setattr(sys, "executable", "false")
    tuner = LocalTuner(local)
    job_id = tuner.create(job(tuner))
    assert "ended 3 times after step 0 (exit code 1" in finished(tuner, job_id, 20).detail


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"options": {"method": "lara"}}, r"finetune\.options\.method='lara': must be lora or full"),
        ({"options": {"lora_rnk": 4}}, r"finetune\.options\.lora_rnk.*did you mean 'lora_rank'"),
        ({"options": {"lora_rank": 0}}, r"finetune\.options\.lora_rank=0"),
        ({"options": {"warmup_ratio": True}}, r"finetune\.options\.warmup_ratio=True"),
        ({"integrations": ({"type": "wandb"},)}, r"finetune\.integrations"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    local: Local, given: dict[str, Any], message: str
) -> None:
    """The message names the key, and no job is left behind."""
    tuner = LocalTuner(local)
    with pytest.raises(ConfigError, match=message):
        tuner.create(job(tuner, **given))
    assert tuner.find_job(KEY) is None


def test_bad_rows_are_refused_before_training(local: Local) -> None:
    """One without an answer, one that does not fit the context."""
    tuner = LocalTuner(local)
    with pytest.raises(DataError, match=r"x.jsonl, line 1: .*assistant"):
        tuner.check((TrainingFile("x.jsonl", b'{"messages": [{"role": "user", "content": "a"}]}', 1),))
    long = [{"role": "user", "content": "a" * 600}, {"role": "assistant", "content": "b"}]
    with pytest.raises(DataError, match=r"line 1: 6\d\d tokens, more than provider.context_length=512"):
        tuner.check((make_training_file("long", [long]),))  # type: ignore[list-item]


def test_a_missing_extra_says_how_to_get_it(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch is the user's choice."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"training needs torch, .*llm-experiment-runner\[train\]"):
        LocalTuner(local).check((FILE,))


def test_checkpoints_that_are_not_there_are_named(local: Local) -> None:
    """An unknown checkpoint, an unknown training."""
    folder = prepared(local)
    trainer.train(folder, never)
    with pytest.raises(ConfigError, match=r"no such checkpoint.*did you mean 'local-0123456789ab:2'"):
        replace(local, model="local-0123456789ab:9").check()
    with pytest.raises(ProviderError, match="no training local-unknown"):
        LocalTuner(local).status("local-unknown")


def test_a_full_checkpoint_can_be_trained_on_and_a_lora_one_cannot(local: Local) -> None:
    """Weights on which nothing more lies are a base like any other."""
    full = prepared(local, options={"method": "full"})
    lora = prepared(local, key="f" * 64)
    for folder in (full, lora):
        trainer.train(folder, never)
    again = prepared(replace(local, model="local-0123456789ab:2"), key="e" * 64)
    assert again.read_recipe().model.endswith("checkpoint-2/model.gguf")
    with pytest.raises(ConfigError, match="is a LoRA checkpoint"):
        prepared(replace(local, model="local-ffffffffffff:1"), key="d" * 64)
