"""Fine-tuning from the command line, against fake servers of the hosted APIs."""

from __future__ import annotations

import json

import pytest
from hosted import KEY, OpenAIApi
from servers import Call, Reply, completion, serving
from training import ROWS, Hosting, at_azure, write_training


class Answering(OpenAIApi):
    """A fake API whose fine-tuned models answer correctly and whose base model always says 0."""

    def route(self, call: Call) -> Reply:
        if call.path.endswith("/chat/completions"):
            number = int(call.json["messages"][-1]["content"].split("+")[0])
            return Reply(completion(str(number + 1) if call.json["model"].startswith("ft:") else "0"))
        return super().route(call)


@pytest.fixture
def command(runner, monkeypatch):
    """Return the command line, with a small training in the user's own config folder."""
    for name in ("OPENAI_API_KEY", "TOKEN"):
        monkeypatch.setenv(name, KEY)
    for module in ("openai.tuning", "azure.tuning"):
        monkeypatch.setattr(f"runner.providers.{module}.RETRIES", 0)
    for module in ("azure.tuning", "hosting"):
        monkeypatch.setattr(f"runner.providers.{module}.POLL_S", 0.01)
    arguments = write_training(runner.folder)
    return lambda *more: runner(*arguments, *more)


def test_one_training_for_all_checkpoints(command, runner):
    """A sweep over checkpoints uploads and trains once, and evaluates the base model and each checkpoint."""
    api = Answering()
    with serving(api) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        outcome = command(*provider, "hyperparameter.n_epochs=3", "-m", "checkpoint=base,1,2,last")
    assert outcome.code == 0, outcome.err
    assert (len(api.files), len(api.jobs)) == (1, 1)
    records = runner.records()
    assert [record.tags["stage"] for record in records] == ["base", "checkpoint", "checkpoint", "fine-tuned"]
    assert [record.scores["exact_agreement"].value for record in records] == [0, 1, 1, 1]
    assert [item["number"] for item in records[3].models] == [1, 2, 3]
    assert records[1].curves["train_loss"]
    assert not records[0].curves


def test_what_only_questions_have_trains_once(command):
    """Fields of the requests change answers, and no training: both points ask one trained model."""
    api = Answering()
    with serving(api) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        outcome = command(*provider, "-m", "+provider.options.service_tier=default,flex")
        asked = [call for call in server.calls if call.path.endswith("/chat/completions")]
    assert outcome.code == 0, outcome.err
    assert len(api.jobs) == 1
    tiers = [call.json["service_tier"] for call in asked]
    assert tiers.count("default") == tiers.count("flex") > 0


def test_a_weight_of_no_file(command):
    """A mistyped name would leave its file with the weight 1."""
    outcome = command("provider=mistral", "provider.api_key_env=TOKEN", "+finetune.weights.datasett=2")
    assert outcome.code == 2
    assert "finetune.weights.datasett: no such training file; did you mean 'dataset'?" in outcome.err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("finetune.poll_s=-1", "finetune.poll_s: -1.0 must not be negative"),
        ("+finetune.weights.dataset=0", "finetune.weights.dataset: 0.0 must be greater than 0"),
        ("finetune.extra.more.limit=0", "finetune.extra.more.limit=0: at least one row is needed"),
    ],
)
def test_numbers_out_of_range(command, override, said):
    """Before anything is sent, with the whole key."""
    more = ["+dataset@finetune.extra.more=fib"] if "extra" in override else []
    outcome = command("provider=mistral", "provider.api_key_env=TOKEN", *more, override)
    assert outcome.code == 2
    assert said in outcome.err


def test_what_the_service_will_not_keep(command):
    """Of five epochs OpenAI keeps three: the first is refused before anything is bought."""
    api = Answering()
    with serving(api) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        outcome = command(*provider, "hyperparameter.n_epochs=5", "checkpoint=1")
        assert outcome.code == 2
        assert "openai keeps of 5 epochs: 3, 4, 5, last, last-1, last-2" in outcome.err
        assert not api.files
        assert not api.jobs


