"""Batches at Azure OpenAI (https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch).

OpenAI's calls at the resource's own endpoint, for a deployment whose type is a batch type (Global Batch).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.providers.azure.resource import Resource
from runner.providers.openai.batch import OpenAIBatcher


class AzureBatcher(OpenAIBatcher):
    """See :class:`runner.core.provider.Batcher`."""

    most_requests = 100_000
    endpoint = "/chat/completions"  # as in Azure's reference, although the lines have the longer path
    _provider: Resource

    def _request(self, method: str, path: str, need: str = "id", **settings: Any) -> Mapping[str, Any]:
        if self._provider.api_version:
            settings["params"] = {**settings.get("params", {}), "api-version": self._provider.api_version}
        return super()._request(method, path, need, **settings)

    def _base_url(self) -> str:
        return f"{self._provider.endpoint()}/openai/v1"
