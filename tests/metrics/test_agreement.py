"""Agreement with people: kappa, alpha, correlations, ceilings, baselines, against libraries and papers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from runner import metrics
from runner.core.errors import ConfigError, DataError
from runner.core.types import Score


def shared(folder: Path, path: str) -> Any:
    return json.loads((folder / path).read_text())


@pytest.fixture
def ratings() -> pl.DataFrame:
    """300 ratings from 1 to 5 (nobody gives a 3), a tenth unparsed, about 30 documents."""
    random = np.random.default_rng(5)
    gold = random.choice([1, 2, 4, 5], 300)
    said = np.where(random.random(300) < 0.5, gold, random.choice([1, 2, 4, 5], 300))
    lost = random.random(300) < 0.1
    return pl.DataFrame(
        {"target": gold, "prediction": said, "document": random.integers(0, 30, 300), "lost": lost}
    ).with_columns(prediction=pl.when("lost").then(None).otherwise("prediction"))


NUMERIC = ("Bias", "CohenKappa", "ExactAgreement", "KendallTau", "MeanAbsoluteError", "Pearson", "Spearman")


@pytest.mark.parametrize("name", NUMERIC)
def test_nothing_parsed(ratings: pl.DataFrame, name: str) -> None:
    """A model of which no answer parses has no value over parsed rows, and is no error."""
    silent = ratings.with_columns(prediction=pl.lit(None, pl.Int64))
    options = {"weights": "linear"} if name == "CohenKappa" else {}
    scores = getattr(metrics, name)(**options)(silent)
    assert [score.value for key, score in scores.items() if key.endswith("_parsed")] == [None]


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_is_that_of_scikit_learn(ratings: pl.DataFrame, weights: Any) -> None:
    """Over the parsed rows; weighted, a rating that nobody gives still lies between its neighbours."""
    kept = ratings.drop_nulls("prediction")
    metric = metrics.CohenKappa(weights=weights)
    labels = None if weights is None else [1, 2, 3, 4, 5]
    expected = cohen_kappa_score(kept["target"], kept["prediction"], weights=weights, labels=labels)
    assert metric(ratings)[f"{metric.name}_parsed"].value == pytest.approx(expected)


def test_strict_kappa_takes_unparsed_for_a_label_of_its_own(ratings: pl.DataFrame) -> None:
    """The unparsed agree with nothing; weighted, they lie at the far end of the declared scale."""
    strict = metrics.CohenKappa()(ratings)["kappa"].value
    assert strict == pytest.approx(cohen_kappa_score(ratings["target"], ratings["prediction"].fill_null(0)))
    assert metrics.CohenKappa(weights="linear")(ratings)["kappa_linear"] == Score(None, n=300)
    far = pl.when(pl.col("target") > 2).then(1).otherwise(5)
    filled = ratings.with_columns(pl.col("prediction").fill_null(far))
    scaled = metrics.CohenKappa(weights="linear", minimum=1, maximum=5)
    assert scaled(ratings)["kappa_linear"].value == scaled(filled)["kappa_linear"].value


def test_kappa_of_one_constant_label_is_undefined() -> None:
    """Where chance agreement is certain there is no kappa, not 0 and not 1."""
    assert (
        metrics.CohenKappa()(pl.DataFrame({"target": ["a"] * 3, "prediction": ["a"] * 3}))["kappa"].value
        is None
    )


def test_weighted_kappa_needs_whole_numbers() -> None:
    """Words and fractions have no distance in steps."""
    with pytest.raises(DataError, match="whole numbers"):
        metrics.CohenKappa(weights="linear")(pl.DataFrame({"target": ["a"], "prediction": ["b"]}))
    with pytest.raises(ConfigError, match="did you mean 'quadratic'"):
        metrics.CohenKappa(weights="quadratc")  # type: ignore[arg-type]


COEFFICIENTS = [
    (metrics.Pearson, stats.pearsonr),
    (metrics.Spearman, stats.spearmanr),
    (metrics.KendallTau, stats.kendalltau),
]


@pytest.mark.parametrize(("metric", "function"), COEFFICIENTS)
def test_correlations_are_those_of_scipy(ratings: pl.DataFrame, metric: Any, function: Any) -> None:
    """Parsed rows as they are; strict ones with the far end of the scale, or no value without a scale."""
    kept = ratings.drop_nulls("prediction")
    name = metric().name
    assert metric()(ratings)[f"{name}_parsed"].value == pytest.approx(
        function(kept["prediction"], kept["target"])[0]
    )
    assert metric()(ratings)[name] == Score(None, n=300)
    filled = ratings["prediction"].fill_null(pl.Series(np.where(ratings["target"] >= 3, 1, 5)))
    strict = metric(minimum=1, maximum=5)(ratings)[name].value
    assert strict == pytest.approx(function(filled, ratings["target"])[0])


@pytest.mark.parametrize(("metric", "function"), COEFFICIENTS)
def test_resampled_correlations_count_repeated_points(metric: Any, function: Any) -> None:
    """The vectorised formula on counts equals SciPy on the points written out."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 6, 40).astype(float), random.random(40).round(1)
    counts = random.integers(0, 4, (3, 40)).astype(float)
    values = metric().values(pl.DataFrame({"prediction": x, "target": y}), counts)
    written = [function(np.repeat(x, row), np.repeat(y, row))[0] for row in counts.astype(int)]
    assert values == pytest.approx(written)


