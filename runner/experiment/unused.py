"""Settings that were typed and change nothing in a run: each is told, with the reason.

A shipped default that does not apply stays silent. What nobody can have meant is refused elsewhere; here is
what counts in another run: the settings of a training where nothing is trained, those of shots without shots.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.config.dataset_schema import DatasetConfig
from runner.core.provider import REPLAY
from runner.experiment.plan import Plan
from runner.money.price import stands_for
from runner.pipeline.answer import Responder
from runner.pipeline.finetune import TRAINING_SETTINGS

log = logging.getLogger(__name__)

Reason = Callable[[Plan, Mapping[str, str]], str]
"""From a plan and the named parts of a key: why the key has no effect; empty if it has one."""
SAMPLED = "temperature|top_p|max_tokens|seed|stop|logprobs|reasoning_effort|verbosity|thinking_tokens"
TRAINED = "|".join(name for name in TRAINING_SETTINGS if name != "seed")
PLACE = r"(?P<place>(?:judge\.(?:members\.\w+\.)?)?)"
DATA = r"(?P<data>dataset|finetune\.dataset|finetune\.extra\.\w+)"
_told: set[str] = set()


def find_unused(plan: Plan, typed: Mapping[str, Any]) -> dict[str, str]:
    """Return those of the ``typed`` keys that have no effect on a plan, with the reason."""
    found: dict[str, str] = {}
    for key in typed:
        for pattern, reason in RULES:
            if (match := re.fullmatch(pattern, key)) and (said := reason(plan, match.groupdict())):
                found.setdefault(key, said)
    if any(key.startswith("prices.models.") for key in typed):
        found |= _list_unused_prices(plan)
    return found


def warn_of_unused(found: Mapping[str, str]) -> None:
    """Warn of keys that have no effect, of each once."""
    for key, reason in found.items():
        if key not in _told:
            _told.add(key)
            log.warning("%s: has no effect, since %s", key, reason)


class Unused:
    """Notes what the points of a sweep do not use; what one of them uses is used."""

    def __init__(self) -> None:
        self._found: list[dict[str, str]] = []

    def note(self, plan: Plan, typed: Mapping[str, Any]) -> None:
        """Note the keys that have no effect on a point."""
        self._found.append(find_unused(plan, typed))

    def list_common(self) -> dict[str, str]:
        """The keys that have no effect on any point, with the reason of the first."""
        first, *others = self._found or [{}]
        return {key: said for key, said in first.items() if all(key in other for other in others)}


def _explain_no_training(plan: Plan, part: Mapping[str, str] | None = None) -> str:
    if plan.tuner is None:
        return "nothing is trained (finetune=none)"
    return "nothing is trained (checkpoint=base)" if plan.config.checkpoint == "base" else ""


def _explain_no_shots(plan: Plan, part: Mapping[str, str] | None = None) -> str:
    return "" if plan.config.hyperparameter.n_shot else "no shots are shown (hyperparameter.n_shot=0)"


def _explain_shots(plan: Plan, part: Mapping[str, str]) -> str:
    choice, name = plan.config.prompt.shots.choice.value, part["name"]
    counts = {"seed": ("random", "balanced"), "column": ("balanced", "similar")}.get(name, (choice,))
    if reason := _explain_no_shots(plan):
        return reason
    return (
        "" if choice in counts else f"prompt.shots.choice is {choice}, and only {' and '.join(counts)} use it"
    )


def _explain_gold(plan: Plan, part: Mapping[str, str]) -> str:
    """Of what shots and training rows have: the gold turn."""
    return _join(_explain_no_shots(plan), _explain_no_training(plan))


def _explain_train(plan: Plan, part: Mapping[str, str]) -> str:
    return _join(_explain_no_shots(plan), _explain_validation(plan, part))


def _join(*reasons: str) -> str:
    """All reasons; empty if one is missing."""
    return ", and ".join(reasons) if all(reasons) else ""


def _explain_validation(plan: Plan, part: Mapping[str, str]) -> str:
    other = "the rows of the training are those of finetune.dataset" if plan.config.finetune.dataset else ""
    return _explain_no_training(plan) or other


def _explain_suffix(plan: Plan, part: Mapping[str, str]) -> str:
    is_local = plan.tuner is not None and plan.responder.provider.name == "local"
    return "a model that is trained here has another name" if is_local else ""


def _explain_draw(plan: Plan, part: Mapping[str, str]) -> str:
    data = _find_data(plan, part["data"])
    return f"no rows are drawn ({part['data']}.limit=null)" if data and data.limit is None else ""


def _explain_split(plan: Plan, part: Mapping[str, str]) -> str:
    data = _find_data(plan, part["data"])
    return (
        f"no splits are drawn ({part['data']}.split.fractions={{}})"
        if data and not data.split.fractions
        else ""
    )


def _explain_evaluate(plan: Plan, part: Mapping[str, str]) -> str:
    data = _find_data(plan, part["data"])
    has_splits = data and (
        data.split.fractions or "split" in data.columns or any(file.split for file in data.files)
    )
    return "these rows are trained on, not measured" if has_splits else ""


def _explain_token(plan: Plan, part: Mapping[str, str]) -> str:
    data = _find_data(plan, part["data"])
    return "" if not data or str(data.url).startswith("hf://") else "only an address at hf:// takes a token"


def _find_data(plan: Plan, key: str) -> DatasetConfig | None:
    if key == "dataset":
        return plan.config.dataset
    finetune = plan.config.finetune
    return finetune.dataset if key == "finetune.dataset" else finetune.extra.get(key.rpartition(".")[2])


def _explain_reduce(plan: Plan, part: Mapping[str, str]) -> str:
    if plan.config.scoring.steps or plan.responder.repeats > 1 or not plan.responder.provider.stored:
        return ""
    return "each row has one answer (hyperparameter.repeats=1)"


def _explain_vote(plan: Plan, part: Mapping[str, str]) -> str:
    judges = plan.panel.judges if plan.panel else ()
    alone = len(judges) == 1 and judges[0].responder.repeats == 1
    return "there is one verdict on each answer (judge.hyperparameter.repeats=1)" if alone else ""


def _explain_reference(plan: Plan, part: Mapping[str, str]) -> str:
    config, asked = plan.config.reference, plan.responder.provider.name != REPLAY
    if not config.compare:
        return "nothing is compared (reference.compare=false)"
    if not config.figures and not config.averages.figures:
        return "there are no published figures (reference.figures={})"
    return "the model is asked anew, so its figures may differ" if part["name"] == "exact" and asked else ""


def _explain_averages(plan: Plan, part: Mapping[str, str]) -> str:
    if not plan.config.reference.compare:
        return "nothing is compared (reference.compare=false)"
    return "" if plan.config.average_over else "no points are averaged (average_over=[])"


def _explain_tracking(plan: Plan, part: Mapping[str, str]) -> str:
    return "" if plan.config.tracking.enabled else "nothing is logged to MLflow (tracking.enabled=false)"


def _explain_fresh(plan: Plan, part: Mapping[str, str]) -> str:
    return "" if any(each.provider.stored for each in _list_all(plan)) else "the answers are recorded"


def _explain_sampled(plan: Plan, part: Mapping[str, str]) -> str:
    """Recorded answers are not sampled, and a judge's setting counts unless all members have their own."""
    name = part["name"]
    users = _find_users(plan, "hyperparameter", part["place"])
    asked = [each for each in users if each.key == part["place"] or name not in _read_own(plan, each.key)]
    if not asked:
        return "every member of the judge has its own"
    if all(each.provider.name == REPLAY for each in asked):
        return "the answers are recorded"
    # a seed may also be that of a training, and a service may answer another request differently all the same
    is_here = plan.tuner is None and all(each.provider.name == "local" for each in asked)
    is_drawn = any(each.sampling.temperature != 0 for each in asked)
    has_none = not is_drawn and (name == "top_p" or (name == "seed" and is_here))
    return "nothing is drawn at temperature 0" if has_none else ""


