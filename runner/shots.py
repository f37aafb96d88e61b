"""Choose the examples that a prompt shows, and refuse those that would give the test away."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import polars as pl

from runner.errors import ConfigError, DataError, LeakageError, nearest
from runner.schema import ShotChoice, ShotsConfig

Texts = Callable[[pl.DataFrame], Sequence[str]]

_BLOCK = 1024
"""Rows compared at once by ``similar``: bounds its memory to this many times the train rows."""


def choose(
    train: pl.DataFrame, evaluated: pl.DataFrame, k: int, config: ShotsConfig, texts: Texts | None = None
) -> list[list[int]]:
    """For each evaluated row the row numbers, in ``train``, of its ``k`` shots in the order to show them.

    first     the first rows of the train split
    random    a draw with ``seed``, the same for every evaluated row
    balanced  a draw in which the labels (``column``, by default ``target``) take turns
    similar   most similar first: cosine of the TF-IDF vectors of ``column``, or else of what ``texts``
              gives for a frame (the rendered prompts); equal similarity goes to the earlier train row

    Shots are nested: those for k are the first k of those for any larger number. A row (told by ``id``) is
    never its own shot.

    Raises:
        ConfigError: more shots than train rows, or an unknown column.
    """
    if k < 0:
        raise ConfigError(f"hyperparameter.n_shot={k}: a number of shots is 0 or more")
    if k == 0 or evaluated.is_empty():
        return [[] for _ in range(evaluated.height)]
    own = _own(train, evaluated)
    room = train.height - any(number is not None for number in own)
    if k > room:
        raise ConfigError(f"hyperparameter.n_shot={k}, but only {room} rows of the train split can be shown")
    if config.choice == ShotChoice.similar:
        return _similar(train, evaluated, k, own, _texts(config, texts))
    order = _order(train, config)[: k + 1]
    return [_without(order, number)[:k] for number in own]


def refuse_leakage(
    evaluated: pl.DataFrame, shown: pl.DataFrame, columns: Sequence[str], *, what: str, by_id: bool = True
) -> None:
    """Refuse evaluated rows that are also among ``shown``: the shots or the training rows.

    Rows are the same if their ids are (``by_id``, for frames of one data set), or if the text of
    ``columns`` is, taken together and regardless of case, whitespace and sentence punctuation. ``what``
    names the shown rows in the message.

    Raises:
        LeakageError: naming the count, the first ids and the remedy.
    """
    if by_id:
        _refuse(evaluated.filter(pl.col("id").is_in(shown["id"].implode())), evaluated.height, what, "id")
    if columns:
        mark = normalised(columns).alias("_text")
        same = evaluated.with_columns(mark).join(shown.select(mark).unique(), on="_text", how="semi")
        _refuse(same, evaluated.height, what, f"text ({', '.join(columns)})")


def normalised(columns: Sequence[str]) -> pl.Expr:
    """The columns as one text in which case, whitespace and sentence punctuation make no difference.

    Signs of arithmetic and code stay: 3-2 is not 3+2.
    """
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in columns]
    text = pl.concat_str(parts, separator="\x1f").str.normalize("NFKC").str.to_lowercase()
    return text.str.replace_all(r"""[\s.,;:!?…"'“”‘’«»()\[\]{}]+""", " ").str.strip_chars()


def _own(train: pl.DataFrame, evaluated: pl.DataFrame) -> list[int | None]:
    """Per evaluated row its own number in ``train``, or None."""
    numbers = {id: number for number, id in enumerate(train["id"])}
    return [numbers.get(id) for id in evaluated["id"]]


def _without(order: Sequence[int], number: int | None) -> list[int]:
    return [one for one in order if one != number]


def _order(train: pl.DataFrame, config: ShotsConfig) -> list[int]:
    """All train rows in the order in which every evaluated row takes them."""
    numbers = list(range(train.height))
    if config.choice == ShotChoice.first:
        return numbers
    random.Random(config.seed).shuffle(numbers)
    if config.choice == ShotChoice.random:
        return numbers
    labels = _column(train, config.column or "target")
    turns: dict[object, int] = {}
    seats: list[tuple[int, int]] = []
    for number in numbers:
        label = labels[number]
        seats.append((turns.setdefault(label, 0), number))
        turns[label] += 1
    return [number for _, number in sorted(seats, key=lambda seat: seat[0])]


def _column(frame: pl.DataFrame, name: str) -> list[object]:
    if name not in frame.columns:
        raise ConfigError(f"prompt.shots.column={name!r}: no such column{nearest(name, frame.columns)}")
    return frame[name].to_list()


def _texts(config: ShotsConfig, texts: Texts | None) -> Texts:
    if config.column is not None:
        name = config.column
        return lambda frame: [str(value) for value in _column(frame, name)]
    if texts is None:
        raise ConfigError("prompt.shots.column is needed for prompt.shots.choice=similar")
    return texts


def _similar(
    train: pl.DataFrame, evaluated: pl.DataFrame, k: int, own: Sequence[int | None], texts: Texts
) -> list[list[int]]:
    # TF-IDF and not an edit distance: for 1,000 x 1,000 rows half a second against half a minute, and the
    # words that tell rows apart weigh most.
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=r"\w+")
    try:
        known = vectorizer.fit_transform(texts(train))
    except ValueError as error:
        raise DataError("prompt.shots.choice=similar: the texts of the train split have no words") from error
    asked = vectorizer.transform(texts(evaluated))
    chosen: list[list[int]] = []
    for start in range(0, evaluated.height, _BLOCK):
        # Rounded, so that equal texts are equal whatever the order of summation.
        likeness = (asked[start : start + _BLOCK] @ known.T).toarray().round(9)
        nearest_first = (-likeness).argsort(axis=1, kind="stable")[:, : k + 1].tolist()
        chosen += [_without(row, own[start + n])[:k] for n, row in enumerate(nearest_first)]
    return chosen


def _refuse(same: pl.DataFrame, of: int, what: str, by: str) -> None:
    if same.is_empty():
        return
    shown = ", ".join(same["id"].head(5)) + (", …" if same.height > 5 else "")
    raise LeakageError(
        f"{same.height} of {of} evaluated rows are also among the {what}, by {by}: {shown}."
        " Keep such rows together with dataset.split.group, or drop them with a step (unique, filter)"
    )
