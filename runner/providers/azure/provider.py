"""Azure OpenAI: the OpenAI dialect at a resource of one's own, where ``model`` is a deployment's name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.core.errors import ConfigError
from runner.core.provider import Batcher, Tuner
from runner.providers.azure.entra import INFERENCE, Entra
from runner.providers.chat import Chat

ENDPOINT = "AZURE_OPENAI_ENDPOINT"


@dataclass(kw_only=True, eq=False)
class Azure(Chat):
    """A deployment of an Azure OpenAI resource.

    ``base_url``     the resource, ``https://NAME.openai.azure.com``; null: from ``AZURE_OPENAI_ENDPOINT``
    ``api_key_env``  null: sign in with Entra instead, by ``token_env`` or azure-identity
    ``token_env``    environment variable that holds an Entra token; it goes before the key
    ``api_version``  null: the v1 API; a date: the older API of that date (chat only)
    ``stands_for``   the model behind the deployment, where the deployment's name is not to identify answers
    ``deployment``   how fine-tuned models are hosted: :class:`runner.providers.azure.hosting.Deployment`
    """

    api_key_env: str | None = "AZURE_OPENAI_API_KEY"
    token_env: str | None = None
    api_version: str | None = None
    stands_for: str | None = None
    deployment: Mapping[str, Any] = field(default_factory=dict)

    name = "azure"
    has_batches = True
    key_required = False
    max_tokens_field = "max_completion_tokens"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._entra = Entra(INFERENCE, self.token_env, "provider.token_env")

    def endpoint(self) -> str:
        """The resource's URL, without the path of an API version."""
        address = str(self.base_url or os.environ.get(ENDPOINT, "")).rstrip("/")
        if not address:
            raise ConfigError(f"provider.base_url is required for provider=azure, or {ENDPOINT}")
        return address.removesuffix("/openai/v1").removesuffix("/openai")

    def url(self) -> str:
        """Where requests are posted."""
        version = str(self.api_version or "")
        query = f"?api-version={version}" if version else ""
        if version[:1].isdigit():
            return f"{self.endpoint()}/openai/deployments/{self.model}/chat/completions{query}"
        return f"{self.endpoint()}/openai/v1/chat/completions{query}"

    @property
    def signs_in(self) -> bool:
        """Whether an Entra token is used, and no key."""
        return bool(self.token_env) or not self.api_key_env

    def identity(self) -> Mapping[str, Any]:
        """As everywhere, under the name of the model that the deployment stands for."""
        return {**super().identity(), "model": self.stands_for or self.model}

    def key(self) -> str:
        """The API key, or nothing where Entra is used. Raises :class:`ConfigError` if neither can be had."""
        if not self.signs_in:
            return super().key()
        self._entra.check()
        return ""

    def token(self) -> str:
        """An Entra token that is valid now."""
        return self._entra.token()

    def headers(self, key: str) -> dict[str, str]:
        """The key, where there is one."""
        return {"api-key": key} if key else {}

    def fresh_headers(self) -> Mapping[str, str] | None:
        """A valid Entra token, where there is no key."""
        return {"Authorization": f"Bearer {self.token()}"} if self.signs_in else None

    def batcher(self) -> Batcher:
        """Batches at this resource; the deployment's type must be one for batches."""
        from runner.providers.azure.batch import AzureBatcher

        return AzureBatcher(self)

    def tuner(self) -> Tuner:
        """Fine-tuning at this resource."""
        from runner.providers.azure.tuning import AzureTuner  # the SDK takes a second to import

        return AzureTuner(self)
