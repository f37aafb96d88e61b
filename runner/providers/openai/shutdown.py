"""When OpenAI shuts a model down, as its models endpoint tells.

https://developers.openai.com/api/reference/resources/models/methods/retrieve
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from runner.core.once import once

TIMEOUT_S = 3.0


def shutdown_date(endpoint: str, model: str, headers: Mapping[str, str]) -> date | None:
    """The announced date, or None: also where nobody answers within 3 s, for it is only a hint.

    Asked once per process and model.
    """
    return _asked(f"{endpoint}/models/{quote(model, safe='')}", tuple(sorted(headers.items())))


class _Stay(HTTPRedirectHandler):
    """Follows no redirect, which would take the key along to another host."""

    def redirect_request(self, *_: object) -> None:
        """Where a redirect leads is not asked."""


@once
def _asked(url: str, headers: tuple[tuple[str, str], ...]) -> date | None:
    try:
        with build_opener(_Stay).open(Request(url, headers=dict(headers)), timeout=TIMEOUT_S) as response:
            text = json.loads(response.read())["shutdown_date"]
        return date.fromisoformat(str(text)[:10])
    except (OSError, ValueError, KeyError, TypeError):
        return None
