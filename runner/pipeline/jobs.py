"""Fine-tuning jobs: each one is created once, found again, and replaced if it failed.

The key of a job is a digest of everything that determines its model. A claim under this key is in the ledger
before the job is created, and the job's id right after. A process that comes later, or one that takes over
after a crash in between, finds the job by its key and never creates a second one.

A job that failed or was cancelled keeps its entry, with the service's reason. The next command makes a new
job, whose key is a digest of the order's key and the number of the attempt. An attempt is made only when the
one before it has ended, so no two jobs of an order are ever at work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runner.core.errors import ProviderError, RunnerError, describe_error
from runner.core.identity import digest
from runner.core.provider import Tuner
from runner.core.retry import Patience, pause
from runner.core.services import Checkpoint, TuningStatus
from runner.engine.ledger import Ledger
from runner.engine.ledger.claims import LostClaimError, confirm_claim, is_alive, is_mine, make_claim
from runner.pipeline.finetune import Pay, TrainingOrder, create_job, make_patience

log = logging.getLogger(__name__)

JOB = "job"
ENDED = ("failed", "cancelled")
END_NOTES = ("state", "reason", "seen_by")
ANOTHER = "another hyperparameter.seed makes another job"
ODD = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""What a service's answer of an odd shape raises where it is read."""
OnStatus = Callable[[TuningStatus], None]
"""Called with the status of a job each time it is polled."""


@dataclass(frozen=True)
class TrainingResult:
    """A finished job: its id, its training curves (name to (step, value) pairs) and its checkpoints.

    ``replaced`` are the failed or cancelled jobs in whose place it was made, each with the service's reason.
    """

    job_id: str
    curve: dict[str, list[tuple[int, float]]]
    checkpoints: list[Checkpoint]
    replaced: list[str] = field(default_factory=list)


def train_once(
    order: TrainingOrder,
    tuner: Tuner,
    ledger: Ledger,
    on_status: OnStatus = lambda status: None,
    pay: Pay = lambda usd: None,
    command: str = "",
) -> TrainingResult:
    """Return the finished job of an order; create it if it does not exist. Blocks until it is finished.

    A job that has failed or was cancelled before this call is replaced by a new one, unless it ended under
    the eyes of this ``command``: all points of a sweep have one, and so they make at most one new job.
    ``pay`` is called if this process creates the job, see :func:`runner.pipeline.finetune.create_job`.

    Raises :class:`RunnerError` with the provider's reason if the job fails, is cancelled or paused while this
    call waits for it, or if it succeeds without a model.
    """
    number, patience = _find_attempt(order, ledger), make_patience(order)
    while True:
        key = make_attempt_key(order.key, number)
        job_id, is_new = _find_or_create(key, order, tuner, ledger, pay)
        entry = ledger.get(JOB, key) or {}
        if command and command in entry.get("seen_by", ()):
            raise _make_error(job_id, entry["state"], entry["reason"])
        status = _look(job_id, tuner, patience)
        if status.state in ENDED and not is_new:
            _note_end(key, status, ledger)
            log.warning(
                "fine-tuning job %s %s (%s); a new job takes its place",
                job_id,
                status.state,
                _explain(status),
            )
            number += 1
            continue
        if "state" in entry and status.state not in ENDED:
            log.warning("fine-tuning job %s %s (%s); it goes on", job_id, entry["state"], entry["reason"])
            ledger.put(JOB, key, {name: entry[name] for name in entry if name not in END_NOTES})
        status = _wait(job_id, status, tuner, on_status, order.config.poll_s, patience)
        if status.state in ENDED:
            _note_end(key, status, ledger, command)
        if status.state != "succeeded":
            raise _make_error(job_id, status.state, _explain(status))
        checkpoints = _read_checkpoints(job_id, order, tuner, patience)
        curve = _read_curve(job_id, tuner, patience)
        return TrainingResult(job_id, curve, checkpoints, _list_replaced(order, number, ledger))


def make_attempt_key(key: str, number: int) -> str:
    """The key of the job that is made after ``number`` failed or cancelled ones; the first has the order's.

    >>> make_attempt_key("k", 0), len(make_attempt_key("k", 1))
    ('k', 64)
    """
    return digest([key, number]) if number else key


def has_job(order: TrainingOrder, ledger: Ledger) -> bool:
    """Whether the ledger knows a job of this order that has not failed and was not cancelled."""
    entry = ledger.get(JOB, make_attempt_key(order.key, _find_attempt(order, ledger))) or {}
    return "id" in entry and "state" not in entry


def _find_attempt(order: TrainingOrder, ledger: Ledger) -> int:
    """The number of the newest attempt in the ledger."""
    number = 0
    while ledger.get(JOB, make_attempt_key(order.key, number + 1)):
        number += 1
    return number


