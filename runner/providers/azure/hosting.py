"""Deployments of an Azure OpenAI resource, through Azure's management API.

https://learn.microsoft.com/rest/api/aiservices/accountmanagement/deployments
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, suggest
from runner.core.retry import pause
from runner.providers.azure.entra import MANAGEMENT, Entra
from runner.providers.completion import read_mapping
from runner.providers.http.client import Client
from runner.providers.http.failures import Service

POLL_S = 5.0
ENDED = {"Failed", "Canceled", "Disabled"}
FREE_SKU = "DeveloperTier"
GONE = object()
MOST_PUTS = 3  # a deployment may be deleted while it is asked for, or a call was not heard
GONE_WITHIN_S = 60.0  # how long one deletion is waited for; the caller tries again
LATE_LOOKS = 4  # in which a deployment may appear whose call was broken off, by a signal for example


@dataclass(kw_only=True)
class Deployment:
    """Where and how a fine-tuned model is hosted; the config node ``provider.deployment``.

    ``subscription``, ``resource_group``   null: from AZURE_SUBSCRIPTION_ID and AZURE_RESOURCE_GROUP
    ``account``       the resource's name; null: the first part of the endpoint's host
    ``sku``           ``DeveloperTier`` costs nothing and ends after 24 hours; others are billed by the hour
    ``capacity``      thousands of tokens a minute
    ``token_env``     variable that holds a management token; null: azure-identity
    ``base_url``, ``api_version``   of the management API
    ``timeout_s``     seconds that a deployment may take
    """

    subscription: str | None = None
    resource_group: str | None = None
    account: str | None = None
    sku: str = FREE_SKU
    capacity: int = 50
    token_env: str | None = None
    base_url: str = "https://management.azure.com"
    api_version: str = "2025-06-01"
    timeout_s: float = 3600.0

    @classmethod
    def from_config(cls, node: Mapping[str, Any]) -> Deployment:
        """From the config node; raises :class:`ConfigError` for a key that does not exist."""
        known = [field.name for field in fields(cls)]
        for key in node:
            if key not in known:
                raise ConfigError(f"provider.deployment.{key}: no such key{suggest(key, known)}")
        return cls(**node)

    def build_url(self, endpoint: str, name: str) -> str:
        """The address of one deployment; raises :class:`ConfigError` for what is missing."""
        parts = {
            "subscriptions": self._require("subscription", "AZURE_SUBSCRIPTION_ID"),
            "resourceGroups": self._require("resource_group", "AZURE_RESOURCE_GROUP"),
            "providers": "Microsoft.CognitiveServices",
            "accounts": self.account or (urlsplit(endpoint).hostname or "").split(".")[0],
            "deployments": name,
        }
        path = "/".join(f"{kind}/{quote(value, safe='')}" for kind, value in parts.items())
        return f"{self.base_url.rstrip('/')}/{path}"

    def _require(self, key: str, variable: str) -> str:
        value = getattr(self, key) or os.environ.get(variable)
        if not value:
            raise ConfigError(
                f"provider.deployment.{key} is required to host a fine-tuned model, or {variable}"
            )
        return str(value)


class Hosting:
    """Makes and deletes the deployments of one resource."""

    def __init__(self, deployment: Deployment, endpoint: str, sleep: Callable[[float], None] = pause) -> None:
        self._deployment = deployment
        self._endpoint = endpoint
        self._sleep = sleep
        self._unsure: set[str] = set()
        self._entra = Entra(MANAGEMENT, deployment.token_env, "provider.deployment.token_env")

    @property
    def is_billed(self) -> bool:
        """Whether a deployment costs money by the hour."""
        return self._deployment.sku != FREE_SKU

    def check(self) -> None:
        """Raise :class:`ConfigError` for what is missing. No network."""
        self._deployment.build_url(self._endpoint, "any")
        self._entra.check()

    def create(self, model: str, name: str) -> None:
        """Host a model and wait until that is done.

        The deployment may be there, be made or be deleted by somebody else at the same time.
        """
        body = {
            "sku": {"name": self._deployment.sku, "capacity": self._deployment.capacity},
            "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
        }
        puts = 0
        for state in self._poll_states(name, self._deployment.timeout_s):
            if state == "Succeeded":
                return
            if state is not None and state not in ENDED:
                continue
            if puts == MOST_PUTS or (puts and state is not None):
                raise ProviderError(f"azure: deployment {name} ended as {state or 'deleted'}")
            self._unsure.add(name)
            self._request("PUT", name, json=body)
            self._unsure.discard(name)
            puts += 1

    def delete(self, name: str) -> None:
        """Delete a deployment and wait until it is gone; no error if it was.

        One whose making was broken off may appear late, so it is looked for again.
        """
        looks = LATE_LOOKS if name in self._unsure else 1
        for state in self._poll_states(name, min(GONE_WITHIN_S, self._deployment.timeout_s)):
            if state is None:
                looks -= 1
                if not looks:
                    self._unsure.discard(name)
                    return
            elif state != "Deleting":
                looks = 1
                self._request("DELETE", name)

    def list_all(self) -> dict[str, str]:
        """The models of all deployments of the resource, by the deployments' names."""
        found: dict[str, str] = {}
        page = self._request("GET", "")
        while isinstance(page, dict):
            for item in page.get("value") or []:
                model = (item.get("properties") or {}).get("model") or {}
                found[str(item.get("name"))] = str(model.get("name") or "")
            following = str(page.get("nextLink") or "")
            inside = following.startswith(self._deployment.base_url)  # the token goes nowhere else
            page = self._request("GET", "", following) if inside else None
        return found

    def _poll_states(self, name: str, longest_s: float) -> Iterator[str | None]:
        """The provisioning state, again and again; raises when the deployment takes too long."""
        waited = 0.0
        while waited < longest_s:
            yield self._get_state(name)
            self._sleep(POLL_S)
            waited += POLL_S
        raise ProviderError(f"azure: deployment {name} takes longer than {waited:.0f} s")

    def _get_state(self, name: str) -> str | None:
        """The provisioning state, None where there is no such deployment, "" for an answer without one."""
        found = self._request("GET", name)
        if found is GONE:
            return None
        return str(read_mapping(read_mapping(found).get("properties")).get("provisioningState") or "")

    def _request(self, method: str, name: str, address: str | None = None, **settings: Any) -> Any:
        url = address or self._deployment.build_url(self._endpoint, name).rstrip("/")
        params = None if address else {"api-version": self._deployment.api_version}
        try:
            return self._client.request(method, url, params=params, **settings)
        except FatalProviderError as error:
            if method == "PUT" or error.status != 404:
                raise
            return GONE

    @cached_property
    def _client(self) -> Client:
        client = httpx2.Client(timeout=60.0)
        weakref.finalize(self, client.close)
        service = Service("azure", self._deployment.base_url)
        return Client(service, client, self._make_headers, self._sleep)

    def _make_headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._entra.get_token()}"}
