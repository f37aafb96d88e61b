"""What Mistral's job objects say, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_offer(offer: Mapping[str, Any]) -> str:
    """What a dry run says of costs and time."""
    cost = f"{offer['cost']} {offer.get('cost_currency') or ''}".strip() if offer.get("cost") else "unknown"
    duration = offer.get("expected_duration_seconds")
    return f"this job costs {cost}" + (f" and takes about {duration} s" if duration else "")


def describe_event(event: Mapping[str, Any]) -> str:
    """An event of a job in one line."""
    data = event.get("data") or {}
    text = ", ".join(f"{name} {value}" for name, value in data.items() if value is not None)
    return f"{event.get('name', 'event')}: {text}" if text else str(event.get("name", "event"))


def read_metrics(point: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a checkpoint; what is null is left out."""
    return {name: float(value) for name, value in (point.get("metrics") or {}).items() if value is not None}


def read_progress(job: Mapping[str, Any]) -> float | None:
    """The share of the steps that are done, or None."""
    steps = (job.get("hyperparameters") or {}).get("training_steps")
    points = job.get("checkpoints") or []
    if not steps or not points:
        return None
    return round(min(max(int(point["step_number"]) for point in points) / int(steps), 1.0), 3)
