"""A finished run made again from its record, and what differs.

Its config comes from the record, its prompts' texts from its folder, its answers from the ledger (or the
export); rows, chats, predictions, verdicts and scores are made anew by today's code and data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.config.trust import refuse_foreign_classes
from runner.core.errors import ConfigError
from runner.core.provider import Provider
from runner.experiment.plan import make_plan
from runner.pipeline.answer import OpenBar, open_no_bar
from runner.reproduce import checks, differences, past_run
from runner.reproduce.addresses import Own, describe_ledger, guard_files
from runner.reproduce.differences import ANSWERS, COMPARED, Check, Differences
from runner.reproduce.past_run import PastRun
from runner.reproduce.rerun import check_ledger, read_answers, rerun


def compare_with_today(
    past: PastRun,
    own: Own,
    ask: bool = False,
    trust: bool = False,
    open_bar: OpenBar = open_no_bar,
) -> Differences:
    """Make a run again and compare; nothing is asked of a model unless ``ask``.

    Raises :class:`ConfigError` before a class runs that is not this package's own (unless ``trust``), and
    before a model is asked at an address that is not one's own.
    """
    record = past.record
    if not trust:
        refuse_foreign_classes(record.config | {"identities": record.identities}, "reproduce.trust=true")
    if ask:
        for key, node in checks.find_provider_places(record).items():
            own.check_provider(node, key)
    with guard_files([own], past.export.folder):
        return _compare(past, own, ask, trust, open_bar)


def _compare(past: PastRun, own: Own, ask: bool, trust: bool, open_bar: OpenBar) -> Differences:
    nodes = checks.find_provider_nodes(past.record)
    providers = {who: checks.try_make_provider(node) for who, node in nodes.items()}
    models = [checks.check_identity(who, past.record.identities[who], providers[who]) for who in nodes]
    if ask:
        _refuse_strangers(models)
    plan = make_plan(
        past.make_config({who: _node(past, who, nodes[who], providers[who], ask) for who in nodes})
    )
    with past_run.open_ledger(past, own.ledger_url, make=ask) as ledger:
        found = [] if ask else check_ledger(past, ledger)
        if not ask:
            ledger.add_answers(read_answers(past))
        now = rerun(plan, past, ledger, open_bar)
        found = found or check_ledger(past, ledger)
    changes = differences.compare_rows(past.frame, now.frame, list(past.record.inputs[0]["columns"]))
    scores = differences.pair_scores(past.record.scores, now.scores)
    replayed = any(check.what == "chats" for check in now.data)  # then there is nothing to compare them with
    return Differences(
        checks=[
            checks.check_config(past, trust),
            *now.data,
            *checks.check_prompts(past),
            *models,
            *checks.check_training(past, plan, now.frame),
            *found,
            *_check_ledger_url(past, own),
            *differences.check_columns(changes, now.frame, ANSWERS if replayed else COMPARED),
            differences.check_scores(scores),
            *checks.check_versions(past.record),
        ],
        scores=scores,
        changes=changes,
    )


def _refuse_strangers(models: list[Check]) -> None:
    for model in models:
        if model.state != "same":
            raise ConfigError(f"reproduce.ask: the {model.what} is not the recorded one: {model.detail}")


def _node(past: PastRun, who: str, node: Any, provider: Provider | None, ask: bool) -> Mapping[str, Any]:
    """Who answers now: the provider itself where its answers are not kept, else the ledger in its name."""
    if ask or (provider is not None and not provider.stored):
        return dict(node)
    known = {"known_as": past.record.identities[who]}
    known |= {"thinking_tags": node["thinking_tags"]} if "thinking_tags" in node else {}
    return {"_target_": "runner.reproduce.recorded.Recorded", "_recursive_": False, **known}


def _check_ledger_url(past: PastRun, own: Own) -> list[Check]:
    said = describe_ledger(past.record, own.ledger_url)
    return [Check("ledger.url", "different", said, decides=False)] if said else []
