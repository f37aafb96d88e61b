"""Microsoft Entra tokens for Azure: from an environment variable, else from azure-identity."""

from __future__ import annotations

import importlib
import os
from functools import cached_property
from typing import Any

from runner.core.errors import AccessError, FatalProviderError, RetryableError
from runner.core.redact import remember_secret

INFERENCE = "https://cognitiveservices.azure.com/.default"
MANAGEMENT = "https://management.azure.com/.default"


class Entra:
    """Tokens for one scope.

    ``token_env`` names the environment variable that holds a token; without it azure-identity's
    ``DefaultAzureCredential`` is asked, which also renews a token before it expires. ``key`` is the config
    key to name in messages.
    """

    def __init__(self, scope: str, token_env: str | None, key: str) -> None:
        self._scope = scope
        self._token_env = token_env
        self._key = key
        self._signed_in = False

    def check(self) -> None:
        """Raise :class:`AccessError` if no token can be had. No network."""
        if self._token_env:
            self._read_token(self._token_env)
        else:
            self._import_package("azure.identity")

    def get_token(self) -> str:
        """A token that is valid now. azure-identity keeps it in memory, so this is cheap to call.

        Raises :class:`FatalProviderError` without one, but once there was one a failure is an outage.
        """
        if self._token_env:
            return self._read_token(self._token_env)
        azure_error = self._import_package("azure.core.exceptions").AzureError
        try:
            token: str = self._credential.get_token(self._scope).token
        except azure_error as error:
            kind = RetryableError if self._signed_in else FatalProviderError
            raise kind(f"azure: no Entra token: {error}") from error
        self._signed_in = True
        return remember_secret(token)

    @cached_property
    def _credential(self) -> Any:
        return self._import_package("azure.identity").DefaultAzureCredential()

    def _read_token(self, variable: str) -> str:
        token = os.environ.get(variable, "").strip()
        if not token:
            raise AccessError(f"{self._key}={variable}: the environment variable is not set")
        return remember_secret(token)

    def _import_package(self, name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise AccessError(
                f"{self._key}=null: signing in with Entra needs the package azure-identity "
                f"(the extra 'azure'); or let {self._key} name a variable that holds a token"
            ) from error