def test_the_interval_of_a_correlation_is_about_fishers() -> None:
    """For normal data the bootstrap agrees with Fisher's transformation."""
    random = np.random.default_rng(1)
    x = random.normal(size=500)
    rows = pl.DataFrame({"target": x, "prediction": 0.6 * x + 0.8 * random.normal(size=500)})
    score = metrics.Pearson()(rows)["pearson"]
    fisher = stats.pearsonr(rows["target"], rows["prediction"]).confidence_interval(0.95)
    assert score.low == pytest.approx(fisher.low, abs=0.02)
    assert score.high == pytest.approx(fisher.high, abs=0.02)


def test_large_kendall_resamples_fewer_times() -> None:
    """With more than 2,000 points the interval is still there and holds the value."""
    random = np.random.default_rng(1)
    x = random.normal(size=2500)
    rows = pl.DataFrame({"target": x, "prediction": x + random.normal(size=2500)})
    score = metrics.KendallTau(resamples=20)(rows)["kendall"]
    assert score.low is not None
    assert score.high is not None
    assert score.value is not None
    assert score.low < score.value < score.high


def test_per_document_averages_and_counts_the_constant_ones() -> None:
    """Two documents correlate (1 and -1), one is constant: mean 0, one skipped."""
    rows = pl.DataFrame(
        {
            "document": ["x"] * 3 + ["y"] * 3 + ["z"] * 2,
            "target": [1, 2, 3, 1, 2, 3, 1, 2],
            "prediction": [1, 2, 3, 3, 2, 1, 4, 4],
        }
    )
    scores = metrics.Spearman(per="document")(rows)
    assert scores["spearman"].value == pytest.approx(0)
    assert scores["spearman"].n == 2
    assert scores["spearman_skipped"] == Score(1.0, n=3)


def test_per_document_has_no_strict_value_where_a_lost_row_leaves_none() -> None:
    """An unparsed row without a scale is not skipped in silence."""
    rows = pl.DataFrame(
        {"document": ["x"] * 3 + ["y"] * 3, "target": [1, 2, 3] * 2, "prediction": [1, 2, 3, 3, 1, None]}
    )
    scores = metrics.Pearson(per="document")(rows)
    assert scores["pearson"].value is None
    assert scores["pearson_parsed"].value == pytest.approx(0)


def test_per_and_group_exclude_each_other() -> None:
    """A mean over documents already draws documents."""
    with pytest.raises(ConfigError, match="not both"):
        metrics.Pearson(per="document", group="document")


def reliability_data() -> np.ndarray[Any, Any]:
    """Four raters, 60 units, values from 1 to 5, a fifth missing."""
    random = np.random.default_rng(2)
    truth = random.integers(1, 6, 60).astype(float)
    data = np.where(random.random((4, 60)) < 0.6, truth, random.integers(1, 6, (4, 60)))
    data[random.random((4, 60)) < 0.2] = np.nan
    return data


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_the_krippendorff_package(level: Any) -> None:
    """With missing values, at every level; columns and one column of lists give the same."""
    data = reliability_data()
    frame = pl.DataFrame({f"rater{i}": pl.Series(row).fill_nan(None) for i, row in enumerate(data)})
    expected = krippendorff.alpha(data, level_of_measurement=level)
    alpha = metrics.KrippendorffAlpha(annotators=frame.columns, level=level)(frame)["alpha"]
    assert alpha.value == pytest.approx(expected)
    lists = frame.select(annotations=pl.concat_list(pl.all()))
    assert metrics.KrippendorffAlpha(annotators="annotations", level=level)(lists)["alpha"] == alpha


