"""An Azure OpenAI resource: its addresses, and how one signs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.providers.azure.entra import INFERENCE, Entra
from runner.providers.chat import EFFORTS, Chat


@dataclass(kw_only=True, eq=False)
class Resource(Chat):
    """What answers, batches and fine-tuning at Azure share; see :class:`runner.providers.azure.Azure`."""

    model: str = "gpt-5.4-mini"
    api_key_env: str | None = "AZURE_OPENAI_API_KEY"
    max_concurrency: int = 50
    token_env: str | None = None
    api_version: str | None = None
    stands_for: str | None = None
    deployment: Mapping[str, Any] = field(default_factory=dict)

    name = "azure"
    has_batches = True
    efforts = EFFORTS
    key_required = False
    url_env = "AZURE_OPENAI_ENDPOINT"
    max_tokens_field = "max_completion_tokens"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._entra = Entra(INFERENCE, self.token_env, "provider.token_env")

    def find_endpoint(self) -> str:
        """The resource's URL, without the path of an API version; "" where none is set."""
        return super().find_endpoint().removesuffix("/openai/v1").removesuffix("/openai")

    def url(self) -> str:
        """Where requests are posted."""
        version = str(self.api_version or "")
        query = f"?api-version={version}" if version else ""
        if version[:1].isdigit():
            return f"{self.endpoint()}/openai/deployments/{self.model}/chat/completions{query}"
        return f"{self.endpoint()}/openai/v1/chat/completions{query}"

    def account(self) -> Mapping[str, Any]:
        """As everywhere, but a token's variable goes before the key's."""
        return {**super().account(), "api_key_env": self.token_env or self.api_key_env}

    @property
    def signs_in(self) -> bool:
        """Whether an Entra token is used, and no key."""
        return bool(self.token_env) or not self.api_key_env

    def read_key(self) -> str:
        """The API key, or "" where Entra is used. Raises :class:`ConfigError` if neither can be had."""
        if not self.signs_in:
            return super().read_key()
        self._entra.check()
        return ""

    def get_token(self) -> str:
        """An Entra token that is valid now."""
        return self._entra.get_token()

    def build_headers(self, key: str) -> dict[str, str]:
        """The key, where there is one."""
        return {"api-key": key} if key else {}

    def renew_headers(self) -> Mapping[str, str] | None:
        """A valid Entra token, where there is no key."""
        return {"Authorization": f"Bearer {self.get_token()}"} if self.signs_in else None