def test_names_of_equal_weights_are_asked_once(command, runner):
    """Of epochs 3, 4 and 5, whatever the service calls the last: 5 is last, and 4 is last-1."""
    kept = tuple((12 * epoch, f"ft:m:o::1:ckpt-step-{12 * epoch}") for epoch in (3, 4, 5))
    api = Answering(checkpoints=kept)
    with serving(api) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        settings = ["hyperparameter.n_epochs=5", "hyperparameter.batch_size=1"]
        outcome = command(*provider, *settings, "-m", "checkpoint=last-1,last,4,5")
        asked = [call.json["model"] for call in server.calls if call.path.endswith("/chat/completions")]
        missing = command(*provider, *settings, "checkpoint=2")
    assert outcome.code == 0, outcome.err
    assert {model: asked.count(model) for model in asked} == {kept[1][1]: 4, "ft:m:o::1": 4}
    assert [[item["number"] for item in record.models] for record in runner.records()[:4]] == [[3, 4, 5]] * 4
    assert "checkpoint: 2 does not exist; this training has 3, 4, 5, last, last-1, last-2" in missing.err


def test_trained_on_the_prompt_that_is_asked(command, runner):
    """Every training line is the chat that inference sends, with the gold turn appended."""
    api = Answering()
    with serving(api) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        assert command(*provider).code == 0
        uploaded = next(
            call for call in server.calls if call.path.endswith("/files") and call.method == "POST"
        )
    lines = [line for line in uploaded.body.decode().splitlines() if line.startswith('{"messages"')]
    assert len(lines) == 12
    assert json.loads(lines[3])["messages"] == [
        {"role": "user", "content": "3+1?"},
        {"role": "assistant", "content": "4"},
    ]


def test_fewer_training_rows(command):
    """The limit of the training's own data set is that of its rows; that of the run is not."""
    settings = ["dataset.limit=2", "dataset@finetune.dataset=sums"]
    for more, count in ((["finetune.dataset.limit=10"], 10), ([], 12)):
        api = Answering()
        with serving(api) as server:
            provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
            outcome = command(*provider, *settings, *more)
        assert outcome.code == 0, outcome.err
        assert len(api.contents["file-1"].splitlines()) == count


def test_evaluated_rows_are_not_trained_on(command):
    """Training rows that are also evaluated stop the run before any upload, unless ``memorize`` is set."""
    api = Answering()
    with serving(api) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        same = ["dataset.split.train=test"]
        outcome = command(*provider, *same)
        assert "evaluated rows are also among the training rows" in outcome.err
        assert not api.files
        rows = ["dataset.split.train=train", "dataset.split.evaluate=train", "finetune.memorize=true"]
        assert command(*provider, *rows).code == 0
    assert len(api.jobs) == 1


def test_shots_and_training_exclude_each_other(command):
    """A fine-tuned model is trained and asked without shots."""
    outcome = command("provider=openai", "hyperparameter.n_shot=2")
    assert outcome.code == 2
    assert "hyperparameter.n_shot: a fine-tuned model is trained and asked without shots" in outcome.err


def test_deployed_evaluated_deleted(command, runner):
    """On Azure a fine-tuned model is deployed only for its calls; a second run deploys nothing."""
    api = Hosting()
    with serving(api) as server:
        provider = at_azure(server.url)
        first = command(*provider)
        assert first.code == 0, first.err
        assert (api.made, len(api.deployments)) == (1, 0)
        assert command(*provider).code == 0
        assert (api.made, len(api.jobs)) == (1, 1)
    assert [record.scores["exact_agreement"].value for record in runner.records()] == [1, 1]


def test_reproduced_by_its_identity(command, runner, monkeypatch):
    """A checkpoint's run is reproduced without its job, server or API key, and its training is compared."""
    with serving(Answering()) as server:
        provider = ["provider=openai", f"provider.base_url={server.url}/v1", "provider.model=m"]
        assert command(*provider, "checkpoint=1").code == 0
    monkeypatch.delenv("OPENAI_API_KEY")
    (folder,) = runner.folder.glob("outputs/runs/*")
    outcome = runner("reproduce", str(folder), "--config-dir", "mine")
    assert outcome.code == 0, outcome.err
    assert [line.split()[1] for line in outcome.out.splitlines() if line.startswith("training")] == ["same"]
    rows = [json.dumps(row | {"target": "0"} if row["part"] == "train" else row) for row in ROWS]
    (runner.folder / "rows.jsonl").write_text("\n".join(rows))
    assert "not reproduced" in (outcome := runner("reproduce", str(folder), "--config-dir", "mine")).err
    assert "data train, training" in outcome.err