def test_alpha_of_the_published_example() -> None:
    """Krippendorff 2011, example C: four observers, twelve units, missing data."""
    units = [
        [1, 1, None, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
        [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [None, 5, 5, 5], [None, None, 1, 1], [None, None, 3, None],
    ]  # fmt: skip
    frame = pl.DataFrame({"annotations": units})
    alpha = {
        level: metrics.KrippendorffAlpha(annotators="annotations", level=level)(frame)["alpha"]
        for level in ("nominal", "ordinal", "interval")
    }
    assert {level: round(score.value or 0, 3) for level, score in alpha.items()} == {
        "nominal": 0.743, "ordinal": 0.815, "interval": 0.849,
    }  # fmt: skip
    assert alpha["nominal"].n == 11


def test_alpha_takes_labels_in_their_order() -> None:
    """Words become ordinal by the order given; unknown ones, or no order, are errors."""
    frame = pl.DataFrame({"one": ["bad", "good", "fair"], "two": ["bad", "good", "good"]})
    places = pl.DataFrame({"one": [1, 3, 2], "two": [1, 3, 3]})
    columns = ["one", "two"]
    ordered = metrics.KrippendorffAlpha(annotators=columns, level="ordinal", labels=["bad", "fair", "good"])
    numbers = metrics.KrippendorffAlpha(annotators=columns, level="ordinal")
    assert ordered(frame)["alpha"].value == numbers(places)["alpha"].value
    with pytest.raises(ConfigError, match="needs labels"):
        numbers(frame)
    with pytest.raises(DataError, match=r"\['fair'\] are not among labels"):
        metrics.KrippendorffAlpha(annotators=columns, labels=["bad", "good"])(frame)


def test_alpha_without_disagreement_or_pairs_is_undefined() -> None:
    """One value throughout, or one annotator: None."""
    alpha = metrics.KrippendorffAlpha(annotators=["one", "two"])
    assert alpha(pl.DataFrame({"one": [1, 1], "two": [1, 1]}))["alpha"].value is None
    assert alpha(pl.DataFrame({"one": [1, 2], "two": [None, None]}))["alpha"] == Score(None, n=0)


def test_human_ceiling_is_the_mean_over_each_two_people() -> None:
    """Of three annotators the mean of the three kappas."""
    random = np.random.default_rng(4)
    first = random.integers(0, 3, 200)
    frame = pl.DataFrame(
        {name: np.where(random.random(200) < 0.7, first, random.integers(0, 3, 200)) for name in "abc"}
    )
    ceiling = metrics.HumanCeiling(metric=metrics.CohenKappa(), annotators=["a", "b", "c"])(frame)
    kappas = [cohen_kappa_score(frame[x], frame[y]) for x, y in ("ab", "ac", "bc")]
    score = ceiling["human_ceiling"]
    assert score.value == pytest.approx(np.mean(kappas))
    assert score.low is not None
    assert score.low < np.mean(kappas)


def test_human_ceiling_against_the_others() -> None:
    """Each person against the majority of the others; a tie among those leaves the row out."""
    frame = pl.DataFrame({"a": [1, 1], "b": [1, 2], "c": [1, 2], "d": [2, 2]})
    ceiling = metrics.HumanCeiling(
        metric=metrics.Accuracy(), annotators=["a", "b", "c", "d"], against="majority"
    )
    # a: others (1,1,2) and (2,2,2); b and c: (1,1,2) and a tie-free (1,2,2); d: (1,1,1) and (1,2,2)
    assert ceiling(frame)["human_ceiling"].value == pytest.approx((0.5 + 1 + 1 + 0.5) / 4)
    tied = pl.DataFrame({"annotations": [[1, 2, 3]]})
    assert (
        metrics.HumanCeiling(metric=metrics.Accuracy(), annotators="annotations", against="majority")(tied)[
            "human_ceiling"
        ].value
        is None
    )


def test_a_constant_predictor_gives_the_baseline() -> None:
    """The most frequent target for labels, the median for distances."""
    rows = pl.DataFrame({"target": [1, 1, 1, 5], "prediction": [1, 5, None, 5]})
    assert metrics.Baseline(metric=metrics.Accuracy())(rows)["accuracy_baseline"].value == 0.75
    median = metrics.Baseline(metric=metrics.MeanAbsoluteError(), choice="median", name="always")
    assert median(rows)["always"].value == 1.0


def test_bias_is_the_difference_of_means_or_rates() -> None:
    """Ratings half a point too high; a label said in 2 of 4 rows but meant in 1."""
    ratings = pl.DataFrame({"target": [1, 2], "prediction": [2, 2]})
    assert metrics.Bias()(ratings)["bias"].value == 0.5
    labels = pl.DataFrame({"target": ["a", "b", "b", "b"], "prediction": ["a", "a", "b", None]})
    assert metrics.Bias(label="a")(labels)["bias"].value == 0.25


UNIEVAL = {
    ("dialogue/topical_chat", "naturalness"): (0.443666, 0.513986, 0.373973),
    ("dialogue/topical_chat", "coherence"): (0.595143, 0.612942, 0.465915),
    ("dialogue/topical_chat", "engagingness"): (0.55651, 0.604739, 0.455941),
    ("dialogue/topical_chat", "groundedness"): (0.536209, 0.574954, 0.451533),
    ("dialogue/topical_chat", "understandability"): (0.380038, 0.467807, 0.360741),
    ("dialogue/topical_chat", "overall"): (0.632796, 0.662583, 0.487272),
    ("fact/qags_xsum", "consistency"): (0.461376, 0.48792, 0.399218),
    ("fact/qags_cnndm", "consistency"): (0.681681, 0.662255, 0.531636),
}


@pytest.mark.parametrize(("source", "published"), UNIEVAL.items(), ids=lambda value: str(value[1]))
def test_unieval_correlations_as_published(
    shared_data: Path, source: tuple[str, str], published: tuple[float, float, float]
) -> None:
    """All 24 figures of the repository's reproduce/README, to the printed digit; at data-set level."""
    rows = shared(shared_data, f"unieval/reproduce/unieval_predict/{source[0]}_result.json")
    frame = pl.DataFrame(
        {
            "target": [float(row["scores"][source[1]]) for row in rows],
            "prediction": [float(row["predict_scores"][source[1]]) for row in rows],
        }
    )
    measured = [
        score.value
        for metric in (metrics.Pearson(), metrics.Spearman(), metrics.KendallTau())
        for name, score in metric(frame).items()
        if not name.endswith("_parsed")
    ]
    assert [round(value or 0, 6) for value in measured] == list(published)


def test_pandalm_annotators_as_published(shared_data: Path) -> None:
    """Cohen's kappas of each two annotators: .85, .88 and .86."""
    frame = pl.DataFrame(
        [
            {f"annotator{i}": row[f"annotator{i}"] for i in (1, 2, 3)}
            for row in shared(shared_data, "pandalm/data/testset-v1.json")
        ]
    )
    kappas = {
        (one, other): metrics.CohenKappa(prediction=f"annotator{one}", target=f"annotator{other}")(frame)[
            "kappa"
        ]
        for one, other in ((1, 2), (1, 3), (2, 3))
    }
    assert [round(score.value or 0, 2) for score in kappas.values()] == [0.85, 0.88, 0.86]


ALPHAS = {
    "dices-350-crowdsourced": ("dices/dices_350_crowdsourced", "nominal"),
    "inferential-strategies": ("inferential-strategies/inferential_strategies", "nominal"),
    "recipe-crowd-sourcing-data": ("recipe_crowd_sourcing_data/meta_evaluation_recipes", "ordinal"),
}


@pytest.mark.parametrize("name", ALPHAS)
def test_judge_bench_alphas_as_published(shared_data: Path, name: str) -> None:
    """Krippendorff's alpha of the people, for every aspect of the three sets that have several people."""
    source, level = ALPHAS[name]
    instances = shared(shared_data, f"judge_bench/data/{source}.json")["instances"]
    published = next(iter(shared(shared_data, f"judge_bench/results/regular/{name}.json").values()))
    for aspect, figures in published.items():
        lists = [row["annotations"][aspect]["individual_human_scores"] for row in instances]
        alpha = metrics.KrippendorffAlpha(annotators="annotations", level=level)  # type: ignore[arg-type]
        score = alpha(pl.DataFrame({"annotations": lists}))["alpha"]
        assert score.value == pytest.approx(figures["krippendorff_alpha"], abs=1e-9)
