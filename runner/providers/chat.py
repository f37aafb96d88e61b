"""The chat-completions dialect: from a request to its JSON body, from the JSON answer to a completion.

A service that speaks it is a small subclass of :class:`Chat` which says what differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.core.errors import ConfigError, ProviderError, RetryableError
from runner.core.provider import Batcher, Provider, RateLimits, Tuner
from runner.core.types import Completion, Request, Sampling
from runner.providers.http.failures import Origin, failure
from runner.providers.http.rate_headers import rate_limits

if TYPE_CHECKING:
    from runner.providers.http.async_client import Wire


NUMBERS = ("max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s", "batch_poll_s")


@dataclass(kw_only=True, eq=False)
class Chat(Provider):
    """A chat-completions server.

    ``model``                as the server calls it
    ``base_url``             of the API, without ``/chat/completions``
    ``api_key_env``          name of the environment variable that holds the key
    ``max_concurrency``      requests in flight at once
    ``requests_per_minute``, ``tokens_per_minute``   what the account allows; null: found out
    ``timeout_s``            seconds that one answer may take
    ``options``              further fields of the request body, sent as they are
    ``priced_as``            the name under which the price is found, where it is not the model's
    ``batch``                ask through the service's batch API: for less money, within a day
    ``batch_poll_s``         seconds between two looks at a batch

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

    name = "chat"
    stored = True
    has_batches = False
    key_required = True
    max_tokens_field = "max_tokens"
    seed_field = "seed"

    def __post_init__(self) -> None:
        self._wire: Wire | None = None

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` for what is wrong before anything is sent. No network."""
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError(f"provider.model={self.model!r}: a model's name is required")
        _check_url(self.endpoint())
        if self.batch and not self.has_batches:
            raise ConfigError(
                f"provider.batch=true: provider={self.name} has none; openai, azure and mistral do"
            )
        for key in NUMBERS:
            _check_number(key, getattr(self, key), optional=key.endswith("_minute"))
        if sampling and sampling.response_format == "json_schema" and not sampling.json_schema:
            raise ConfigError("prompt.response_format=json_schema: prompt.json_schema is missing")
        self.key()

    def identity(self) -> Mapping[str, Any]:
        """Service, endpoint and model, and the options that are sent along."""
        options = {"options": dict(self.options)} if self.options else {}
        return {"provider": self.name, "base_url": self.endpoint(), "model": self.model, **options}

    async def complete(self, request: Request) -> Completion:
        """Answer one request."""
        wire = self._wire = self._wire or self._open()
        return completion(await wire.post(self.body(request), self.fresh_headers()), self.name)

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._wire is not None:
            await self._wire.aclose()

    def tuner(self) -> Tuner:
        """The fine-tuning half; raises :class:`ConfigError` where there is none."""
        raise ConfigError(f"finetune: provider={self.name} cannot fine-tune; provider=local can")

    def batcher(self) -> Batcher:
        """The batch half; raises :class:`ConfigError` where there is none."""
        raise ConfigError(f"provider.batch=true: provider={self.name} has no batches")

    def account(self) -> Mapping[str, Any]:
        """Service, endpoint, the key's variable and model."""
        return {**super().account(), "base_url": self.endpoint(), "api_key_env": self.api_key_env}

    def rate_limits(self) -> RateLimits | None:
        """What the last answer told about the account's limits, or None."""
        return rate_limits(self._wire.headers) if self._wire else None

    def endpoint(self) -> str:
        """The base URL, without a slash at its end."""
        if not self.base_url:
            raise ConfigError(f"provider.base_url is required for provider={self.name}")
        return str(self.base_url).rstrip("/")

    def url(self) -> str:
        """Where requests are posted."""
        return f"{self.endpoint()}/chat/completions"

    def key(self) -> str:
        """The API key, from the environment. Raises :class:`ConfigError` if it is required and missing."""
        value = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if self.api_key_env and not value:
            raise ConfigError(f"provider.api_key_env={self.api_key_env}: the environment variable is not set")
        if self.key_required and not value:
            raise ConfigError(f"provider.api_key_env=null: provider={self.name} needs a key")
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"provider.api_key_env={self.api_key_env}: the value is not a key")
        return value

    def headers(self, key: str) -> dict[str, str]:
        """Headers of every request, authentication included."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def fresh_headers(self) -> Mapping[str, str] | None:
        """Headers that must be made anew for each request, such as a token that expires."""
        return None

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a request; what is None is left out."""
        sampling = request.sampling
        body = {
            "model": self.model,
            "messages": request.messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.max_tokens_field: sampling.max_tokens,
            self.seed_field: sampling.seed,
            "stop": sampling.stop,
            "logprobs": None if sampling.logprobs is None else True,
            "top_logprobs": sampling.logprobs,
            "response_format": response_format(sampling),
            **self.options,
        }
        return {name: value for name, value in body.items() if value is not None}

    def origin(self, *secrets: str) -> Origin:
        """This provider in messages; ``secrets`` are removed from them besides the key."""
        return Origin(self.name, self.endpoint(), self.model, self.api_key_env, (self.key(), *secrets))

    def _open(self) -> Wire:
        from runner.providers.http.async_client import (
            Wire,  # aiohttp takes 0.3 s, wasted where the ledger has all answers
        )

        key = self.key()
        return Wire(
            self.origin(),
            self.url(),
            self.headers(key),
            connections=self.max_concurrency,
            timeout_s=self.timeout_s,
        )


def response_format(sampling: Sampling) -> dict[str, Any] | None:
    """The field of that name. A schema is enforced (``strict``), not only asked for."""
    if sampling.response_format == "json_object":
        return {"type": "json_object"}
    if sampling.response_format == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": sampling.json_schema}
        return {"type": "json_schema", "json_schema": schema}
    return None


def completion(answer: Any, name: str) -> Completion:
    """The completion in a decoded answer.

    Raises :class:`ProviderError` for a refusal, :class:`RetryableError` for what is not an answer at all.
    """
    if isinstance(answer, dict) and answer.get("error"):  # some gateways report an upstream fault with 200
        raise _upstream(answer["error"], name)
    try:
        choice = answer["choices"][0]
        text = _text(choice["message"])
    except (KeyError, IndexError, TypeError) as error:
        raise RetryableError(f"{name}: the answer holds no message") from error
    finish = choice.get("finish_reason") or ""
    if refusal := choice["message"].get("refusal"):
        raise ProviderError(f"{name}: the model refused: {refusal}")
    if not text and finish == "content_filter":
        raise ProviderError(f"{name}: the answer was held back by the content filter")
    usage = answer.get("usage") or {}
    return Completion(
        text=text,
        model=answer.get("model") or "",
        finish_reason=finish,
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cached_tokens=_cached(usage),
        cache_write_tokens=(usage.get("prompt_tokens_details") or {}).get("cache_write_tokens"),
        logprobs=_logprobs(choice),
    )


def _upstream(error: Any, name: str) -> ProviderError:
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return failure(Origin(name, ""), status, {}, {"error": error})


def _text(message: Mapping[str, Any]) -> str:
    """The text of a message; of a list of parts, those that are text (not the thinking)."""
    content = message["content"] if "content" in message else message.get("refusal") or message["tool_calls"]
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return content or ""


def _cached(usage: Mapping[str, Any]) -> int | None:
    details = usage.get("prompt_tokens_details") or {}
    cached: int | None = details.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))
    return cached


def _logprobs(choice: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    tokens = (choice.get("logprobs") or {}).get("content")
    if tokens is None:
        return None
    return [
        _token(token) | {"top": [_token(top) for top in token.get("top_logprobs") or []]} for token in tokens
    ]


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": token["token"], "logprob": token["logprob"]}


def _check_url(url: str) -> None:
    if "@" in url or "?" in url:
        raise ConfigError("provider.base_url: must hold no credentials and no query; name a variable instead")
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        right = False
    if not right:
        raise ConfigError(f"provider.base_url={url}: must start with http:// or https:// and name a host")


def _check_number(key: str, value: Any, *, optional: bool) -> None:
    kind: Any = int if key == "max_concurrency" else (int, float)
    right = isinstance(value, kind) and not isinstance(value, bool) and value > 0
    if not right and not (optional and value is None):
        what = "a whole number of at least 1" if key == "max_concurrency" else "a number above 0"
        raise ConfigError(f"provider.{key}={value!r}: must be {what}{' or null' if optional else ''}")
