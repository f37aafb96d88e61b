"""Hosting: a model that must be deployed before it answers is deployed once for all who need it at a time.

    join ─ deploy ─ ask ─ leave ─ (the last one) delete

The name of a deployment is made of the ledger's own id and of the hosted model, so that all points, processes
and machines on one ledger find the same one, and nobody else does. Its entry in the ledger holds a claim of
each user. Whoever leaves removes its own claim and those of dead owners; the last one deletes the deployment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from runner.core.errors import ProviderError, describe_failure
from runner.core.identity import digest, read_identity
from runner.core.provider import Deployer, Provider, Tuner
from runner.core.retry import pause
from runner.engine.ledger import Ledger
from runner.engine.ledger.claims import is_alive, is_mine, make_claim, outlives_look

log = logging.getLogger(__name__)

DEPLOYMENT = "deployment"
PREFIX = "runner-"
WAIT_S = 1.0
"""Between two looks at a deployment that another one deletes."""
PAUSES_S = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0)
"""Between the tries to delete a deployment; each try has the provider's own repetitions in it."""
HOUR_S = 3600.0


@dataclass
class Bill:
    """What a use of a deployment has come to.

    ``usd_per_hour``   the price, None if it is unknown
    ``hours``          that it stood and that no other use has counted
    ``leftovers``      deployments that could not be deleted, by name, with the reason
    """

    usd_per_hour: float | None = None
    hours: float = 0.0
    leftovers: dict[str, str] = field(default_factory=dict)


class GaveUp(KeyboardInterrupt):
    """Ctrl-C while a deployment could not be deleted."""


class Keeper(Protocol):
    """Keeps a deployment that a later point of a sweep may need (:mod:`runner.pipeline.keeping`)."""

    def keep(self, use: Use) -> None:
        """Called before a use ends."""

    def pass_over(self, use: Use) -> None:
        """Called in place of a use that makes no call; may add to its bill."""


