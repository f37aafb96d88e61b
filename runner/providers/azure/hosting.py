"""Deployments of an Azure OpenAI resource, through Azure's management API.

https://learn.microsoft.com/rest/api/aiservices/accountmanagement/deployments
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from runner.core.errors import AccessError, ConfigError, FatalProviderError, suggest
from runner.core.retry import pause
from runner.providers.azure.entra import MANAGEMENT, Entra
from runner.providers.completion import read_mapping
from runner.providers.hosting import HostingTerms, ServiceHosting
from runner.providers.http.certificates import make_ssl_context
from runner.providers.http.client import Client
from runner.providers.http.failures import Service

FREE_SKU = "DeveloperTier"
SKUS = (
    FREE_SKU, "Standard", "GlobalStandard", "DataZoneStandard", "ProvisionedManaged",
    "GlobalProvisionedManaged", "DataZoneProvisionedManaged",
)  # fmt: skip
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/deployment-types"""
GONE = object()


@dataclass(kw_only=True)
class Deployment(HostingTerms):
    """Where and how a fine-tuned model is hosted; the config node ``provider.deployment``.

    ``subscription``, ``resource_group``   null: from AZURE_SUBSCRIPTION_ID and AZURE_RESOURCE_GROUP
    ``account``       the resource's name; null: the first part of the endpoint's host
    ``sku``           ``DeveloperTier`` costs nothing and ends after 24 hours; others are billed by the hour
    ``capacity``      thousands of tokens a minute
    ``token_env``     variable that holds a management token; null: azure-identity
    ``base_url``, ``api_version``   of the management API
    ``timeout_s``, ``minutes``      see :class:`runner.providers.hosting.HostingTerms`
    """

    subscription: str | None = None
    resource_group: str | None = None
    account: str | None = None
    sku: str = FREE_SKU
    capacity: int = 50
    token_env: str | None = None
    base_url: str = "https://management.azure.com"
    api_version: str = "2025-06-01"

    def check(self) -> None:
        """Raise :class:`ConfigError` for what the service would refuse after the training."""
        if self.sku not in SKUS:
            raise ConfigError(
                f"provider.deployment.sku={self.sku!r}: azure has none{suggest(str(self.sku), SKUS)}"
            )
        capacity = self.capacity
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
            raise ConfigError(
                f"provider.deployment.capacity={capacity!r}: must be a whole number of thousands of tokens a"
                " minute, at least 1"
            )

    def build_url(self, endpoint: str, name: str) -> str:
        """The address of one deployment; raises :class:`AccessError` for what is missing."""
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
            raise AccessError(
                f"provider.deployment.{key} is required to host a fine-tuned model, or {variable}"
            )
        return str(value)


class Hosting(ServiceHosting):
    """Makes and deletes the deployments of one resource."""

    label = "azure"
    ready = "Succeeded"
    ended = frozenset({"Failed", "Canceled", "Disabled"})
    deleting = "Deleting"

    def __init__(
        self,
        deployment: Deployment,
        find_endpoint: Callable[[], str],
        sleep: Callable[[float], None] = pause,
    ) -> None:
        super().__init__(deployment.timeout_s, sleep)
        self._deployment = deployment
        self._find_endpoint = find_endpoint
        self._entra = Entra(MANAGEMENT, deployment.token_env, "provider.deployment.token_env")

    @property
    def is_billed(self) -> bool:
        """Whether a deployment costs money by the hour."""
        return self._deployment.sku != FREE_SKU

    def check(self) -> None:
        """Raise :class:`AccessError` for what is missing. No network."""
        self._deployment.build_url(self._find_endpoint(), "any")
        self._entra.check()

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

    def _get_state(self, name: str) -> str | None:
        """The provisioning state, None where there is no such deployment, "" for an answer without one."""
        found = self._request("GET", name)
        if found is GONE:
            return None
        return str(read_mapping(read_mapping(found).get("properties")).get("provisioningState") or "")

    def _make(self, model: str, name: str) -> None:
        body = {
            "sku": {"name": self._deployment.sku, "capacity": self._deployment.capacity},
            "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
        }
        self._request("PUT", name, json=body)

    def _remove(self, name: str) -> None:
        self._request("DELETE", name)

    def _request(self, method: str, name: str, address: str | None = None, **settings: Any) -> Any:
        url = address or self._deployment.build_url(self._find_endpoint(), name).rstrip("/")
        params = None if address else {"api-version": self._deployment.api_version}
        try:
            return self._client.request(method, url, params=params, **settings)
        except FatalProviderError as error:
            if method == "PUT" or error.status != 404:
                raise
            return GONE

    @cached_property
    def _client(self) -> Client:
        client = httpx2.Client(verify=make_ssl_context(), timeout=60.0)
        weakref.finalize(self, client.close)
        service = Service("azure", self._deployment.base_url)
        return Client(service, client, self._make_headers, self._sleep)

    def _make_headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._entra.get_token()}"}
