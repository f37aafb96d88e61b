"""Choose the examples that a prompt shows, and refuse evaluated rows among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import polars as pl

from runner.config.schema import ShotChoice, ShotPlacement, ShotsConfig
from runner.core.errors import ConfigError, DataError, LeakageError, PromptError, count_of, suggest
from runner.core.types import write_column
from runner.pipeline.prompt import Prompt

_BLOCK_PAIRS = 4_000_000
"""Pairs of rows that ``similar`` compares at once, which bounds its memory to about 100 MB."""


def choose_shots(train: pl.DataFrame, evaluated: pl.DataFrame, k: int, prompt: Prompt) -> list[list[int]]:
    """Return, for each evaluated row, the row numbers in ``train`` of its ``k`` shots, in the order to show.

    ``prompt.shots.choice`` says how they are chosen:

    first     the first rows of the train split
    random    a random draw with ``seed``, the same for every evaluated row
    balanced  a random draw in which the labels (``column``, by default ``target``) take turns
    similar   the most similar rows first, by the cosine of the TF-IDF vectors of ``column``, by default of
              the rendered question; among equally similar rows the earlier train row comes first

    Shots are nested: those for k are the first k of those for any larger number.

    Raises:
        ConfigError: if there are more shots than train rows, or the column does not exist.
        PromptError: if the user turn should show the shots, and does not.
        LeakageError: if a chosen shot is also an evaluated row, by id or by text.
    """
    if k < 0:
        raise ConfigError(f"hyperparameter.n_shot={k}: expected 0 or more")
    if k == 0 or evaluated.is_empty():
        return [[] for _ in range(evaluated.height)]
    if k > train.height:
        hint = "" if train.height else "; '+dataset.split.fractions={train: 0.5, test: 0.5}' draws one"
        raise ConfigError(
            f"hyperparameter.n_shot={k}, but the train split has {count_of(train.height, 'row')}{hint}"
        )
    if prompt.config.shots.placement == ShotPlacement.user and "shots" not in prompt.user.variables:
        raise PromptError(
            f"hyperparameter.n_shot={k}, but prompt.user shows none: let it loop over shots, or set"
            " prompt.shots.placement=turns"
        )
    if prompt.config.shots.choice == ShotChoice.similar:
        chosen = _find_similar(train, evaluated, k, prompt)
    else:
        chosen = [_order_rows(train, prompt.config.shots)[:k]] * evaluated.height
    shown = sorted({number for numbers in chosen for number in numbers})
    refuse_leakage(evaluated, train[shown], prompt, what="shots")
    return chosen


def list_shot_ids(train: pl.DataFrame, chosen: Sequence[Sequence[int]]) -> pl.Series:
    """Return the ids of the chosen shots, one list per evaluated row, as a series named ``shots``."""
    names = train["id"].to_list()
    return pl.Series("shots", [[names[n] for n in numbers] for numbers in chosen], dtype=pl.List(pl.String))


def list_shot_rows(train: pl.DataFrame, chosen: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """Return the chosen shots as rows, one list per evaluated row."""
    known = {n: train.row(n, named=True) for n in {n for numbers in chosen for n in numbers}}
    return [[known[n] for n in numbers] for numbers in chosen]


def refuse_leakage(
    evaluated: pl.DataFrame, shown: pl.DataFrame, prompt: Prompt, *, what: str, by_id: bool = True
) -> None:
    """Raise if evaluated rows are also among ``shown``, the shots or the training rows.

    Two rows are the same if their ids are equal (with ``by_id``, for frames of one data set), or if
    ``prompt`` renders the same question for both, regardless of case, white space and sentence punctuation.
    ``what`` names the shown rows in the message.

    Raises:
        LeakageError: with the number of such rows, the first ids and the remedy.
    """
    if by_id:
        _refuse(evaluated.filter(pl.col("id").is_in(shown["id"].implode())), evaluated.height, what, "id")
    seen = normalise_texts(render_questions(shown, prompt)).implode()
    _refuse(
        evaluated.filter(normalise_texts(render_questions(evaluated, prompt)).is_in(seen)),
        evaluated.height,
        what,
        "text",
    )


def render_questions(frame: pl.DataFrame, prompt: Prompt) -> pl.Series:
    """Return the user turn of each row, without shots."""
    texts = [prompt.render_chat(row)[-1]["content"] for row in frame.iter_rows(named=True)]
    return pl.Series(texts, dtype=pl.String)


def normalise_texts(texts: pl.Series) -> pl.Series:
    """Remove differences of case, white space and sentence punctuation from texts.

    Signs of arithmetic and of code stay: 3-2 is not 3+2.
    """
    lower = texts.str.normalize("NFKC").str.to_lowercase()
    return lower.str.replace_all(r"""[\s.,;:!?…"'“”‘’«»()\[\]{}]+""", " ").str.strip_chars()


def _order_rows(train: pl.DataFrame, config: ShotsConfig) -> list[int]:
    """Return all train rows in the order in which every evaluated row takes its shots."""
    numbers = list(range(train.height))
    if config.choice == ShotChoice.first:
        return numbers
    random.Random(config.seed).shuffle(numbers)
    if config.choice == ShotChoice.random:
        return numbers
    labels = write_column(_get_column(train, config.column or "target")).to_list()
    turns: dict[Any, int] = {}
    turn_of = {}
    for number in numbers:
        turn_of[number] = turns[labels[number]] = turns.get(labels[number], 0) + 1
    return sorted(numbers, key=lambda number: turn_of[number])


def _get_column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise ConfigError(f"prompt.shots.column={name!r}: no such column{suggest(name, frame.columns)}")
    return frame[name]


def _get_compared_texts(frame: pl.DataFrame, prompt: Prompt) -> list[str]:
    name = prompt.config.shots.column
    return (
        render_questions(frame, prompt)
        if name is None
        else write_column(_get_column(frame, name)).fill_null("")
    ).to_list()


def _find_similar(train: pl.DataFrame, evaluated: pl.DataFrame, k: int, prompt: Prompt) -> list[list[int]]:
    # TF-IDF and not an edit distance: 1,000 x 1,000 rows take half a second, not half a minute, and rare
    # words weigh most.
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=r"\w+")
    try:
        known = vectorizer.fit_transform(_get_compared_texts(train, prompt))
    except ValueError as error:
        raise DataError("prompt.shots.choice=similar: the texts of the train split have no words") from error
    asked = vectorizer.transform(_get_compared_texts(evaluated, prompt))
    block, chosen = max(1, _BLOCK_PAIRS // train.height), []
    for start in range(0, evaluated.height, block):
        # Rounded, so that equal texts are equal whatever the order of summation.
        similarity = (asked[start : start + block] @ known.T).toarray().round(9)
        chosen += (-similarity).argsort(axis=1, kind="stable")[:, :k].tolist()
    return chosen


def _refuse(same: pl.DataFrame, of: int, what: str, by: str) -> None:
    if same.is_empty():
        return
    shown = ", ".join(same["id"].head(5)) + (", …" if same.height > 5 else "")
    raise LeakageError(
        f"{same.height} of {of} evaluated rows are also among the {what}, by {by}: {shown}."
        " Keep such rows together with dataset.split.group, or drop them with a step (unique, filter)"
    )