def _read_own(plan: Plan, key: str) -> Mapping[str, Any]:
    """The hyperparameters that a member of the judge sets itself."""
    member, judge = key.split(".")[-2], plan.config.judge
    return judge.members[member].hyperparameter if judge and member in judge.members else {}


def _explain_format(plan: Plan, part: Mapping[str, str]) -> str:
    users = _find_users(plan, "prompt", part["place"])
    if users and all(each.provider.name == REPLAY for each in users):
        return "the answers are recorded"
    formats = [each.sampling.response_format for each in users]
    if users and part["name"] == "json_schema" and "json_schema" not in formats:
        return f"the server is not asked for it ({part['place']}prompt.response_format)"
    return ""


def _explain_shared(plan: Plan, part: Mapping[str, str]) -> str:
    """What the members of a judge share counts unless each of them has its own."""
    return "" if _find_users(plan, part["name"], "judge.") else "every member of the judge has its own"


def _explain_provider(plan: Plan, part: Mapping[str, str]) -> str:
    reasons = [_explain_setting(each, part["name"]) for each in _find_users(plan, "provider", part["place"])]
    return reasons[0] if reasons and all(reasons) else ""


def _explain_setting(user: Responder, name: str) -> str:
    provider, sampling = user.provider, user.sampling
    effort, key = sampling.reasoning_effort, f"{user.key}hyperparameter"
    if name == "batch_poll_s":
        return "" if provider.batch else f"nothing is asked in batches ({user.key}provider.batch=false)"
    if name == "token_limit":
        return "" if sampling.max_tokens is not None else f"there is no limit ({key}.max_tokens=null)"
    if name == "api_key_env":
        return "token_env goes before the key" if getattr(provider, "token_env", None) else ""
    if name.partition(".")[0] in ("no_effort", "thinking"):
        told = ("reasoning_effort", "thinking_tokens")
        said = [each for each in told if getattr(sampling, each) is not None]
        return f"{key}.{said[0]} says how much the model thinks" if said else ""
    return "" if effort is not None else f"no effort is asked for ({key}.reasoning_effort=null)"


