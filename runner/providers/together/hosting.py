"""Endpoints at Together, billed by the minute (https://docs.together.ai/reference/createendpoint)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.core.errors import ConfigError, ProviderError, suggest
from runner.core.retry import pause
from runner.providers.calls import ServiceCalls, check_items
from runner.providers.hosting import HostingTerms, ServiceHosting
from runner.providers.together.account import Account

log = logging.getLogger(__name__)

MINE = {"type": "dedicated", "mine": "true"}


@dataclass(kw_only=True)
class Deployment(HostingTerms):
    """How a fine-tuned model is hosted; the config node ``provider.deployment``.

    ``hardware``            id of the hardware, which sets the price; ``GET /hardware?model=…`` lists them
    ``inactive_timeout``    minutes without a question after which the service itself stops the endpoint
    ``availability_zone``   null: any
    ``timeout_s``, ``minutes``   see :class:`runner.providers.hosting.HostingTerms`
    """

    hardware: str = "1x_nvidia_h100_80gb_sxm"
    inactive_timeout: int = 30
    availability_zone: str | None = None

    def check(self) -> None:
        """Raise :class:`ConfigError` for what the service would refuse, or what would never stop."""
        if not isinstance(self.hardware, str) or not self.hardware:
            raise ConfigError(f"provider.deployment.hardware={self.hardware!r}: must be the id of a hardware")
        if not isinstance(self.availability_zone, str | None):
            raise ConfigError(
                f"provider.deployment.availability_zone={self.availability_zone!r}: must be a text, or null"
            )
        minutes = self.inactive_timeout
        if not isinstance(minutes, int) or isinstance(minutes, bool) or minutes < 1:
            raise ConfigError(
                f"provider.deployment.inactive_timeout={minutes!r}: must be a whole number of minutes, at"
                " least 1; without it an endpoint that nobody deletes would be billed for ever"
            )


class Hosting(ServiceHosting, ServiceCalls):
    """Makes and deletes endpoints. Ours is known by its display name; several may have one name.

    One that was just made is also looked at by its id, since the list may not have it yet. ``addresses`` is
    filled with the name by which each endpoint is asked.
    """

    label = "together"
    ready = "STARTED"
    ended = frozenset({"STOPPED", "ERROR"})
    repeatable = False

    def __init__(self, terms: Deployment, provider: Account, sleep: Callable[[float], None] = pause) -> None:
        ServiceHosting.__init__(self, terms.timeout_s, sleep)
        ServiceCalls.__init__(self, provider, sleep)
        self._terms = terms
        self._display_names: dict[str, str] = {}
        self._made: dict[str, str] = {}  # ids of endpoints, by their display names
        self.addresses: dict[str, str] = {}

    def check_hardware(self) -> None:
        """Raise :class:`ConfigError` for a hardware that the service does not list, where it tells a list."""
        wanted = self._terms.hardware
        try:
            listed = check_items(self._ask("GET", "/hardware", {"data": list})["data"], self._name)
        except ProviderError as error:
            log.info("together: the hardware is not told: %s", error)
            return
        known = {str(item["id"]) for item in listed}
        if known and wanted not in known:
            key = f"provider.deployment.hardware={wanted}"
            raise ConfigError(f"{key}: together has none of this name{suggest(wanted, known)}")

    def list_all(self) -> dict[str, str]:
        """The models of all endpoints of the account, by their display names."""
        return {self._read_name(item): str(item.get("model") or "") for item in self._list_endpoints()}

    def _get_state(self, name: str) -> str | None:
        found = self._find(name)
        found.sort(key=lambda item: item.get("state") in self.ended)
        if not found:
            return None
        self.addresses[name] = str(found[0].get("name") or "")
        return str(found[0].get("state") or "")

    def _make(self, model: str, name: str) -> None:
        found, terms = self._find(name), self._terms
        body = {
            "display_name": name,
            "model": model,
            "hardware": terms.hardware,
            "autoscaling": {"min_replicas": 1, "max_replicas": 1},
            "inactive_timeout": terms.inactive_timeout,
            "state": "STARTED",
            **({"availability_zone": terms.availability_zone} if terms.availability_zone else {}),
        }
        if found:
            self._request("PATCH", f"/endpoints/{found[0]['id']}", json={"state": "STARTED"})
        else:
            self._made[name] = self._ask("POST", "/endpoints", {"id": str}, json=body)["id"]

    def _remove(self, name: str) -> None:
        for item in self._find(name):
            self._look_at(item["id"], lambda path: self._request("DELETE", path))
        self._made.pop(name, None)

    def _find(self, name: str) -> list[dict[str, Any]]:
        found = [item for item in self._list_endpoints() if self._read_name(item) == name]
        made = self._made.get(name)
        if made and made not in [item["id"] for item in found]:
            late = self._look(made)
            found += [late] if late else []
        return found

    def _list_endpoints(self) -> list[dict[str, Any]]:
        return check_items(self._ask("GET", "/endpoints", {"data": list}, params=MINE)["data"], self._name)

    def _read_name(self, item: dict[str, Any]) -> str:
        """An endpoint's display name, which only the look at it alone tells; "" if it is gone."""
        known = self._display_names
        if item["id"] not in known:
            found = self._look(item["id"])
            if not found:
                return ""
            known[item["id"]] = str(found["display_name"] or "")
        return known[item["id"]]

    def _look(self, endpoint_id: str) -> dict[str, Any] | None:
        """The endpoint, or None where there is none; an answer that does not name it says neither."""

        def ask(path: str) -> dict[str, Any]:
            return self._ask("GET", path, {"id": str, "display_name": str | None})

        found = self._look_at(endpoint_id, ask)
        return found and {**found, "id": endpoint_id}

    def _look_at(self, endpoint_id: str, ask: Callable[[str], Any]) -> Any:
        """What is asked about an endpoint, or None where there is none."""
        try:
            return ask(f"/endpoints/{endpoint_id}")
        except ProviderError as error:
            if error.status != 404:
                raise
            return None
