"""Deployments at a service: made and deleted by asking for what is missing, again and again.

Whoever calls may have been cut off before, and somebody else may make or delete the same deployment; so each
step begins with a look.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar, cast

from runner.core.errors import ConfigError, ProviderError, RetryableError, suggest
from runner.core.provider import check_number

log = logging.getLogger(__name__)

POLL_S = 5.0
MOST_CALLS = 3  # a deployment may be deleted while it is asked for, or a call was not heard
GONE_WITHIN_S = 60.0  # how long one deletion is waited for; the caller tries again
LATE_LOOKS = 4  # in which a deployment may appear whose call was broken off, by a signal for example
AnyTerms = TypeVar("AnyTerms", bound="HostingTerms")


@dataclass(kw_only=True)
class HostingTerms:
    """How a fine-tuned model is hosted; the config node ``provider.deployment``.

    ``timeout_s``   seconds that a deployment may take
    ``minutes``     that one is taken to stand, in the estimate and in the budget, where it costs money
    """

    timeout_s: float = 3600.0
    minutes: float = 15.0

    @classmethod
    def from_config(cls: type[AnyTerms], node: Mapping[str, Any]) -> AnyTerms:
        """From the config node; raises :class:`ConfigError` for a key that does not exist."""
        known = [field.name for field in fields(cls)]
        for key in node:
            if key not in known:
                raise ConfigError(f"provider.deployment.{key}: no such key{suggest(key, known)}")
        terms = cls(**node)
        for key in ("timeout_s", "minutes"):
            check_number(f"deployment.{key}", getattr(terms, key))
        return terms


class ServiceHosting(ABC):
    """Makes and deletes the deployments of one account.

    ``ready``       the state of one that answers
    ``ended``       states that it does not leave by itself; asking for it again may help once
    ``deleting``    the state of one that goes by itself, where there is one
    ``repeatable``  whether asking twice makes one deployment; else a lost call is waited for first
    """

    label: ClassVar[str]
    ready: ClassVar[str]
    ended: ClassVar[frozenset[str]]
    deleting: ClassVar[str] = ""
    repeatable: ClassVar[bool] = True

    def __init__(self, timeout_s: float, sleep: Callable[[float], None]) -> None:
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._unsure: set[str] = set()

    def create(self, model: str, name: str) -> None:
        """Host a model and wait until that is done.

        The deployment may be there, be made or be deleted by somebody else at the same time. A look that
        tells nothing is made again; a call whose answer is lost may have been heard.
        """
        calls, looks, lost = 0, 0, cast("RetryableError | None", None)
        for state in self._poll_states(name, self._timeout_s, patient=True):
            if state == self.ready:
                self._unsure.discard(name)
                return
            if state is not None and state not in self.ended:
                continue
            if calls == MOST_CALLS or (calls and state is not None):
                raise lost or ProviderError(f"{self.label}: deployment {name} ended as {state or 'deleted'}")
            if state is None and name in self._unsure and not self.repeatable and looks < LATE_LOOKS:
                looks += 1
                continue
            self._unsure.add(name)
            calls, looks, lost = calls + 1, 0, None
            try:
                self._make(model, name)
                self._unsure.discard(name)
            except RetryableError as error:
                log.warning("%s; looking whether it was heard", error)
                lost = error

    def delete(self, name: str) -> None:
        """Delete a deployment and wait until it is gone; no error if it was.

        One whose making was broken off may appear late, so it is looked for again.
        """
        looks = LATE_LOOKS if name in self._unsure else 1
        for state in self._poll_states(name, min(GONE_WITHIN_S, self._timeout_s)):
            if state is None:
                looks -= 1
                if not looks:
                    self._unsure.discard(name)
                    return
            elif state != self.deleting:
                looks = 1
                self._remove(name)

    def _poll_states(self, name: str, longest_s: float, patient: bool = False) -> Iterator[str | None]:
        """The state, again and again; raises when the deployment takes too long.

        With ``patient`` a look that fails is an answer without a state.
        """
        waited, fault = 0.0, ""
        while waited < longest_s:
            try:
                state = self._get_state(name)
            except RetryableError as error:
                if not patient:
                    raise
                if not fault:
                    log.warning("%s; looking again", error)
                state, fault = "", f": {error}"
            else:
                fault = ""
            yield state
            self._sleep(POLL_S)
            waited += POLL_S
        raise ProviderError(f"{self.label}: deployment {name} takes longer than {waited:.0f} s{fault}")

    @abstractmethod
    def _get_state(self, name: str) -> str | None:
        """The state now, None where there is no such deployment, "" for an answer without one."""

    @abstractmethod
    def _make(self, model: str, name: str) -> None:
        """Ask for a deployment that is missing or has ended. A lost answer is a :class:`RetryableError`."""

    @abstractmethod
    def _remove(self, name: str) -> None:
        """Ask that a deployment be deleted."""

    @abstractmethod
    def list_all(self) -> dict[str, str]:
        """The models of all deployments, by the deployments' names."""