def _list_unused_prices(plan: Plan) -> dict[str, str]:
    """The models of ``prices.models`` that nobody who answers, or is trained, is called."""
    names = [getattr(plan.tuner, "hardware", None), plan.config.checkpoint]
    for each in _list_all(plan):
        names += [each.provider.priced_as, each.provider.stands_for, each.provider.model]
    called = [str(name) for name in dict.fromkeys(names) if name]
    return {
        f"prices.models.{name}": f"no model of this run has this name ({', '.join(called)})"
        for name in map(str, plan.config.prices.models)
        if not any(stands_for(name, other) for model in called for other in (model, f"ft:{model}"))
    }


def _list_all(plan: Plan) -> Sequence[Responder]:
    return [plan.responder, *(judge.responder for judge in (plan.panel.judges if plan.panel else ()))]


def _find_users(plan: Plan, group: str, place: str) -> Sequence[Responder]:
    """Who uses the group at a place, such as ``judge.``; a member without its own uses the judge's."""
    of_judge = [each for each in _list_all(plan)[1:] if place == "judge." and group == "hyperparameter"]
    return of_judge or [each for each in _list_all(plan) if each.places[group] == place]


def _say(reason: str) -> Reason:
    return lambda plan, part: reason


JUDGE = r"judge\.(?:members\.\w+\.)?"
RULES: Sequence[tuple[str, Reason]] = (
    (rf"{DATA}\.seed", _explain_draw),
    (rf"{DATA}\.token_env", _explain_token),
    (rf"{DATA}\.split\.(seed|stratify|group)", _explain_split),
    (r"(?P<data>finetune\.(?:dataset|extra\.\w+))\.split\.evaluate", _explain_evaluate),
    (r"finetune\.extra\.\w+\.split\.validation", _say("its loss is measured on finetune.dataset alone")),
    (rf"finetune\.(?!name$).+|hyperparameter\.({TRAINED})", _explain_no_training),
    (r"finetune\.suffix", _explain_suffix),
    (r"dataset\.split\.train", _explain_train),
    (r"dataset\.split\.validation", _explain_validation),
    (r"prompt\.shots\.(?P<name>\w+)", _explain_shots),
    (r"prompt\.(assistant|check_assistant)", _explain_gold),
    (
        rf"{JUDGE}hyperparameter\.n_shot|{JUDGE}prompt\.(shots\..+|assistant|check_assistant)",
        _say("a judge is shown no shots"),
    ),
    (rf"{JUDGE}(hyperparameter\.({TRAINED})|provider\.deployment\..+)", _say("a judge is not trained")),
    (rf"{PLACE}hyperparameter\.(?P<name>{SAMPLED})", _explain_sampled),
    (rf"{PLACE}prompt\.(?P<name>response_format|json_schema)(\..+)?", _explain_format),
    (r"provider\.deployment\..+", _explain_no_training),
    (
        rf"{PLACE}provider\.(?P<name>batch_poll_s|token_limit|api_key_env|effort_field|efforts|thinking|no_effort)(\..+)?",
        _explain_provider,
    ),
    (r"judge\.(?P<name>prompt|provider)(\..+)?", _explain_shared),
    (r"judge\.vote", _explain_vote),
    (r"scoring\.reduce", _explain_reduce),
    (r"reference\.averages\..+", _explain_averages),
    (r"reference\.(?P<name>exact|tolerance|model|case|columns|figures)(\..+)?", _explain_reference),
    (r"tracking\.(uri|experiment_name|traces)", _explain_tracking),
    (r"fresh", _explain_fresh),
)
"""Patterns of keys, each with what explains that they have no effect. All that fit a key are tried."""
