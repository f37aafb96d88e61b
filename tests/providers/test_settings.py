"""Wrong settings are named before anything is sent."""

import json
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from asking import MESSAGES, ask
from hydra.utils import instantiate
from omegaconf import OmegaConf

from runner.core.errors import ConfigError, FatalProviderError, RetryableError
from runner.core.paths import CONF
from runner.core.types import Request, Sampling
from runner.providers.anthropic import Anthropic
from runner.providers.azure import Azure
from runner.providers.azure.entra import Entra
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible
from runner.providers.remote import Remote

pytestmark = pytest.mark.usefixtures("keys")


def test_nothing_is_read_or_opened_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider can be built where no key is set; check says what is missing."""
    monkeypatch.delenv("OPENAI_API_KEY")
    provider = OpenAI(model="m")
    with pytest.raises(ConfigError, match=r"provider\.api_key_env=OPENAI_API_KEY"):
        provider.check()


def test_azure_without_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the key and the variable; with the variable set all is well."""
    with pytest.raises(ConfigError, match=r"provider\.base_url.*AZURE_OPENAI_ENDPOINT"):
        Azure(model="m").check()
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/")
    provider = Azure(model="m")
    provider.check()
    assert provider.identity()["base_url"] == "https://r.openai.azure.com"


def test_azure_token_variable_not_set() -> None:
    """The message names the key that names the variable."""
    with pytest.raises(ConfigError, match=r"provider\.token_env=NO_TOKEN"):
        Azure(model="m", base_url="https://r.openai.azure.com", token_env="NO_TOKEN").check()


def test_azure_identity_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the message says what to install."""
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(ConfigError, match="azure-identity"):
        Azure(model="m", base_url="https://r.openai.azure.com", api_key_env=None).check()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"model": None}, "provider.model"),
        ({"base_url": None}, "provider.base_url"),
        ({"base_url": "localhost:8000"}, "provider.base_url"),
        ({"base_url": "http://user:pw@host/v1"}, "provider.base_url"),
        ({"base_url": "http://host/v1?key=abc"}, "provider.base_url"),
        ({"base_url": "http://[host/v1"}, "provider.base_url"),
        ({"timeout_s": None}, "provider.timeout_s"),
        ({"batch_poll_s": 0}, "provider.batch_poll_s"),
        ({"api_key_env": "NO_SUCH_KEY"}, "provider.api_key_env"),
        ({"token_limit": "max_token"}, "provider.token_limit=max_token: .*did you mean 'max_tokens'"),
        ({"effort_field": "a.b.c"}, "provider.effort_field"),
        ({"effort_field": ""}, "provider.effort_field"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], key: str) -> None:
    """One sentence with the key, before anything is sent."""
    right = {"model": "m", "base_url": "http://localhost:8000/v1"}
    provider = OpenAICompatible(**(right | settings))

    def check() -> None:
        provider.check_limits()
        provider.check()

    with pytest.raises(ConfigError, match=key):
        check()


@pytest.mark.parametrize(
    ("declared", "options", "key"),
    [
        ({"token_limit": "num_predict"}, {"num_predict": 3}, "hyperparameter.max_tokens"),
        ({"effort_field": "thinking.effort"}, {"thinking": {"on": True}}, "hyperparameter.reasoning_effort"),
    ],
)
def test_a_declared_field_is_not_set_in_two_places(
    declared: dict[str, str], options: dict[str, Any], key: str
) -> None:
    """A field under the service's own name would replace the option of this name without a word."""
    provider = OpenAICompatible(model="m", base_url="http://localhost", options=options, **declared)
    with pytest.raises(ConfigError, match=rf"^{key}: provider\.options\.{next(iter(options))} sets it"):
        provider.check_settings(Sampling(max_tokens=64, reasoning_effort="low"))


def test_credentials_in_an_address_are_not_repeated() -> None:
    """The message about them does not quote them."""
    with pytest.raises(ConfigError) as caught:
        OpenAICompatible(model="m", base_url="http://user:hunter2@host/v1").check()
    assert "hunter2" not in str(caught.value)


