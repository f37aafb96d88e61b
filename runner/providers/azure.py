"""Azure OpenAI: the OpenAI dialect at a resource of one's own, where ``model`` is a deployment's name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.providers.chat import Chat
from runner.providers.entra import INFERENCE, Entra

ENDPOINT = "AZURE_OPENAI_ENDPOINT"


@dataclass(kw_only=True)
class Azure(Chat):
    """A deployment of an Azure OpenAI resource.

    ``base_url``     the resource, ``https://NAME.openai.azure.com``; null: from ``AZURE_OPENAI_ENDPOINT``
    ``api_key_env``  null: sign in with Entra instead, by ``token_env`` or azure-identity
    ``token_env``    environment variable that holds an Entra token; it goes before the key
    ``api_version``  null: the v1 API; a date: the older API of that date
    """

    api_key_env: str | None = "AZURE_OPENAI_API_KEY"
    token_env: str | None = None
    api_version: str | None = None

    name = "azure"
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

    def key(self) -> str:
        """The API key, or nothing where Entra is used. Raises :class:`ConfigError` if neither can be had."""
        if self.api_key_env and not self.token_env:
            return super().key()
        self._entra.check()
        return ""

    def headers(self, key: str) -> dict[str, str]:
        """The key, where there is one."""
        return {"api-key": key} if key else {}

    def fresh_headers(self) -> Mapping[str, str] | None:
        """A valid Entra token, where there is no key."""
        if self.api_key_env and not self.token_env:
            return None
        return {"Authorization": f"Bearer {self._entra.token()}"}