@dataclass
class Use:
    """One use of the deployment ``name`` of ``model``, from :meth:`join` to :meth:`leave`."""

    model: str
    name: str
    tuner: Deployer
    ledger: Ledger
    bill: Bill = field(default_factory=Bill)
    token: str = field(default_factory=lambda: uuid4().hex)
    _joined: bool = False

    def join(self) -> None:
        """Note this use in the ledger. While another living owner deletes the deployment, wait."""
        ledger, place, claim = self.ledger, find_place(self.tuner), make_claim(self.ledger)

        def enter(entry: Any) -> Any:
            if entry is None:
                entry = {"model": self.model, "place": place, "usd_per_hour": self.bill.usd_per_hour}
                entry["service"] = self.tuner.hosted("model", "name").name
                entry |= dict.fromkeys(("time", "paid"), ledger.now())
            elif entry["deleting"] and is_alive(ledger, entry["deleting"]):
                return entry
            return {**entry, "users": {**list_users(ledger, entry), self.token: claim}, "deleting": None}

        while self.token not in ledger.change(DEPLOYMENT, self.name, enter)["users"]:
            pause(WAIT_S)
        self._joined = True

    def leave(self, interrupted: bool = False) -> None:
        """End this use; delete the deployment if nobody else uses it. Adds to the bill.

        Ctrl-C during a deletion does not stop it, since each hour costs. It does so if the deletion failed
        before, and if it is the second one (``interrupted``).
        """
        try:
            self._end(interrupted)
        except GaveUp:
            raise
        except KeyboardInterrupt:
            if not interrupted:
                self._end(True)
            raise

    def settle(self) -> None:
        """Count the hours until now."""
        self._leave_entry(lambda entry: entry)

    def _end(self, interrupted: bool) -> None:
        users = (self.ledger.get(DEPLOYMENT, self.name) or {}).get("users", {})
        if self._joined and self.token not in users:
            self.join()  # others took this process for dead and deleted, which it may have made anew
        for claim in [claim for token, claim in users.items() if token != self.token]:
            if outlives_look(self.ledger, claim, pause):
                break  # that one will delete it
        entry = self._leave_entry(self._go)
        self._joined = False
        if entry and is_mine(self.ledger, entry["deleting"]):
            self.bill.leftovers[self.name] = "it was interrupted"
            reason = delete(self.name, self.tuner, self.ledger, hurried=interrupted)
            del self.bill.leftovers[self.name]
            self.bill.hours += (self.ledger.now() - entry["paid"]) / HOUR_S
            if reason:
                self.bill.leftovers[self.name] = reason

    def _go(self, entry: dict[str, Any]) -> dict[str, Any]:
        others = {token: claim for token, claim in entry["users"].items() if token != self.token}
        users = list_users(self.ledger, {"users": others})
        return {**entry, "users": users, "deleting": None if users else make_claim(self.ledger)}

    def _leave_entry(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """Change the entry, in which the hours until now are counted, while this use is in it."""
        hours = 0.0

        def count(entry: Any) -> Any:
            nonlocal hours
            hours = 0.0
            if entry is None or self.token not in entry["users"]:
                return entry  # left already, or deleted on request
            now = self.ledger.now()
            hours = (now - entry["paid"]) / HOUR_S
            return {**change(entry), "paid": now}

        entry = self.ledger.change(DEPLOYMENT, self.name, count)
        self.bill.hours += hours
        return entry


@contextmanager
def serve_model(
    model: str,
    tuner: Tuner,
    ledger: Ledger,
    is_needed: Callable[[Provider], bool] = lambda provider: True,
    bill: Bill | None = None,
    keeper: Keeper | None = None,
    pay: Callable[[], None] = lambda: None,
) -> Iterator[Provider]:
    """Yield a provider that answers as ``model``.

    A model that must be hosted is deployed on entry, if ``is_needed`` says that the provider will be called.
    On exit the deployment is deleted, unless somebody else uses it or ``keeper`` keeps it. What could not be
    deleted is in ``bill``. ``pay`` is called before a deployment is used; it may raise to stop it.
    """
    if not isinstance(tuner, Deployer):
        yield tuner.serving(model)
        return
    use = Use(model, name_deployment(model, tuner, ledger), tuner, ledger, bill or Bill())
    provider = tuner.hosted(model, use.name)
    if not is_needed(provider):
        if keeper:
            keeper.pass_over(use)
        yield provider
        return
    pay()
    interrupted = False
    try:
        use.join()
        tuner.deploy(model, use.name)
        yield provider
    except BaseException as error:
        interrupted = not isinstance(error, Exception)
        raise
    finally:
        try:
            if keeper and not interrupted:
                keeper.keep(use)
        finally:
            use.leave(interrupted)


def name_deployment(model: str, tuner: Deployer, ledger: Ledger) -> str:
    """Return the name of a model's deployment, which is the same for all who share the ledger."""
    provider = tuner.hosted(model, "name")
    settings = dict(getattr(provider, "deployment", None) or {})
    own = ledger.change("ledger", "id", lambda known: known or uuid4().hex)
    return PREFIX + digest([own, model, read_identity(provider), settings])[:12]


def find_place(tuner: Deployer) -> str:
    """Return what identifies the account in which a tuner makes deployments."""
    account = dict(tuner.hosted("model", "name").account())
    return digest({name: value for name, value in account.items() if name not in ("model", "api_key_env")})


def list_users(ledger: Ledger, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims of a deployment's living users. Earlier versions noted one user, the entry itself."""
    users = entry.get("users", {"": entry})
    return {token: claim for token, claim in users.items() if is_alive(ledger, claim)}


def is_left_over(ledger: Ledger, entry: Mapping[str, Any]) -> bool:
    """Whether nobody who lives uses a deployment or deletes it."""
    deleting = entry.get("deleting")
    return not list_users(ledger, entry) and not (deleting and is_alive(ledger, deleting))


def delete_leftovers(tuner: Deployer, ledger: Ledger, hurried: bool = False) -> dict[str, str | None]:
    """Delete the tuner's deployments that have no living user.

    Returns the reason by name for those that could not be deleted, and None by name for the others.
    """
    place = find_place(tuner)
    found = [
        (name, entry)
        for name, entry in ledger.items(DEPLOYMENT)
        if entry.get("place", place) == place and is_left_over(ledger, entry)
    ]
    return {name: delete(name, tuner, ledger, hurried) for name, entry in found if claim(name, entry, ledger)}


def claim(name: str, entry: Mapping[str, Any], ledger: Ledger) -> bool:
    """Make the deletion of a deployment this process's task; False if the entry has changed meanwhile."""
    return ledger.swap(DEPLOYMENT, name, entry, {**entry, "users": {}, "deleting": make_claim(ledger)})


def describe_price(usd_per_hour: float | None) -> str:
    """Say what a deployment costs while it stands."""
    if usd_per_hour is None:
        return "may cost money by the hour"
    return f"costs ${usd_per_hour:.2f} per hour" if usd_per_hour else "costs nothing by the hour"


def say_leftovers(bill: Bill) -> list[str]:
    """Log that deployments were not deleted, what they cost and what to do; return the messages."""
    price = describe_price(bill.usd_per_hour)
    said = [
        f"deployment {name} was not deleted ({reason}); it {price} while it stands."
        f" To delete it: runner cleanup {name}, with the same provider"
        for name, reason in bill.leftovers.items()
    ]
    for message in said:
        log.error("%s", message)
    return said


def delete(name: str, tuner: Deployer, ledger: Ledger, hurried: bool = False) -> str | None:
    """Delete a deployment and its entry; try for some minutes. Return the reason if that fails, else None.

    With ``hurried`` there is one try.
    """
    reason = _try_to_delete(name, tuner, () if hurried else PAUSES_S)
    entry = ledger.get(DEPLOYMENT, name)
    if entry and reason:
        ledger.change(DEPLOYMENT, name, lambda entry: entry and {**entry, "deleting": None})
    elif entry and (not entry.get("users") or is_mine(ledger, entry.get("deleting"))):
        ledger.remove(DEPLOYMENT, name)
    return reason


def _try_to_delete(name: str, tuner: Deployer, pauses_s: tuple[float, ...]) -> str | None:
    for pause_s in (*pauses_s, None):
        try:
            tuner.undeploy(name)
            return None
        except ProviderError as error:
            reason = describe_failure(error)
        except Exception as error:  # such as a missing key, or a fault of a user's own class
            return describe_failure(error)
        if pause_s is not None:
            log.warning("deployment %s is not deleted yet, and is tried again: %s", name, reason)
            try:
                pause(pause_s)
            except KeyboardInterrupt as stop:
                raise GaveUp(*stop.args) from None
    return reason
