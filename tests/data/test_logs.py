"""Logs of other tools, as these wrote them (``python -m tests.support.logs``); OpenAI's evals are played."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from logs import LOGS
from places import dataset_option

from runner.core.errors import ConfigError, DataError
from runner.data.dataset import load_rows
from runner.data.files.archive import join_samples


def load(option: str, file: object, *overrides: str) -> pl.DataFrame:
    path = file if isinstance(file, Path) else LOGS / str(file)
    return load_rows(dataset_option(f"logs/{option}", f"path={path}", *overrides))


def test_inspect_epochs_are_lists() -> None:
    """A row is a sample; each epoch is an item of its lists, in their order."""
    rows = load("inspect", "inspect_large.eval", "params.scorer=match")
    assert rows["id"].to_list() == ["Egypt", "Kenya", "Laos", "Peru"]
    laos = rows.row(2, named=True)
    assert (laos["question"], laos["target"]) == ("What is the capital of Laos?", "Vientiane")
    assert (laos["recorded"], laos["their_score"]) == (["Vientiane", "Lagos"], [1.0, 0.0])
    assert laos["their_model"] == ["large", "large"]
    assert (laos["their_input_tokens"], laos["their_output_tokens"]) == ([12, 12], [3, 3])
    f1 = load("inspect", "inspect_large.eval", "params.scorer=f1")
    assert f1["their_score"].to_list() == [[1, 1], [1, 1], [1, 0], [0.5, 0.5]]


def test_inspect_json_is_the_same_log(tmp_path: Path) -> None:
    """A .json log has the samples of the .eval log in one list."""
    joined = join_samples(LOGS / "inspect_small.eval")
    assert joined
    (tmp_path / "log.json").write_bytes(joined)
    both = [
        load("inspect", file, "params.scorer=match") for file in ("inspect_small.eval", tmp_path / "log.json")
    ]
    assert both[0].equals(both[1])


def test_inspect_scorers_and_logs_are_chosen() -> None:
    """Which of several scorers is meant must be said, and several logs are no epochs."""
    with pytest.raises(
        DataError, match=r"/scores has 2 values, .* name one of them: match, f1; set dataset\.params\.scorer$"
    ):
        load("inspect", "inspect_large.eval")
    with pytest.raises(DataError, match="no 'mach' in /scores; did you mean 'match'"):
        load("inspect", "inspect_large.eval", "params.scorer=mach")
    with pytest.raises(DataError, match=r"only\.file: choose one of 2 values: 'inspect_large\.eval'"):
        load("inspect", "inspect_*.eval", "params.scorer=match")


def test_inspect_values_count_as_there(tmp_path: Path) -> None:
    """C, P, I, N, words and numbers; a sample with an error has no answer."""
    values = ["C", "P", "I", "N", True, "no", 0.25, "0.5", "?"]
    samples = [
        {
            "id": number,
            "epoch": 1,
            "input": "q",
            "target": "t",
            "scores": {"s": {"value": value}},
            "output": {"completion": "said"},
        }
        for number, value in enumerate(values)
    ]
    failed = {"scores": {}, "output": {"completion": ""}, "error": {"message": "no"}}
    samples.append(samples[0] | failed | {"id": 9})
    (tmp_path / "log.json").write_text(json.dumps({"samples": samples}))
    rows = load("inspect", tmp_path / "log.json")
    expected = [1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.25, 0.5, None, None]
    assert rows["their_score"].explode().to_list() == expected
    assert rows["recorded"].explode().to_list() == ["said"] * 9 + [None]
    assert rows["their_error"].explode().to_list() == [None] * 9 + ["no"]


def test_an_archive_without_samples_is_no_log(tmp_path: Path) -> None:
    """An .eval file of something else is named."""
    with zipfile.ZipFile(tmp_path / "a.eval", "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(DataError, match=r"a\.eval is an archive; name a file in it"):
        load("inspect", tmp_path / "a.eval")


def test_lm_eval_text() -> None:
    """The raw answer is recorded, and what a filter made of it stands beside it."""
    with pytest.raises(DataError, match=r"values: 'strict', 'last_word'; set dataset\.params\.filter$"):
        load("lm_eval", "lm_eval_capitals.jsonl")
    rows = load("lm_eval", "lm_eval_capitals.jsonl", "params.filter=last_word")
    assert rows["recorded"].to_list() == [["The capital is Lima."], ["Nairobi"], ["Cairo."], ["Vientiane"]]
    assert rows["their_answer"].to_list() == rows["target"].to_list()
    assert rows["their_score"].to_list() == [1.0] * 4
    strict = load("lm_eval", "lm_eval_capitals.jsonl", "params.filter=strict")
    assert strict["their_score"].to_list() == [0.0, 1.0, 0.0, 1.0]


def test_lm_eval_choices() -> None:
    """Log-likelihoods are no answers: the highest one is the choice, and their score follows from it."""
    with pytest.raises(DataError, match="log-likelihoods, and no answers; experiment=logs/lm_eval_choices"):
        load("lm_eval", "lm_eval_choices.jsonl")
    rows = load("lm_eval_choices", "lm_eval_choices.jsonl")
    assert rows.height == 4
    right = rows["recorded"].cast(pl.Int64) == rows["target"].cast(pl.Int64)
    assert right.cast(pl.Float64).to_list() == rows["their_score"].to_list()


def test_promptfoo_points_are_chosen() -> None:
    """One file has several providers and prompts; a row of a point is a test."""
    with pytest.raises(DataError, match=r"provider: choose one of 2 values: .*openai:chat:small"):
        load("promptfoo", "promptfoo.json.gz")
    with pytest.raises(DataError, match="prompt: choose one of 2 values: 'plain', 'polite'"):
        load("promptfoo", "promptfoo.json.gz", "params.provider=openai:chat:small")
    chosen = ("params.provider=openai:chat:small", "params.prompt=plain")
    rows = load("promptfoo", "promptfoo.json.gz", *chosen).sort("id")
    assert rows["id"].to_list() == ["0", "1", "2", "3"]
    assert rows["target"].to_list() == ["Lima", "Nairobi", "Cairo", "Vientiane"]
    assert rows["recorded"].to_list()[:3] == ["The capital is Lima.", "Lagos", "Cairo."]
    assert rows["their_pass"].to_list()[:3] == [False] * 3
    assert rows["their_input_tokens"].to_list() == [12] * 4
    other = load("promptfoo", "promptfoo.json.gz", *chosen, "params.target=/vars/country")
    assert sorted(other["target"]) == ["Egypt", "Kenya", "Laos", "Peru"]


def test_scores_of_some_rows_may_be_whole(tmp_path: Path) -> None:
    """JavaScript writes 1 beside 0.5, and the option makes numbers of both; a word is an error."""
    item = {"datasource_item_id": 1, "run_id": "r", "sample": {"input": [{"content": "q"}]}}
    items = [item | {"results": [{"score": score, "passed": True}]} for score in (1, 0.5)]
    (tmp_path / "a.json").write_text(json.dumps({"data": items}))
    of_items = ("openai_evals", tmp_path / "a.json", "params.target=datasource_item_id")
    with pytest.raises(DataError, match="'id' are in more than one row"):
        load(*of_items)
    items[1]["datasource_item_id"] = 2
    (tmp_path / "a.json").write_text(json.dumps({"data": items}))
    assert load(*of_items)["their_score"].to_list() == [1.0, 0.5]

    lines = (LOGS / "lm_eval_capitals.jsonl").read_text()
    lines = lines.replace('"exact_match": 1.0}', '"exact_match": 1}', 1)
    (tmp_path / "b.jsonl").write_text(lines)
    rows = load("lm_eval", tmp_path / "b.jsonl", "params.filter=strict")
    assert rows["their_score"].to_list() == [0.0, 1.0, 0.0, 1.0]
    (tmp_path / "b.jsonl").write_text(lines.replace('"exact_match": 1}', '"exact_match": "yes"}'))
    with pytest.raises(DataError, match="conversion from `str` to `f64` failed"):
        load("lm_eval", tmp_path / "b.jsonl", "params.filter=strict")


def test_openai_evals() -> None:
    """The items of a run, as the API lists them; where the gold value is must be said."""
    with pytest.raises((ConfigError, DataError)):
        load("openai_evals", "openai_evals.json", "params.target=/datasource_item/item/answer")
    rows = load("openai_evals", "openai_evals.json", "params.target=/datasource_item/item/gold")
    assert rows.select("question", "target", "recorded", "their_score", "their_pass").rows() == [
        ("What is the capital of Peru?", "Lima", "Lima", 1.0, True),
        ("What is the capital of Egypt?", "Cairo", "Cairo.", 0.0, False),
    ]


def test_one_command_compares_two_logs(runner) -> None:  # type: ignore[no-untyped-def]
    """Intervals, a paired test and the agreement of both scorers, epoch by epoch, in one command."""
    paths = ",".join(str(LOGS / f"inspect_{model}.eval") for model in ("large", "small"))
    words = ["experiment=logs/inspect", f"dataset.path={paths}", "dataset.params.scorer=match"]
    outcome = runner("-m", *words, "tracking=none")
    assert outcome.code == 0, outcome.err
    assert "not distinguishable, p" in outcome.out
    scores = [record.scores for record in runner.records()]
    assert [one["their_score"].value for one in scores] == [0.625, 0.375]
    assert all(one["scorers_agree"].value == 1 for one in scores)
    assert None not in (scores[0]["their_score"].low, scores[0]["their_score"].high)


def test_inspect_targets_are_of_one_kind(tmp_path: Path) -> None:
    """A list of targets, each of which is right, stays one; a text beside it would make it a text."""
    sample = {"epoch": 1, "input": "q", "scores": {"s": {"value": "C"}}, "output": {"completion": "a"}}
    for targets in ([["a", "b"], ["c"]], ["a", "c"]):
        samples = [sample | {"id": number, "target": one} for number, one in enumerate(targets)]
        (tmp_path / "log.json").write_text(json.dumps({"samples": samples}))
        assert load("inspect", tmp_path / "log.json")["target"].to_list() == targets
    samples[1]["target"] = ["c", "d"]
    (tmp_path / "log.json").write_text(json.dumps({"samples": samples}))
    with pytest.raises(DataError, match="some samples have one target and some a list of them"):
        load("inspect", tmp_path / "log.json")
