"""Which state of a training is evaluated: ``checkpoint=`` as a number, counted from the last one, or an id.

A number is an epoch where the steps tell the epoch. ``last``, ``last-1`` and ``last-2`` mean the same at
every service, whatever it keeps and however it names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from runner.core.errors import ConfigError
from runner.core.services import Checkpoint

_RELATIVE = re.compile(r"last(?:-(?P<before>[0-9]+))?")
_MEANT = re.compile(r"last\s*[+_-]?\s*[0-9]*|base|[+-]?[0-9][0-9_]*([.][0-9]*)?|true|false", re.IGNORECASE)


def read_place(checkpoint: Any) -> int | None:
    """Return an epoch as a number from 1, ``last`` as 0, ``last-1`` as -1; None for null, ``base`` and ids.

    Raises :class:`ConfigError` for what is meant as one of these and is none.

    >>> [read_place(value) for value in (3, "3", "last", "last-2", None, "base", "ft:gpt:o::1")]
    [3, 3, 0, -2, None, None, None]
    """
    if checkpoint is None or checkpoint == "base":
        return None
    text = str(checkpoint).strip()
    if found := _RELATIVE.fullmatch(text):
        return -int(found["before"] or 0)
    if re.fullmatch(r"[1-9][0-9]*", text):
        return int(text)
    if not text or isinstance(checkpoint, bool | float) or _MEANT.fullmatch(text):
        raise ConfigError(
            f"checkpoint={checkpoint}: must be base, a number from 1, last, last-1, last-2 or a model id"
        )
    return None


def name_place(checkpoint: Any, n_epochs: int | None) -> str:
    """Return one name for equal weights: of five epochs null, ``last`` and 5 are the same, and so on.

    >>> name_place(5, 5), name_place(4, 5), name_place(None, None), name_place(4, None)
    ('last', 'last-1', 'last', '4')
    """
    place = 0 if checkpoint is None else read_place(checkpoint)
    if place is None:
        return str(checkpoint)
    if n_epochs and 1 <= place <= n_epochs:
        place -= n_epochs
    return str(place) if place > 0 else f"last{place or ''}"


def check_place(checkpoint: Any, n_epochs: int | None, kept: int | None, who: str) -> None:
    """Raise :class:`ConfigError` for a checkpoint that a new training of ``n_epochs`` will not have.

    ``kept`` is how many states the service ``who`` keeps, counted from the last; None: all. What is left to
    the service (``n_epochs`` null) is not known before the training, and so it is not checked.
    """
    place = read_place(checkpoint)
    if place is None and checkpoint not in (None, "base"):
        raise ConfigError(
            f"checkpoint: {checkpoint} is taken for a model id, and the training is still to be made; must be"
            " base, a number from 1, last, last-1 or last-2. A model that exists needs no training:"
            " finetune=none"
        )
    most = min((count for count in (n_epochs, kept) if count), default=None)
    if place is None or most is None or (place > 0 and n_epochs is None):
        return
    epochs = range(n_epochs - most + 1, n_epochs + 1) if n_epochs else range(0)
    if place in epochs or -most < place <= 0:
        return
    names = ", ".join([*map(str, epochs), *(name_place(f"last-{back}", None) for back in range(most))])
    of = f" of {n_epochs} epochs" if n_epochs else ""
    raise ConfigError(f"checkpoint: {checkpoint} will not exist; {who} keeps{of}: {names}")


def pick_model(checkpoint: Any, checkpoints: Sequence[Checkpoint]) -> str:
    """Return the model id of ``checkpoint``; null means the last one, and a model id itself.

    Raises :class:`ConfigError` for a place that the training does not have, naming those that it has.
    """
    place = 0 if checkpoint is None else read_place(checkpoint)
    if place is None:
        return str(checkpoint)
    if place > 0:
        matches = [item.model for item in checkpoints if item.number == place]
    else:
        matches = [item.model for item in checkpoints[::-1][-place : 1 - place]]
    if not matches:
        names = [name_place(f"last-{back}", None) for back in range(len(checkpoints))]
        known = ", ".join([*(str(item.number) for item in checkpoints), *names])
        raise ConfigError(f"checkpoint: {checkpoint} does not exist; this training has {known}")
    return matches[-1]
