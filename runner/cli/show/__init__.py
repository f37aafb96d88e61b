"""``runner show``: the rows and the chat of an experiment before it costs anything, or the rows of a run."""

from __future__ import annotations

import sys

from omegaconf import DictConfig, OmegaConf

from runner.cli.arguments import CHOICES
from runner.config import validate
from runner.config.command_schema import ShowConfig
from runner.config.hydra_job import get_overrides
from runner.core.errors import ConfigError, suggest


def show_command(config: DictConfig) -> None:
    """Show what a run would send, or with ``run=`` or a word such as ``wrong`` what one has answered.

    Raises :class:`ConfigError` for a row, a run or a word that does not exist.
    """
    asked = OmegaConf.to_object(config.show)
    assert isinstance(asked, ShowConfig)
    validate.check("show.rows", asked.rows, validate.COUNT)
    for word in asked.only:
        if word not in CHOICES:
            raise ConfigError(f"show.only: {word!r}{suggest(word, CHOICES)}")
    for name in ("rows", "text"):
        if asked.row is not None and getattr(asked, name) is not None:
            print(f"show.{name}: has no effect beside show.row", file=sys.stderr)
    if asked.run is None and not asked.only:
        from runner.cli.show.preview import show_preview

        show_preview(config)
    else:
        from runner.cli.show.recorded import show_recorded

        for override in get_overrides():
            if not override.lstrip("+").startswith("show."):
                print(f"{override}: has no effect on a recorded run", file=sys.stderr)
        show_recorded(asked)
