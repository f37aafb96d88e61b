"""From what a server answered to the error that the engine acts on.

RetryableError        408, 409, 425, 429 and every 5xx
FatalProviderError    redirects, 401, 402, 403, 404, 405, 407, 410, and what every row would hear again:
                      no credit, no such model, a parameter that the model does not take. A 403 (moderation, a
                      firewall), and a 400 that names a parameter, are marked as ``refused``: once others were
                      answered they concern one row
ProviderError         the rest: this one row was refused (content filter, context length)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from runner.core.adapt import clean_text
from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.redact import drop_controls, hide_keys

RETRYABLE = {408, 409, 425, 429}
FATAL = {401, 402, 403, 404, 405, 407, 410}
FATAL_CODES = {
    "account_deactivated",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_quota",
    "invalid_api_key",
    "invalid_model",
    "model_not_found",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
    "contract_spend_limit_reached",  # Anthropic's, in the error's details
    "enforced_spend_limit_reached",
}
NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)
"""What Anthropic says with 400 where an account has no credit."""
SAMPLING = (
    "temperature", "top_p", "max_tokens", "seed", "stop", "logprobs", "reasoning_effort", "verbosity",
)  # fmt: skip
NO_TOKEN_LIMIT = "hyperparameter.max_tokens=null"
SETTINGS = {
    **{name: f"hyperparameter.{name}=null" for name in SAMPLING},
    "max_completion_tokens": NO_TOKEN_LIMIT,
    "random_seed": "hyperparameter.seed=null",
    "stop_sequences": "hyperparameter.stop=null",
    "top_logprobs": "hyperparameter.logprobs=null",
    "effort": "hyperparameter.reasoning_effort=null",
    "output_config.effort": "hyperparameter.reasoning_effort=null",
    "response_format": "prompt.response_format=text",
    "thinking": "provider.thinking=null with hyperparameter.thinking_tokens=null",
}
"""The parameters of a request that a config can leave out, and how."""
REFUSING = {400, 422}
NAMED = re.compile(
    rf"(?:^|[\"'`])({'|'.join(sorted(map(re.escape, SETTINGS), key=len, reverse=True))})(?=[\"'`]|[.:])"
)
"""A parameter's name in a message: quoted, or at its start as in ``seed: not permitted``."""
LIMIT = re.compile(
    r"(?:> ?|<= ?|\bat most |\bmaximum (?:value )?(?:of |is |: ?)|\bless than or equal to )(\d[\d,]*)",
    re.IGNORECASE,
)
"""How many tokens an answer may have, in the refusal of a larger ``max_tokens``."""
OF_ROW = re.compile(r"context|prompt is too long|too many tokens", re.IGNORECASE)
"""What is said of a row that is too long, in which a parameter may be named, too."""
LONGEST_MESSAGE = 500
ABSENT = {404, 405}  # of the address itself: a service that does not fine-tune
ENDED = re.compile(
    r"not (available|supported|enabled|offered|allowed|permitted) for (\w+ ){0,3}fine-?\s?tun"
    r"|fine-?\s?tun\w*( \w+){0,4}? (is|are|was|were|has|have|will)( \w+){0,3}? "
    r"(clos|end|discontinu|deprecat|retire|sunset|shut|remov|unavailable|disabled|no longer"
    r"|not (available|offered))"
    r"|no longer (\w+ ){0,3}fine-?\s?tun|(cannot|can't|not (allowed|able|permitted|eligible) to) create"
    r"( \w+){0,3}? fine-?\s?tun",
    re.IGNORECASE,
)
"""What services say that end fine-tuning, or do not offer it to an account."""
BARE = re.compile(r"HTTP \d+: (not found|method not allowed|no reason given)\.?( \(|$)", re.IGNORECASE)
"""An answer that only repeats what its status says."""
MASKED_KEY = re.compile(r"\bsk-[\w*-]{4,}")


