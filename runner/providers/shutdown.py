"""When a service shuts a model down, as its models endpoint tells.

https://developers.openai.com/api/reference/resources/models/methods/retrieve (``shutdown_date``) and
https://docs.mistral.ai/api/endpoint/models (``deprecation``, which its SDK reads as the day of removal)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from urllib.parse import quote

import httpx2

from runner.core.errors import ProviderError
from runner.core.once import once
from runner.core.retry import Retry
from runner.providers.http.certificates import make_ssl_context
from runner.providers.http.client import Client
from runner.providers.http.failures import Service

TIMEOUT_S = 3.0
ONE_TRY = Retry(tries=1, limited_tries=1)


def find_shutdown_date(endpoint: str, model: str, field: str, headers: Mapping[str, str]) -> date | None:
    """The announced date in this field, or None: it is only a hint, so whatever goes wrong means None.

    Waits 3 s at most, and asks once per process and model.
    """
    return _look_up(f"{endpoint}/models/{quote(model, safe='')}", field, tuple(sorted(headers.items())))


@once
def _look_up(url: str, field: str, headers: tuple[tuple[str, str], ...]) -> date | None:
    with httpx2.Client(verify=make_ssl_context(), timeout=TIMEOUT_S) as http:
        client = Client(Service("models", url), http, lambda: dict(headers), retry=ONE_TRY)
        try:
            return date.fromisoformat(str(client.request("GET", url)[field])[:10])
        except (ProviderError, httpx2.InvalidURL, ValueError, KeyError, TypeError):
            return None
