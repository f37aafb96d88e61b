"""Points of a sweep whose seeds are nearer than their repeats would share answers: they are refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise

from runner.core.errors import ConfigError, ProviderError
from runner.core.identity import digest, read_identity
from runner.experiment.plan import Plan
from runner.pipeline.answer import Responder

ASKED = ("dataset", "prompt", "checkpoint", "finetune", "fresh")
"""The groups that, with the provider and the settings, determine what a model is asked."""
MOST_NUMBERS = 8


class SweptSeeds:
    """Notes the seeds of a sweep's points, for each model that is asked the same in all but the seed.

    Repeat r is sent seed + r, so that repeat 1 of seed 1 would be the same answer as repeat 0 of seed 2.
    """

    def __init__(self) -> None:
        self._seeds: dict[tuple[str, int, str], set[int]] = {}

    def note(self, plan: Plan) -> None:
        """Note the seeds of a point: of its model, and of its judges."""
        settings = vars(plan.config)
        asked = repr([settings[name] for name in ASKED])
        model = plan.responder
        if plan.tuner is None or plan.config.checkpoint == "base":  # else the seed makes another model
            self._note(model, asked)
        trained = repr(plan.config.hyperparameter) if plan.tuner else ""
        judged = [asked, trained, describe(model, model.sampling.seed)]
        for judge in plan.panel.judges if plan.panel else ():
            node = plan.config.judge
            member = node.members.get(judge.name) if node else None
            self._note(judge.responder, [judged, node and node.prompt, member and member.prompt, judge.sides])

    def _note(self, asked: Responder, about: object) -> None:
        seed = asked.sampling.seed
        if asked.provider.stored and seed is not None:
            what = digest(repr([about, describe(asked, None)]))
            self._seeds.setdefault((asked.key, asked.repeats, what), set()).add(seed)

    def check(self) -> None:
        """Raise :class:`ConfigError` for seeds that are nearer than the repeats, and name a right sweep."""
        for (key, repeats, _), found in self._seeds.items():
            seeds = sorted(found)
            if all(after - before >= repeats for before, after in pairwise(seeds)):
                continue
            right = [seeds[0] + repeats * place for place in range(len(seeds))]
            raise ConfigError(
                f"{key}hyperparameter.seed: the seeds {_list(seeds)} are nearer than"
                f" {key}hyperparameter.repeats={repeats}; repeat r is sent seed + r, so these points would"
                f" share answers; {key}hyperparameter.seed={_list(right, ',')} would not"
            )


def describe(responder: Responder, seed: int | None) -> str:
    """What determines the answers of a model to a chat, with this seed."""
    provider, sampling = responder.provider, asdict(replace(responder.sampling, seed=seed))
    try:
        identity = dict(read_identity(provider))
    except ProviderError:  # a local model without its weights on this machine
        identity = {"model": provider.model}
    return repr([identity, sampling, responder.fresh, responder.repeats])


def _list(numbers: list[int], between: str = ", ") -> str:
    more = [f"… {numbers[-1]}"] if len(numbers) > MOST_NUMBERS else []
    return between.join([*map(str, numbers[: MOST_NUMBERS - len(more)]), *more])
