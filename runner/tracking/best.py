"""Which point of a sweep is best, as tags that MLflow can filter by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.records.averages import Average
from runner.records.ranking import rank
from runner.records.record import Record
from runner.tracking.names import TAG_LENGTH, truncate
from runner.tracking.store import Store

BEST, MOST_RUNS = "best", 50_000


def tag_best(records: Sequence[Record], averages: Sequence[Average], store: Store) -> dict[str, str]:
    """Tag the run of the best point with ``best=true``; return the tags of the parent run.

    If there are averages, these are ranked, and the runs of all points of the best one have the tag.

    These are ``objective`` with its direction, and ``best_point``. Points on different rows do not compete,
    so there may be several. A tag of an earlier end of the sweep is removed from a run that is not best now.
    """
    ranked = averages or records
    ranking = rank(ranked)
    chosen = [ranked[place] for best in ranking.best for place in best]
    if not chosen or not chosen[0].sweep:
        return {}
    ids = {point.id for one in chosen for point in (one.members if isinstance(one, Average) else [one])}
    query = f"tags.sweep_id = '{chosen[0].sweep}'"
    for run in store.client.search_runs([store.experiment_id], query, max_results=MOST_RUNS):
        tags: Mapping[str, str] = run.data.tags
        if tags.get("record_id") in ids:
            store.client.set_tag(run.info.run_id, BEST, "true")
        elif BEST in tags:
            store.client.delete_tag(run.info.run_id, BEST)
    names = "; ".join(_name_point(record) for record in chosen)
    return {
        "objective": ranking.objective,
        "objective_direction": ranking.direction,
        "best_point": truncate(names, TAG_LENGTH),
    }


def describe(tags: Mapping[str, str]) -> str:
    """The best point and by what it is best, for MLflow's page; empty without one.

    >>> describe({"objective": "f1", "objective_direction": "higher", "best_point": "[2] n_shot=3"})
    '**best** by `f1` (higher is better): [2] n_shot=3'
    """
    if not tags:
        return ""
    objective, direction, point = (tags[name] for name in ("objective", "objective_direction", "best_point"))
    return f"**best** by `{objective}` ({direction} is better): {point}"


def _name_point(record: Record) -> str:
    swept = ", ".join(f"{key}={value}" for key, value in record.swept.items())
    if not isinstance(record, Average):
        return f"[{record.job}] {swept}"
    over = f"mean over {', '.join(record.over)}"
    return f"{swept} ({over})" if swept else over
