"""Loading rows from config: numbering, splits, limits, and the options that ship."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from places import dataset_option

from runner.config.dataset_schema import DatasetConfig, FileConfig, SplitConfig, StepConfig
from runner.core.errors import ConfigError, DataError
from runner.core.paths import CONF, ROWS
from runner.data import dataset
from runner.data.fingerprint import describe_rows


def rows_file(folder: Path, name: str = "rows.jsonl", count: int = 10, **columns: Any) -> str:
    """A JSONL file of ``count`` numbered rows; further columns are lists."""
    rows = [{"n": n} | {key: values[n] for key, values in columns.items()} for n in range(count)]
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    return str(folder / name)


def test_rows_are_numbered_under_the_data_set_name(tmp_path: Path) -> None:
    """Without an id column the id is name and row number; the split is always there."""
    frame = dataset.load_rows(DatasetConfig(name="mine", path=rows_file(tmp_path, count=2)))
    assert frame.columns == ["id", "split", "n"]
    assert frame.rows() == [("mine:0", "test", 0), ("mine:1", "test", 1)]


def test_files_are_joined_in_order_with_their_split(tmp_path: Path) -> None:
    """The split of a row is that of its file."""
    first, second = rows_file(tmp_path, "a.jsonl", 2), rows_file(tmp_path, "b.jsonl", 1)
    files = [FileConfig(path=second, split="train"), FileConfig(path=first, split="test")]
    frame = dataset.load_rows(DatasetConfig(name="d", files=files))
    assert frame.drop("id").rows() == [("train", 0), ("test", 0), ("test", 1)]


def test_rows_of_a_pattern_say_which_file_they_are_from(tmp_path: Path) -> None:
    """A column has one type in all files, and is there if one of the files has it."""
    for name, row in {"b": {"n": 1}, "a": {"n": "x", "more": True}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.json").write_text(json.dumps(row))
    config = DatasetConfig(name="d", path=f"{tmp_path}/*/one.json", rows="")
    frame = dataset.load_rows(config)
    assert frame.drop("id", "split").rows() == [("x", True, "a/one.json"), ("1", None, "b/one.json")]
    before = describe_rows(config, frame)[0]["digest"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "one.json").write_text("{}")
    assert describe_rows(config, dataset.load_rows(config))[0]["digest"] != before
    (tmp_path / "a" / "one.json").write_text('{"n": [5]}')
    with pytest.raises(DataError, match=r"record 1 of .*/b/one\.json: /n is a number, which has no '0'"):
        dataset.load_rows(replace(config, columns={"m": "/n/0"}))
    with pytest.raises(DataError, match="a column is named 'file'"):
        dataset.load_rows(replace(config, columns={"file": "n"}))


def test_an_id_column_is_kept_as_text(tmp_path: Path) -> None:
    """A mapped id names the row."""
    config = DatasetConfig(name="d", path=rows_file(tmp_path, count=2), columns={"id": "n"})
    assert dataset.load_rows(config)["id"].to_list() == ["0", "1"]


@pytest.mark.parametrize(
    ("ids", "steps", "said"),
    [
        (
            ["a", "b", "a"],
            [],
            "1 values of 'id' are in more than one row .a.; rename that column",
        ),
        (["a", "b", None], [], "'id' is empty in 1 row"),
        (
            ["a", "b", "c"],
            [StepConfig(both_orders=["n", "id2"])],
            "3 values of 'id'.*a step makes several rows from one",
        ),
    ],
)
def test_ids_that_do_not_tell_rows_apart_are_refused(
    tmp_path: Path, ids: list[str | None], steps: list[StepConfig], said: str
) -> None:
    """The message says how to get ids that do."""
    path = rows_file(tmp_path, count=3, id=ids, id2=[0, 1, 2])
    with pytest.raises(DataError, match=said):
        dataset.load_rows(DatasetConfig(name="d", path=path, steps=steps))


def limited(tmp_path: Path, **limit: Any) -> pl.DataFrame:
    splits = ["train", "test"] * 10
    return dataset.load_rows(
        DatasetConfig(name="d", path=rows_file(tmp_path, count=20, split=splits), **limit)
    )


def test_limit_takes_the_first_evaluated_rows_and_all_train_rows(tmp_path: Path) -> None:
    """A limit shortens what is measured, never what can be learned from."""
    frame = limited(tmp_path, limit=3)
    assert frame.filter(split="test")["n"].to_list() == [1, 3, 5]
    assert frame.filter(split="train").height == 10
    assert frame["n"].is_sorted()


def test_limit_with_a_seed_draws_and_keeps_the_order(tmp_path: Path) -> None:
    """The same seed draws the same rows; a limit above the rows takes them all."""
    one, two, again = (limited(tmp_path, limit=3, seed=seed).filter(split="test")["n"] for seed in (1, 2, 1))
    assert one.to_list() == again.to_list() != two.to_list()
    assert one.is_sorted()
    assert limited(tmp_path, limit=99, seed=1).filter(split="test").height == 10


def test_limit_below_one_is_refused(tmp_path: Path) -> None:
    """No rows would be measured."""
    with pytest.raises(ConfigError, match=r"dataset\.limit=0"):
        limited(tmp_path, limit=0)


def test_fractions_replace_the_split_of_the_files(tmp_path: Path) -> None:
    """Fractions written by the user win over the published division."""
    frame = limited(tmp_path, split=SplitConfig({"train": 0.75, "test": 0.25}))
    assert frame["split"].value_counts().sort("split").rows() == [("test", 5), ("train", 15)]


def test_both_ways_to_name_files_are_refused_together(tmp_path: Path) -> None:
    """It would be unclear which is meant."""
    with pytest.raises(ConfigError, match=r"dataset\.files and dataset\.path are both set"):
        dataset.load_rows(DatasetConfig(name="d", path="a.csv", files=[FileConfig(path="b.csv")]))


@pytest.mark.parametrize("key", ["sha256", "token_env"])
def test_what_is_of_one_file_is_refused_beside_several(key: str) -> None:
    """A hash of the data set itself would never be compared with anything."""
    files = [FileConfig(path="b.csv")]
    with pytest.raises(ConfigError, match=rf"dataset\.{key}: .* write dataset\.files\[0\]\.{key}"):
        dataset.load_rows(DatasetConfig(name="d", files=files, **{key: "X"}))


def test_files_must_agree_on_columns_and_on_having_splits(tmp_path: Path) -> None:
    """What one file lacks is named."""
    plain, more = rows_file(tmp_path, "a.jsonl", 1), rows_file(tmp_path, "b.jsonl", 1, extra=["x"])
    with pytest.raises(DataError, match=r"dataset\.files\[1\]: not all files have the columns extra"):
        dataset.load_rows(DatasetConfig(name="d", files=[FileConfig(path=plain), FileConfig(path=more)]))
    files = [FileConfig(path=plain, split="train"), FileConfig(path=plain)]
    with pytest.raises(ConfigError, match=r"dataset\.files\[1\]\.split is missing"):
        dataset.load_rows(DatasetConfig(name="d", files=files))


def test_human_evaluator_has_the_published_shape(shared_data: Path) -> None:
    """The columns of the one published row, all rows said to be synthetic, ratings 1, 3 and 5 alike."""
    sample = next(shared_data.rglob("CustomHumanEvaluator.jsonl.sample"))
    published = set(json.loads(sample.read_text())) - {"evaluation"} | {"target"}
    frame = dataset.load_rows(dataset_option("human_evaluator"))
    assert set(frame.columns) - {"id", "split"} == published
    ratings = {"1: Poor response", "3: Acceptable response", "5: Excellent response"}
    assert set(frame["target"].value_counts().rows()) == {(rating, 42) for rating in ratings}
    source = pl.read_csv(ROWS / "human_evaluator.csv")["Source"]
    assert set(source) == {"synthetic"}


def test_human_evaluator_splits_are_balanced_and_share_no_question() -> None:
    """Every split has as many rows of each rating, and a question is in one split only."""
    frame = dataset.load_rows(dataset_option("human_evaluator"))
    counts = frame.group_by("split", "target").len()
    assert set(counts.select("split", "len").rows()) == {
        ("train", 20),
        ("incremental", 9),
        ("validation", 13),
    }
    assert counts.height == 9
    assert frame.group_by("question").agg(pl.col("split").n_unique())["split"].max() == 1
    assert frame.select("question", "answer").is_unique().all()


def test_fib_raw_regenerates_the_published_split_row_for_row(shared_data: Path) -> None:
    """From the seven source files, by config alone: the same 820 and 180 rows in the same order."""
    columns = ["split", "document", "summary", "target"]
    made = dataset.load_rows(dataset_option("fib_raw")).select(columns)
    published = dataset.load_rows(dataset_option("fib")).select(columns)
    for name, size in (("train", 820), ("validation", 180)):
        assert made.filter(split=name).equals(published.filter(split=name))
        assert made.filter(split=name).height == size


def test_usb_labels_follow_the_place_in_the_pair(shared_data: Path) -> None:
    """Every published label is 1; each pair shares its document and has one row of each label."""
    frame = dataset.load_rows(dataset_option("usb"))
    assert set(frame["published_target"]) == {1}
    pairs = frame.group_by("pair", maintain_order=True).agg("document", "target", "split")
    assert set(map(tuple, pairs["target"])) == {("consistent", "inconsistent")}
    assert set(pairs["document"].list.n_unique()) == set(pairs["split"].list.n_unique()) == {1}
    assert frame["split"].value_counts().sort("split").rows() == [("train", 5050), ("validation", 2668)]


@pytest.mark.parametrize("half", ["memorization", "generalization"])
def test_finetunebench_has_125_questions_and_answers(shared_data: Path, half: str) -> None:
    """All rows are evaluated; nothing is empty."""
    frame = dataset.load_rows(dataset_option(f"finetunebench/{half}"))
    assert frame.height == 125
    assert frame.select("question", "answer", "answer_before").null_count().sum_horizontal().item() == 0
    assert frame["target"].equals(frame["answer"])


@pytest.mark.parametrize("subset", ["Natural", "Neighbor", "GPTInst"])
@pytest.mark.parametrize("evaluator", ["Vanilla_NoRules", "Vanilla", "Vanilla_1shot", "Vanilla_2shot", "CoT"])
def test_llmbar_rows_give_the_published_accuracy_per_order(
    shared_data: Path, subset: str, evaluator: str
) -> None:
    """The last output that the recorded text names is the target as often as the statistics file says."""
    frame = dataset.load_rows(
        dataset_option("llmbar", f"params.subset={subset}", f"params.evaluator={evaluator}")
    )
    right = pl.col("recorded").str.extract(r"\(([ab])\)[^()]*$") == pl.col("target")
    measured = dict(frame.group_by("order").agg(right.sum()).rows())
    (file,) = shared_data.glob(f"llmbar/**/{subset}/evaluators/GPT-4/{evaluator}/statistics.json")
    said = json.loads(file.read_text())
    assert said["correct_False"].startswith(f"{measured['ab']} / ")
    assert said["correct_True"].startswith(f"{measured['ba']} / ")


@pytest.mark.parametrize(
    ("subset", "pairs", "empty"), [("Natural", 100, 0), ("Neighbor", 134, 1), ("GPTInst", 92, 1)]
)
def test_llmbar_rating_has_both_outputs_of_each_pair(
    shared_data: Path, subset: str, pairs: int, empty: int
) -> None:
    """One row per output with its own recorded rating; the label is the side of one of the two."""
    frame = dataset.load_rows(dataset_option("llmbar_rating", f"params.subset={subset}"))
    better = (pl.col("side") == pl.col("label")).sum()
    per_pair = frame.group_by("pair").agg(better.alias("better"), pl.col("output").n_unique())
    assert per_pair.height == pairs
    assert per_pair.select("better", "output").unique().rows() == [(1, 2)]
    assert "target" not in frame.columns
    assert frame.filter(~pl.col("recorded").str.contains("^[0-9]")).height == empty


@pytest.mark.parametrize("judge", ["gpt-3.5-turbo", "pandalm-7b"])
def test_pandalm_target_is_the_majority_of_three(shared_data: Path, judge: str) -> None:
    """At least two of the three annotators gave the target, and each row has its recorded result."""
    frame = dataset.load_rows(dataset_option("pandalm", f"params.judge={judge}"))
    votes = sum((pl.col(f"annotator{n}") == pl.col("target")).cast(pl.Int8) for n in (1, 2, 3))
    assert frame.select(votes.alias("votes"))["votes"].min() >= 2
    source = json.loads(next(shared_data.rglob(f"{judge}-testset-v1.json")).read_text())
    key = next(name for name in source[0] if name.endswith("_result"))
    assert frame["recorded"].to_list() == [str(row[key]) for row in source]


@pytest.mark.parametrize(
    ("benchmark", "rows", "documents"),
    [("topical_chat", 360, 60), ("qags_xsum", 239, 239), ("qags_cnndm", 235, 235)],
)
def test_unieval_has_a_human_and_a_predicted_score(
    shared_data: Path, benchmark: str, rows: int, documents: int
) -> None:
    """Both scores are numbers in every row; Topical-Chat has six outputs per document."""
    frame = dataset.load_rows(dataset_option("unieval", f"params.benchmark={benchmark}"))
    assert (frame.height, frame["document"].n_unique()) == (rows, documents)
    assert frame.select("target", "recorded").null_count().sum_horizontal().item() == 0
    assert frame.schema["target"] == frame.schema["recorded"] == pl.Float64


def test_unieval_aspect_picks_the_scores(shared_data: Path) -> None:
    """Another aspect, other scores; an unknown one is named with the nearest."""
    overall = dataset.load_rows(dataset_option("unieval"))
    coherence = dataset.load_rows(dataset_option("unieval", "params.aspect=coherence"))
    assert overall["target"].max() == 5
    assert coherence["target"].max() == 3
    with pytest.raises(DataError, match="did you mean 'coherence'"):
        dataset.load_rows(dataset_option("unieval", "params.aspect=coherent"))


@pytest.mark.parametrize(
    ("name", "rows", "annotators"),
    [
        ("judge_bench params.set=cola", 1043, 1),
        ("judge_bench params.set=dices_expert", 350, 1),
        ("judge_bench params.set=dices_crowd", 350, 123),
        ("judge_bench params.set=inferential_strategies", 300, 2),
        ("judge_bench params.set=llmbar_natural", 100, 1),
        ("judge_bench_recipes params.aspect=fluency", 52, 88),
    ],
)
def test_judge_bench_has_each_annotation(shared_data: Path, name: str, rows: int, annotators: int) -> None:
    """Every set has its rows, a target in each, and as many annotations as the fullest row has."""
    frame = dataset.load_rows(dataset_option(*name.split()))
    assert frame.height == rows
    assert frame["target"].null_count() == 0
    assert frame["annotations"].list.drop_nulls().list.len().max() == annotators
    assert frame["recorded"].to_list() == frame["annotations"].list.first().to_list()


def test_fib_usb_is_both_train_splits_with_their_labels(shared_data: Path) -> None:
    """The rows of fib and of usb's train split, row for row, and fib's evaluated rows."""
    columns = ["document", "summary", "target"]
    both = dataset.load_rows(dataset_option("fib_usb"))
    fib, usb = (dataset.load_rows(dataset_option(name)) for name in ("fib", "usb"))
    train = pl.concat([frame.filter(split="train").select(columns) for frame in (fib, usb)])
    assert both.filter(split="train").select(columns).equals(train)
    assert both.filter(split="validation")["target"].equals(fib.filter(split="validation")["target"])


def test_every_url_of_an_option_is_pinned_to_a_commit() -> None:
    """A branch would move on, and the hash beside the URL would stop being true."""
    for path in (CONF / "dataset").rglob("*.yaml"):
        for url in re.findall(r"https://\S+", path.read_text()):
            assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", url), url


def write_text(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize(
    "name", ["row", "shots", "gold", "completion", "prediction", "error", "verdict", "messages"]
)
def test_names_that_the_runner_uses_are_refused(tmp_path: Path, name: str) -> None:
    """A column ``row`` would show the whole row, gold value included, and others would be overwritten."""
    path = write_text(tmp_path, "r.csv", f"q,{name}\n1,2\n")
    with pytest.raises(DataError, match=f"dataset: a column is named '{name}'.*my_{name}: {name}"):
        dataset.load_rows(DatasetConfig(name="d", path=path))
    kept = dataset.load_rows(DatasetConfig(name="d", path=path, columns={"q": "q", f"my_{name}": name}))
    assert kept[f"my_{name}"].to_list() == [2]


def test_ids_are_written_as_in_the_file(tmp_path: Path) -> None:
    """The id 007 is not 7."""
    path = write_text(tmp_path, "r.csv", "id,q\n007,a\n7,b\n")
    assert dataset.load_rows(DatasetConfig(name="d", path=path))["id"].to_list() == ["007", "7"]


def test_files_of_which_one_has_other_numbers_lose_no_digit(tmp_path: Path) -> None:
    """Whole numbers in one file and 4.5 in another: the 4 stays a 4."""
    files = [FileConfig(path=write_text(tmp_path, f"{n}.csv", f"a\n{n}\n")) for n in ("4", "4.5")]
    assert dataset.load_rows(DatasetConfig(name="d", files=files))["a"].to_list() == ["4", "4.5"]


def test_limit_and_split_work_with_numbered_folds(tmp_path: Path) -> None:
    """``dataset.split.evaluate=1`` finds the fold 1, and a column may have any other name."""
    path = write_text(tmp_path, "r.csv", "split,_row\n0,a\n1,b\n1,c\n")
    frame = dataset.load_rows(DatasetConfig(name="d", path=path, limit=1, split=SplitConfig(evaluate="1")))
    assert frame.drop("id").rows() == [("0", "a"), ("1", "b")]