@dataclass(frozen=True, slots=True)
class Service:
    """Who is asked, for messages. The secrets are held only to be removed from them."""

    name: str
    url: str
    model: str = ""
    key_env: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def suggest_cause(self, status: int) -> str:
        """What to look at first, by status, in brackets."""
        if 300 <= status < 400 or status in {404, 405}:
            return f" (provider.model={self.model}, asked at {self.url})"
        if status in {401, 403} and self.key_env:
            return f" (the key is read from the environment variable {self.key_env})"
        return ""

    def redact(self, text: str) -> str:
        """The text without keys, whole or half masked as some servers quote them; a long one is cut.

        It can be encoded: U+FFFD stands for half a character.
        """
        text = hide_keys(drop_controls(clean_text(text)), self.secrets)
        text = MASKED_KEY.sub("***", text)
        return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"


def make_error(service: Service, status: int, headers: Mapping[str, str], body: Any) -> ProviderError:
    """The error for an answer that is not a success. ``body`` is decoded JSON or text."""
    error = _classify(service, status, headers, body)
    error.status = status
    return error


def _classify(service: Service, status: int, headers: Mapping[str, str], body: Any) -> ProviderError:
    message, codes, parameter = _parse_error(body)
    text = f"{service.name}: HTTP {status}: {service.redact(message)}{service.suggest_cause(status)}"
    named = _find_setting(status, message, parameter)
    limit = LIMIT.search(message) if named == NO_TOKEN_LIMIT else None
    if limit:
        text += f" (set hyperparameter.max_tokens to at most {limit[1].replace(',', '')})"
    elif named:
        text += f" ({named} leaves it out)"
    if 300 <= status < 400 or status in FATAL or codes & FATAL_CODES or NO_CREDIT.search(message):
        fatal = FatalProviderError(text)
        fatal.refused = status == 403 and not codes & FATAL_CODES
        return fatal
    if named:
        fatal = FatalProviderError(text)
        fatal.refused = True
        return fatal
    if status == 429 and message.startswith("Request too large"):  # more than a whole minute allows
        return ProviderError(text)
    if status in RETRYABLE or status >= 500:
        return RetryableError(text, retry_after=parse_retry_after(headers), limited=status == 429)
    return ProviderError(text)


def _find_setting(status: int, message: str, parameter: str | None) -> str | None:
    """How to leave out the parameter that a refusal names, or None."""
    if status not in REFUSING or OF_ROW.search(message):
        return None
    found = NAMED.search(message)
    return SETTINGS.get(parameter or "") or (SETTINGS[found[1]] if found else None)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, 10.2.3: seconds or a date), or None.

    >>> parse_retry_after({"retry-after": "1.5"})
    1.5
    """
    if milliseconds := _parse_number(headers.get("retry-after-ms")):
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _parse_number(value)
    if value is None or seconds is not None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


@contextmanager
def suggest_local() -> Iterator[None]:
    """Where a service refuses fine-tuning as such, name the provider that trains here."""
    try:
        yield
    except RetryableError:
        raise
    except ProviderError as error:
        if not (said := _explain_end(error)):
            raise
        raised = type(error)(f"{error}; {said}, provider=local trains here")
        raised.status = error.status
        raise raised from error


def _explain_end(error: ProviderError) -> str:
    """What the service says about fine-tuning as such; empty if it only refuses this job."""
    if ENDED.search(str(error)):
        return "hosted fine-tuning is closing"
    bare = BARE.search(str(error))
    return "the service has no fine-tuning at this address" if error.status in ABSENT and bare else ""


def decode(raw: bytes) -> Any:
    """The body of an answer: JSON if it is, else text."""
    text = raw.decode(errors="replace").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _parse_number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _parse_error(body: Any) -> tuple[str, set[str], str | None]:
    """Message, codes and parameter of the error shapes in use (OpenAI, Mistral, FastAPI, Ollama)."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error or "no reason given"), set(), None
    message = error.get("message") or error.get("detail") or error
    codes = {str(error[name]) for name in ("code", "type") if error.get(name)}
    details = error.get("details")
    if isinstance(details, dict) and details.get("error_code"):
        codes.add(str(details["error_code"]))
    parameter = error.get("param")
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return text, codes, parameter if isinstance(parameter, str) else None
