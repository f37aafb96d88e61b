"""The long tail of services, through any-llm (https://github.com/mozilla-ai/any-llm), which translates.

Its retries are off, so that pacing, limits and repeats are those of the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, RetryableError, suggest
from runner.core.types import Completion, Request, Sampling
from runner.providers.completion import read_mapping
from runner.providers.http.failures import Service, make_error
from runner.providers.openai import OpenAICompatible


@dataclass(kw_only=True, eq=False)
class AnyLLM(OpenAICompatible):
    """Any service of the library. ``lacks`` and the others work as for ``openai_compatible``.

    ``service_name``   as the library calls the service, such as ``cohere``
    ``base_url``       null: the service's own
    """

    service_name: str = "???"

    name = "any_llm"
    key_required = True
    url_required = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sdk: Any = None

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` also where the library is missing, or lacks the service."""
        check_service(self.service_name)
        super().check(sampling, columns)
        self._sdk = self._sdk or self._open_sdk()

    def identity(self) -> Mapping[str, Any]:
        """As of other services; the library stands between."""
        return {**super().identity(), "through": "any_llm"}

    async def complete(self, request: Request) -> Completion:
        """Answer one request."""
        self._sdk = self._sdk or self._open_sdk()
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = (await self._sdk.acompletion(**self.build_body(request))).model_dump()
        except Exception as error:
            raise translate_error(error, self.service()) from error
        for choice in answer.get("choices") or ():
            thought = read_mapping(choice.get("message")).get("reasoning")
            if isinstance(thought, dict):
                choice["message"]["reasoning"] = thought.get("content")
        return self.read_answer(answer)

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        sdk, self._sdk = self._sdk, None
        if close := getattr(getattr(sdk, "client", None), "close", None):
            await close()

    def _open_sdk(self) -> Any:
        try:
            from any_llm import AnyLLM as Library  # takes a second
            from any_llm.exceptions import AnyLLMError
        except ImportError as error:
            raise ConfigError("provider=any_llm needs: pip install 'any-llm-sdk'") from error
        try:
            terms = {"api_key": self.read_key(), "api_base": self.base_url}
            return Library.create(self.service_name, **terms, max_retries=0, unified_exceptions=True)
        except (AnyLLMError, ImportError) as error:
            said = self.service().redact(str(error))
            raise ConfigError(f"provider.service_name={self.service_name}: {said}") from error


def check_service(name: str) -> None:
    """Raise :class:`ConfigError` for a service that the library, if installed, does not know."""
    with suppress(ImportError):
        from any_llm.constants import LLMProvider

        if name not in (known := [service.value for service in LLMProvider]):
            hint = suggest(name, known) or f" ({', '.join(known)})"
            raise ConfigError(f"provider.service_name={name}: unknown to any-llm{hint}")


def translate_error(error: Exception, service: Service) -> ProviderError:
    """The engine's error for one of the library's: by the answer's status; without one, of the network."""
    status, text = getattr(error, "status_code", None), getattr(error, "message", None) or str(error)
    if status is None:
        said = f"{service.name}: {service.redact(text or type(error).__name__)}"
        unsupported = type(error).__name__ == "UnsupportedParameterError"
        return FatalProviderError(said) if unsupported else RetryableError(said)
    names = {"code": "code", "param": "param", "type": "error_type"}
    body = {"message": text} | {key: getattr(error, name, None) for key, name in names.items()}
    after = getattr(error, "retry_after", None)
    return make_error(service, status, {"retry-after": str(after)} if after else {}, {"error": body})