def _find_or_create(
    key: str, order: TrainingOrder, tuner: Tuner, ledger: Ledger, pay: Pay
) -> tuple[str, bool]:
    """Return the id of the one job with this key, and whether this call created it.

    It is created once; a process that comes second waits for the one that does.
    """
    claim = make_claim(ledger)
    while not ledger.add(JOB, key, claim):
        entry = ledger.get(JOB, key) or {}
        if entry.get("id"):
            return str(entry["id"]), False
        if entry and not is_alive(ledger, entry) and ledger.swap(JOB, key, entry, claim):
            break
        pause(min(1.0, order.config.poll_s))
    try:
        found = tuner.find_job(key)
        job_id = found or create_job(key, order, tuner, pay, lambda: confirm_claim(ledger, JOB, key))
        if not isinstance(job_id, str) or not job_id:
            raise TypeError(f"the job's id is {job_id!r}")
    except LostClaimError:  # waits for the owner that took the claim over
        return _find_or_create(key, order, tuner, ledger, pay)
    except BaseException as error:
        if is_mine(ledger, ledger.get(JOB, key)):  # by now it may be another owner's
            ledger.remove(JOB, key)
        if isinstance(error, ODD):
            reason = describe_error(error)
            raise RunnerError(
                f"fine-tuning: the service's answer cannot be read ({reason}); the same command looks for "
                "the job before it makes one"
            ) from error
        raise
    ledger.put(JOB, key, {"id": job_id, **claim})
    return job_id, found is None


def _note_end(key: str, status: TuningStatus, ledger: Ledger, command: str = "") -> None:
    """Write into the ledger that a job has failed or was cancelled, and which command waited for it."""

    def add(entry: Any) -> dict[str, Any]:
        seen_by = {*(entry or {}).get("seen_by", ()), *filter(None, [command])}
        ended = {"state": status.state, "reason": _explain(status), "seen_by": sorted(seen_by)}
        return {**(entry or {}), **ended}

    ledger.change(JOB, key, add)


def _list_replaced(order: TrainingOrder, number: int, ledger: Ledger) -> list[str]:
    """The jobs of the attempts before this one, with what the service said about them."""
    entries = [ledger.get(JOB, make_attempt_key(order.key, earlier)) or {} for earlier in range(number)]
    return [f"{entry.get('id')} {entry.get('state')}: {entry.get('reason')}" for entry in entries]


def _read_checkpoints(
    job_id: str, order: TrainingOrder, tuner: Tuner, patience: Patience
) -> list[Checkpoint]:
    """The checkpoints of a job that succeeded. Raises :class:`RunnerError` without one that has a model."""
    try:
        checkpoints = patience.call(lambda: list(tuner.checkpoints(job_id, order.schedule)))
        unnamed = [point for point in checkpoints if not isinstance(point.model, str) or not point.model]
    except ODD as error:
        reason = describe_error(error)
        raise RunnerError(
            f"fine-tuning job {job_id} succeeded, but its checkpoints cannot be read ({reason})"
        ) from error
    if unnamed or not checkpoints:
        what = f"its checkpoint {unnamed[0].number} has no model" if unnamed else "it names no model"
        raise RunnerError(
            f"fine-tuning job {job_id} succeeded, but {what}; ask the service about it; {ANOTHER}"
        )
    return checkpoints


def _read_curve(job_id: str, tuner: Tuner, patience: Patience) -> dict[str, list[tuple[int, float]]]:
    """The training curve; empty, with a warning, if it cannot be read, since the model is paid for."""
    try:
        return patience.call(lambda: tuner.curve(job_id))
    except (ProviderError, *ODD) as error:
        log.warning("%s: no training curve: %s", job_id, describe_error(error))
        return {}


def _look(job_id: str, tuner: Tuner, patience: Patience) -> TuningStatus:
    """The status of a job. Raises :class:`RunnerError` that says what to do if the service lost the job."""
    try:
        return patience.call(lambda: tuner.status(job_id))
    except ODD as error:
        reason = describe_error(error)
        raise RunnerError(
            f"fine-tuning job {job_id}: the service's answer cannot be read ({reason}); the same command "
            "looks again"
        ) from error
    except ProviderError as error:
        if error.status != 404:
            raise
        raise RunnerError(
            f"fine-tuning job {job_id} is gone ({error}); if other settings or another key made it, "
            f"use them; {ANOTHER}"
        ) from error


def _explain(status: TuningStatus) -> str:
    return status.detail or "no reason given"


def _make_error(job_id: str, state: str, reason: str) -> RunnerError:
    again = "; the same command makes a new job" if state in ENDED else ""
    return RunnerError(f"fine-tuning job {job_id} {state}: {reason}{again}")


def _wait(
    job_id: str, status: TuningStatus, tuner: Tuner, on_status: OnStatus, poll_s: float, patience: Patience
) -> TuningStatus:
    """Poll a job, of which ``status`` is the first look, until it ends or is paused."""
    logged = 0
    while True:
        logged = _log_events(job_id, tuner, logged)
        on_status(status)
        if status.state in ("succeeded", "paused", *ENDED):
            return status
        pause(poll_s)
        status = _look(job_id, tuner, patience)


def _log_events(job_id: str, tuner: Tuner, logged: int) -> int:
    """Log the events after the first ``logged``; return how many there are. A failure can wait."""
    try:
        events = tuner.events(job_id)
    except (ProviderError, *ODD) as error:
        log.info("%s: its messages cannot be read: %s", job_id, describe_error(error))
        return logged
    for event in events[logged:]:
        log.info("%s: %s", job_id, event)
    return max(logged, len(events))