def test_a_key_that_cannot_be_a_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break or a letter beyond ASCII would fail deep inside the request, and quote the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ключ")
    with pytest.raises(ConfigError, match="not a key") as caught:
        OpenAI(model="m").check()
    assert "ключ" not in str(caught.value)


def test_a_schema_must_be_given() -> None:
    """response_format=json_schema alone is a config error."""
    with pytest.raises(ConfigError, match=r"prompt\.json_schema"):
        OpenAI(model="m").check(Sampling(response_format="json_schema"))


def test_options_from_a_config_are_plain_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested options of the option file reach the body as they were written."""
    node = OmegaConf.load(CONF / "provider/openai.yaml")
    node.options = {"reasoning": {"effort": "low"}, "tags": ["a"]}
    provider = instantiate(node)
    body = json.loads(json.dumps(provider.build_body(Request(MESSAGES))))
    assert (body["reasoning"], body["tags"]) == ({"effort": "low"}, ["a"])


def test_azure_identity_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is signed in the run stops with the reason."""
    pytest.importorskip("azure.identity", reason="the extra 'azure' is not installed")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(FatalProviderError, match="no Entra token"):
        ask(Azure(model="m", base_url="http://localhost:9", api_key_env=None))


def test_an_outage_of_the_sign_in_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first token a failure stops the run; later it may pass, as when a token is renewed."""

    class AzureError(Exception):
        pass

    class Credential:
        up = False

        def get_token(self, scope: str) -> SimpleNamespace:
            if not self.up:
                raise AzureError("no route to host")
            return SimpleNamespace(token="t")

    monkeypatch.setitem(sys.modules, "azure.core.exceptions", SimpleNamespace(AzureError=AzureError))
    monkeypatch.setitem(sys.modules, "azure.identity", SimpleNamespace(DefaultAzureCredential=Credential))
    entra = Entra("scope", None, "provider.token_env")
    with pytest.raises(FatalProviderError, match="no Entra token: no route"):
        entra.get_token()
    Credential.up = True
    assert entra.get_token() == "t"
    Credential.up = False
    with pytest.raises(RetryableError, match="no Entra token: no route"):
        entra.get_token()


@pytest.mark.parametrize(
    ("kind", "options", "sampling", "key"),
    [
        (OpenAI, {"temperature": 1}, {"temperature": 0}, "hyperparameter.temperature"),
        (OpenAI, {"seed": 7}, {"seed": 0}, "hyperparameter.seed"),
        (OpenAI, {"max_tokens": 5}, {"max_tokens": 64}, "hyperparameter.max_tokens"),
        (OpenAICompatible, {"max_completion_tokens": 5}, {"max_tokens": 64}, "hyperparameter.max_tokens"),
        (OpenAI, {"stop": ["x"]}, {"stop": ("y",)}, "hyperparameter.stop"),
        (OpenAI, {"top_logprobs": 0}, {"logprobs": 5}, "hyperparameter.logprobs"),
        (Mistral, {"random_seed": 7}, {"seed": 0}, "hyperparameter.seed"),
        (Anthropic, {"stop_sequences": ["x"]}, {"stop": ("y",)}, "hyperparameter.stop"),
        (
            OpenAI,
            {"response_format": {"type": "text"}},
            {"response_format": "json_object"},
            "prompt.response_format",
        ),
        (OpenAI, {"model": "other"}, {}, "provider.options.model"),
        (Anthropic, {"system": "other"}, {}, "provider.options.system"),
        (OpenAI, {"n": 3}, {}, "provider.options.n"),
        (OpenAI, {"stream": True}, {}, "provider.options.stream"),
    ],
)
def test_what_is_set_in_two_places(
    kind: type[Remote], options: dict[str, Any], sampling: dict[str, Any], key: str
) -> None:
    """The option would be sent and the record would say the other; with null the option is the only one."""
    provider = kind(model="m", base_url="http://localhost", options=options)
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: "):
        provider.check_settings(Sampling(**{"max_tokens": 64, **sampling}))
    if not key.startswith("provider"):
        provider.check_settings(Sampling(max_tokens=None if "tokens" in key else 64))
