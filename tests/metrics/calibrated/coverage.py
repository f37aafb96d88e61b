"""How often intervals hold the value of all labels: ``python -m tests.metrics.calibrated.coverage [draws]``.

Run by hand with ``RUNNER_DATA_DIR``; its table stands in docs/judges.md. In each of 1,000 draws 100 random
rows keep their people's label, and the metrics estimate the value of all. Each line has the estimate with
``about=rows``, and in its last column the coverage with ``about=population``, which is for other rows, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from runner.data.dataset import load_rows
from runner.metrics.calibrated import CalibratedMean, CalibratedShare
from runner.metrics.calibrated.metric import Calibrated
from tests.support.places import dataset_option

LABELLED = 100
Case = tuple[str, Calibrated, pl.DataFrame]


def list_cases() -> Iterator[Case]:
    """Data sets with people's labels and recorded judges: a name, a metric, ``verdict`` and ``people``."""
    yield from list_llmbar()
    yield from list_pandalm()
    for chosen, value in (("dices_expert", "Yes"), ("dices_crowd", "Yes"), ("inferential_strategies", "yes")):
        rows = load_rows(dataset_option("judge_bench", f"params.set={chosen}"))
        name = f"JUDGE-BENCH {chosen}, one person: {value}"
        yield name, CalibratedShare(value=value), _pair(rows["recorded"], rows["target"])
    for benchmark in ("topical_chat", "qags_xsum", "qags_cnndm"):
        rows = load_rows(dataset_option("unieval", f"params.benchmark={benchmark}"))
        yield f"UniEval {benchmark}: mean", CalibratedMean(), _pair(rows["recorded"], rows["target"])


def list_llmbar() -> Iterator[Case]:
    """GPT-4 says which output is better, in the published order."""
    for evaluator in ("Vanilla_NoRules", "Vanilla", "CoT"):
        parts = [
            load_rows(dataset_option("llmbar", f"params.subset={subset}", f"params.evaluator={evaluator}"))
            for subset in ("Natural", "Neighbor", "GPTInst")
        ]
        rows = pl.concat(part.filter(pl.col("order") == "ab") for part in parts)
        judge = rows["recorded"].str.extract_all(r"Output \([ab]\)").list.last().str.slice(8, 1)
        yield f"LLMBar, GPT-4 {evaluator}: a", CalibratedShare(value="a"), _pair(judge, rows["target"])


def list_pandalm() -> Iterator[Case]:
    """Two models say which response is better, or that it is a tie."""
    for judge_name in ("gpt-3.5-turbo", "pandalm-7b"):
        rows = load_rows(dataset_option("pandalm", f"params.judge={judge_name}"))
        judge = rows["recorded"].cast(pl.Int64, strict=False)
        for value, meaning in ((1, "response 1"), (0, "a tie")):
            name = f"PandaLM, {judge_name}: {meaning}"
            yield name, CalibratedShare(value=value), _pair(judge, rows["target"])


def _pair(judge: pl.Series, people: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"verdict": judge, "people": people})


def hide_labels(rows: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """The rows with the labels of :data:`LABELLED` random ones."""
    shown = np.zeros(rows.height, dtype=bool)
    shown[random.permutation(rows.height)[:LABELLED]] = True
    return rows.with_columns(label=pl.when(pl.Series(shown)).then("people"))


def find_value(metric: Calibrated, rows: pl.DataFrame) -> float:
    """The value of all labels."""
    people = rows["people"]
    held = people == metric.value if isinstance(metric, CalibratedShare) else people
    return float(held.mean())  # type: ignore[arg-type]


def count_held(
    metric: Calibrated, rows: pl.DataFrame, draws: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """By suffix: the share of intervals that hold the value of all labels, and their mean width."""
    random, truth = np.random.default_rng(seed), find_value(metric, rows)
    found: dict[str, list[tuple[bool, float]]] = {}
    for _ in range(draws):
        for name, score in metric(hide_labels(rows, random)).items():
            if score.low is not None and score.high is not None:
                held = (score.low <= truth <= score.high, score.high - score.low)
                found.setdefault(name.removeprefix(metric.name), []).append(held)
    return {suffix: tuple(np.mean(each, axis=0)) for suffix, each in found.items()}  # type: ignore[misc]


def main(draws: int) -> int:
    """Print a line for each case; 1 if a calibrated interval holds the value in other than 93 to 97%."""
    titles = ("all", "judge", "calibrated", "people", "Rogan-Gladen", "width", "population")
    print(f"{'':54}{'rows':>6}" + "".join(f"{title:>13}" for title in titles))
    met = True
    for name, metric, rows in list_cases():
        held = count_held(replace(metric, about="rows"), rows, draws)
        wider = count_held(replace(metric, about="population"), rows, draws)
        met &= 0.93 <= held[""][0] <= 0.97
        judge = metric(hide_labels(rows, np.random.default_rng(0)))[f"{metric.name}_judge"].value
        corrected = held.get("_rogan_gladen")
        cells = [
            f"{find_value(metric, rows):.3f}",
            "–" if judge is None else f"{judge:.3f}",
            *(f"{100 * held[suffix][0]:.1f}%" for suffix in ("", "_human")),
            f"{100 * corrected[0]:.1f}%" if corrected else "–",
            f"{100 * (held[''][1] / held['_human'][1] - 1):+.0f}%",
            f"{100 * wider[''][0]:.1f}%",
        ]
        print(f"{name:54}{rows.height:>6}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
