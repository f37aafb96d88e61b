"""A model behind an HTTP API: its key, its address, its limits. What is said there is a dialect's matter.

A dialect is a subclass with a ``path``, ``build_body`` and ``read_answer``, such as
:class:`runner.providers.chat.Chat`.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from runner.core.errors import AccessError, ConfigError
from runner.core.identity import identify_more
from runner.core.provider import MAX_WAIT_S, THINKING_TAGS, Provider, RateLimits, check_number
from runner.core.redact import remember_secret
from runner.core.types import Completion, Request, Sampling
from runner.providers.http.failures import Service
from runner.providers.http.rate_headers import parse_rate_limits

if TYPE_CHECKING:
    from runner.providers.http.async_client import AsyncClient

SAME = {
    "temperature": {"temperature"},
    "top_p": {"top_p"},
    "max_tokens": {"max_tokens", "max_completion_tokens"},
    "seed": {"seed", "random_seed"},
    "stop": {"stop", "stop_sequences"},
    "logprobs": {"logprobs", "top_logprobs"},
    "reasoning_effort": {"reasoning_effort", "reasoning", "output_config"},
    "verbosity": {"verbosity"},
    "thinking_tokens": {"thinking"},
}
"""Fields of a body that say the same as a hyperparameter."""
ELSEWHERE = {
    "model": "provider.model does",
    "messages": "the prompt does",
    "system": "the prompt does",
    "n": "hyperparameter.repeats asks a row several times",
    "stream": "answers are read as a whole",
}
"""Fields of a body that ``options`` may not set, and why."""


@dataclass(kw_only=True, eq=False)
class Remote(Provider):
    """A server that answers one JSON request with one JSON answer.

    ``model``                as the server calls it
    ``base_url``             of the API, without the ``path`` of the dialect
    ``api_key_env``          name of the environment variable that holds the key
    ``max_concurrency``      requests in flight at once
    ``requests_per_minute``, ``tokens_per_minute``   what the account allows; null: found out
    ``timeout_s``            seconds that one answer may take
    ``options``              further fields of the request body, sent as they are
    ``priced_as``            the name under which the price is found, where it is not the model's
    ``batch``                ask through the service's batch API: for less money, within a day
    ``batch_poll_s``         seconds between two looks at a batch
    ``max_wait_s``           seconds that the server may ask to wait, or answer nothing; then the run stops
    ``thinking_tags``        tags that open the thinking in an answer; ``<think>`` is closed by ``</think>``

    The key is read when the first request is sent and is kept out of ``repr``, identity and messages.
    """

    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    max_concurrency: int = 32
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 300.0
    options: Mapping[str, Any] = field(default_factory=dict)
    priced_as: str | None = None
    batch: bool = False
    batch_poll_s: float = 30.0
    max_wait_s: float = MAX_WAIT_S
    thinking_tags: Sequence[str] = field(default_factory=lambda: list(THINKING_TAGS))

    has_batches = False
    key_required = True
    url_required = True
    url_env = ""
    shutdown_field = ""
    efforts = cast("Sequence[str]", ())
    path = ""

    def __post_init__(self) -> None:
        self._client: AsyncClient | None = None

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` for what is wrong before anything is sent, a missing key included."""
        super().check(sampling, columns)
        self.check_settings(sampling)
        if self.url_required or self.base_url:
            _check_url(self.endpoint())
        self.read_key()

    def check_settings(self, sampling: Sampling | None) -> None:
        """Raise :class:`ConfigError` for settings that the service would refuse. Needs no key, no address."""
        if self.batch and not self.has_batches:
            raise ConfigError(
                "provider.batch=true: only openai, azure, anthropic, mistral and together have batches"
            )
        check_number("timeout_s", self.timeout_s)
        check_number("batch_poll_s", self.batch_poll_s)
        if sampling and sampling.response_format == "json_schema" and not sampling.json_schema:
            raise ConfigError("prompt.response_format=json_schema: prompt.json_schema is missing")
        for name in self.options.keys() & ELSEWHERE:
            raise ConfigError(f"provider.options.{name}: cannot be set here; {ELSEWHERE[name]}")
        if sampling:
            self._check_effort(sampling)
            self._check_options(sampling)

    def _check_effort(self, sampling: Sampling) -> None:
        """Refuse an effort that the service does not have."""
        effort = sampling.reasoning_effort
        if effort and self.efforts and effort not in self.efforts:
            raise ConfigError(
                f"hyperparameter.reasoning_effort={effort}: {self.name} has {', '.join(self.efforts)}"
            )

    def _check_options(self, sampling: Sampling) -> None:
        """Refuse what is set in two places: ``options`` would win, and the record would say the other."""
        for name, fields in SAME.items():
            if getattr(sampling, name) is not None and self.options.keys() & fields:
                raise ConfigError(
                    f"hyperparameter.{name}: provider.options sets it, too; leave one of them out"
                )
        if sampling.response_format != "text" and "response_format" in self.options:
            raise ConfigError("prompt.response_format: provider.options sets it, too; leave one of them out")

    def check_limits(self) -> None:
        """Raise :class:`ConfigError` also for an address and for settings of a wrong type."""
        super().check_limits()
        if not isinstance(self.options, Mapping):
            raise ConfigError(f"provider.options={self.options!r}: must be a mapping, or {{}}")
        if not isinstance(self.api_key_env, str | None):
            raise ConfigError(f"provider.api_key_env={self.api_key_env!r}: must be a variable's name or null")
        if self.base_url is not None:
            _check_url(str(self.base_url))

    def identity(self) -> Mapping[str, Any]:
        """Service, endpoint and model, the options that are sent along, and settings that a subclass adds."""
        options = {"options": dict(self.options)} if self.options else {}
        model = self.stands_for or self.model
        found = {"provider": self.name, "base_url": self.find_endpoint(), "model": model}
        return found | options | identify_more(self)

    async def complete(self, request: Request) -> Completion:
        """Answer one request."""
        client = self._client = self._client or self._open()
        answer = await client.post(self.build_body(request), self.renew_headers())
        return self.read_answer(answer)

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._client is not None:
            await self._client.aclose()

    def account(self) -> Mapping[str, Any]:
        """Service, endpoint, the key's variable and model."""
        return {**super().account(), "base_url": self.find_endpoint(), "api_key_env": self.api_key_env}

    def rate_limits(self) -> RateLimits | None:
        """The account's limits as the headers of the last answer say them, or None."""
        return parse_rate_limits(self._client.last_headers) if self._client else None

    def gives_logprobs(self, sampling: Sampling) -> bool:
        """Whether answers come with log-probabilities: asked for by the request or by ``options``."""
        return super().gives_logprobs(sampling) or bool(self.options.get("logprobs"))

    def shutdown_date(self) -> date | None:
        """The day on which the service says that it shuts the model down, or None."""
        if not self.shutdown_field:
            return None
        from runner.providers.shutdown import find_shutdown_date  # httpx2 takes 0.1 s to import

        headers = self.build_headers(self.read_key())
        return find_shutdown_date(self.endpoint(), self.model, self.shutdown_field, headers)

    def endpoint(self) -> str:
        """The base URL, without a slash at its end. Raises :class:`AccessError` if it is missing."""
        found = self.find_endpoint()
        if not found and self.url_required:
            other = f", or {self.url_env}" if self.url_env else ""
            raise AccessError(f"provider.base_url is required for provider={self.name}{other}")
        return found

    def find_endpoint(self) -> str:
        """The base URL, "" where none is set."""
        variable = os.environ.get(self.url_env, "") if self.url_env else ""
        return str(self.base_url or variable).rstrip("/")

    def url(self) -> str:
        """Where requests are posted."""
        return f"{self.endpoint()}{self.path}"

    def read_key(self) -> str:
        """The API key from the environment, or "". Raises :class:`ConfigError` if a needed one is missing."""
        value = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if self.api_key_env and not value:
            raise AccessError(f"provider.api_key_env={self.api_key_env}: the environment variable is not set")
        if self.key_required and not value:
            raise ConfigError(
                f"provider.api_key_env=null: {self.name} needs a key; name the variable that has it"
            )
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"provider.api_key_env={self.api_key_env}: the value is not a key")
        return remember_secret(value)

    def build_headers(self, key: str) -> dict[str, str]:
        """Headers of every request, with the key."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def renew_headers(self) -> Mapping[str, str] | None:
        """Headers made anew for each request, such as a token that expires; None where there are none."""
        return None

    @abstractmethod
    def build_body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a request; what is None is left out, and ``options`` are added last."""

    @abstractmethod
    def read_answer(self, answer: Any) -> Completion:
        """The completion in a decoded answer; raises :class:`ProviderError` or a subclass."""

    def service(self, *secrets: str) -> Service:
        """This service in messages; ``secrets`` are removed from them besides the key."""
        return Service(self.name, self.endpoint(), self.model, self.api_key_env, (self.read_key(), *secrets))

    def _open(self) -> AsyncClient:
        from runner.providers.http.async_client import AsyncClient  # aiohttp takes 0.15 s

        return AsyncClient(
            self.service(),
            self.url(),
            self.build_headers(self.read_key()),
            connections=self.max_concurrency,
            timeout_s=self.timeout_s,
        )


def _check_url(url: str) -> None:
    if "@" in url or "?" in url:
        raise ConfigError("provider.base_url: must hold no credentials and no query; name a variable instead")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
        (parts.hostname or "").encode("idna")
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and not re.search(r"[\s\0]", url)
    except ValueError:
        right = False
    if not right:
        raise ConfigError(f"provider.base_url={url}: must start with http:// or https:// and name a host")
