"""The embedded model: no server and no key."""

from __future__ import annotations

from dataclasses import dataclass

from runner.core.provider import Tuner
from runner.providers.local.embedded import Embedded


@dataclass(kw_only=True)
class Local(Embedded):
    """A GGUF model that answers in this process.

    ``model``            path of a GGUF file, a hub repository ``owner/name[@revision][:file.gguf]``, or
                         ``smollm2-135m-instruct``: the weights package, else the same file from the hub
    ``context_length``   tokens of prompt and answer together; llama.cpp rounds up to a multiple of 256
    ``max_concurrency``  requests evaluated at once; above 1 near ties may fall differently from run to run
    ``threads``          null: the cores that this process may use, at most 16
    ``gpu_layers``       layers on the GPU; null: all, where llama.cpp was built for one; 0: the CPU alone
    ``models_dir``       where trainings and their checkpoints are kept; ``model`` may also name one of these
    """

    def tuner(self) -> Tuner:
        """Fine-tuning on this machine."""
        from runner.providers.local.tuning import LocalTuner

        return LocalTuner(self)
