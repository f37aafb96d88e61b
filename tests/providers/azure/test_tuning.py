"""Fine-tuning and hosting at Azure, against a server that plays the resource and the management API."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hosted import KEY, AzureApi
from servers import Call, Reply, Server, serving

from runner.core.errors import ConfigError, FatalProviderError, ProviderError
from runner.core.provider import Deployer, Tuner
from runner.core.services import TrainingFile, TuningJob
from runner.core.types import Request
from runner.providers.azure import Azure
from runner.providers.azure.hosting import Deployment
from runner.providers.azure.tuning import AzureTuner

ROW = {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}
FILE = TrainingFile("facts-0123.jsonl", (json.dumps(ROW) + "\n").encode() * 10, 10)
MODEL = "ft:m:o::1"


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("TOKEN", KEY)
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "s")
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "g")


@contextmanager
def tuning(api: AzureApi, **deployment: Any) -> Iterator[tuple[AzureTuner, Server]]:
    with serving(api) as server:
        node = {"base_url": server.url, "account": "r", "token_env": "TOKEN", **deployment}
        provider = Azure(model="m", base_url=server.url, token_env="TOKEN", deployment=node)
        yield AzureTuner(provider, lambda seconds: None), server


def job(key: str = "0123456789abcdef" * 4, **changes: Any) -> TuningJob:
    return TuningJob(key=key, training=(("file-1", 1.0),), n_epochs=3, **changes)


def test_it_is_a_tuner_that_deploys() -> None:
    """The lifecycle tells by this that models must be hosted."""
    tuner = Azure(model="m", base_url="https://r.openai.azure.com").tuner()
    assert isinstance(tuner, Tuner)
    assert isinstance(tuner, Deployer)


def test_create() -> None:
    """OpenAI's call at the resource's own address; the key is in the suffix, options go along."""
    with tuning(AzureApi()) as (tuner, server):
        tuner.upload(FILE)
        tuner.create(job(suffix="medical facts!", seed=7, options={"trainingType": "GlobalStandard"}))
    assert server.last.path == "/openai/v1/fine_tuning/jobs"
    assert server.last.json == {
        "model": "m",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        "seed": 7,
        "suffix": "0123456789abcdef-medical-facts",
        "trainingType": "GlobalStandard",
    }


def test_a_job_is_found_by_its_suffix_or_its_models_name() -> None:
    """Over all pages; a finished job may have its suffix only in the model's name."""
    api = AzureApi(page=2)
    with tuning(api) as (tuner, _):
        tuner.upload(FILE)
        keys = [str(number) * 64 for number in range(4)]
        ids = [tuner.create(job(key, suffix="x")) for key in keys]
        del api.jobs[ids[0]]["suffix"]
        api.jobs[ids[0]]["fine_tuned_model"] = f"m.ft-abc-{keys[0][:16]}-x"
        assert [tuner.find_job(key) for key in [*keys, "9" * 64]] == [*ids, None]


@pytest.mark.parametrize(("word", "state"), [("created", "queued"), ("pending", "queued")])
def test_azures_own_states(word: str, state: str) -> None:
    """Azure has words that OpenAI has not."""
    with tuning(AzureApi(states=(word,))) as (tuner, _):
        tuner.upload(FILE)
        assert tuner.status(tuner.create(job())).state == state


def puts(server: Server) -> list[Call]:
    return [call for call in server.calls if call.method == "PUT"]


def test_deploy_waits_until_it_answers() -> None:
    """One deployment, provisioned, found by the endpoint, and answering under the model's identity."""
    api = AzureApi(provisioning=("Accepted", "Creating", "Succeeded"), hidden=2)
    with tuning(api) as (tuner, server):
        tuner.deploy(MODEL, "runner-1")
        served = tuner.hosted("ft:m:o::1", "runner-1")
        answer = asyncio.run(_ask(served))
    assert (answer.text, api.made) == ("1", 1)
    assert served.identity()["model"] == MODEL
    assert puts(server)[0].json["sku"] == {"name": "DeveloperTier", "capacity": 50}


async def _ask(provider: Any) -> Any:
    try:
        return await provider.complete(Request(({"role": "user", "content": "1+1?"},)))
    finally:
        await provider.aclose()


def test_deploying_again_changes_nothing() -> None:
    """The call is repeatable."""
    api = AzureApi()
    with tuning(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        tuner.deploy(MODEL, "runner-1")
    assert (api.made, set(api.deployments)) == (1, {"runner-1"})


def test_deploying_while_it_is_deleted() -> None:
    """The deployment is made again once it is gone."""
    api = AzureApi()
    with tuning(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        api.deployments["runner-1"]["ending"] = True
        tuner.deploy(MODEL, "runner-1")
    assert (api.made, set(api.deployments)) == (2, {"runner-1"})


def test_deployments_are_listed() -> None:
    """Over all pages, but a page elsewhere is not asked for, since the token would go along."""

    class Paged(AzureApi):
        def manage(self, call: Call) -> Reply:
            reply = super().manage(call)
            if call.path.endswith("/deployments"):
                second = f"{self.url}{call.path}?api-version=2025-06-01&page=2"
                reply.body["nextLink"] = "https://elsewhere/" if "page" in call.query else second
                reply.body["value"] = reply.body["value"]["page" in call.query :: 2]
            return reply

    api = Paged()
    with tuning(api) as (tuner, server):
        api.url = server.url
        for name in ("runner-1", "runner-2"):
            tuner.deploy(MODEL, name)
        assert tuner.list_deployments() == {"runner-1": MODEL, "runner-2": MODEL}


def test_sku_and_capacity_are_configured() -> None:
    """And so is the version of the management API."""
    with tuning(AzureApi(), sku="Standard", capacity=5, api_version="2024-10-01") as (tuner, server):
        tuner.deploy(MODEL, "runner-1")
    assert puts(server)[0].json["sku"] == {"name": "Standard", "capacity": 5}
    assert puts(server)[0].query == {"api-version": ["2024-10-01"]}


@pytest.mark.parametrize(
    ("terms", "said"),
    [({"sku": "developertier"}, "did you mean 'DeveloperTier'"), ({"capacity": "50k"}, "a whole number")],
)
def test_terms_that_azure_does_not_have_are_refused_before_a_training(
    terms: dict[str, Any], said: str
) -> None:
    """It would say so only when the trained model is hosted."""
    provider = Azure(base_url="https://r.openai.azure.com", deployment=terms)
    with pytest.raises(ConfigError, match=rf"provider\.deployment\.{next(iter(terms))}=.*{said}"):
        provider.tuner()


@pytest.mark.parametrize(("sku", "billed"), [("DeveloperTier", False), ("Standard", True)])
def test_only_the_developer_tier_is_free(sku: str, billed: bool) -> None:
    """Other deployments cost money by the hour while they stand."""
    provider = Azure(base_url="https://r.openai.azure.com", deployment={"sku": sku})
    assert AzureTuner(provider).bills_hosting() is billed


def test_undeploy_leaves_nothing_and_may_be_repeated() -> None:
    """Also while the deployment is being made, and when it was never there."""
    api = AzureApi()
    with tuning(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        for _ in range(2):
            tuner.undeploy("runner-1")
        tuner.undeploy("runner-2")
    assert api.deployments == {}


def test_a_deletion_without_effect_is_given_up() -> None:
    """After a minute and not after timeout_s, so that the caller can say so."""

    class Stubborn(AzureApi):
        def manage(self, call: Call) -> Reply:
            return Reply({}, status=202) if call.method == "DELETE" else super().manage(call)

    with tuning(Stubborn()) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        with pytest.raises(ProviderError, match="takes longer than 60 s"):
            tuner.undeploy("runner-1")


def test_undeploy_what_appears_late() -> None:
    """A signal broke the call off that makes it, and the service hears that call a while after."""

    class Late(AzureApi):
        def manage(self, call: Call) -> Reply:
            if call.method == "PUT":
                self.late, self.looks_left = call, 2
                return Reply({"error": {"message": "on its way"}}, status=400)
            self.looks_left -= 1
            if not self.looks_left:
                self.deploy("runner-1", self.late.json)
            return super().manage(call)

        looks_left = -1

    api = Late()
    with tuning(api) as (tuner, _):
        with pytest.raises(ProviderError):
            tuner.deploy(MODEL, "runner-1")
        tuner.undeploy("runner-1")
    assert (api.made, api.deployments) == (1, {})


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_a_deployment_that_fails_says_so(state: str) -> None:
    """And can be deleted."""
    api = AzureApi(provisioning=("Creating", state))
    with tuning(api) as (tuner, _):
        with pytest.raises(ProviderError, match=f"ended as {state}"):
            tuner.deploy(MODEL, "runner-1")
        tuner.undeploy("runner-1")
    assert api.deployments == {}


def test_a_deployment_that_never_comes_is_given_up() -> None:
    """After timeout_s, or when its name is never found."""
    late = tuning(AzureApi(provisioning=("Creating",)), timeout_s=60)
    with late as (tuner, _), pytest.raises(ProviderError, match="longer than 60 s"):
        tuner.deploy(MODEL, "runner-1")
    mute = tuning(AzureApi(hidden=10_000))
    with mute as (tuner, _), pytest.raises(ProviderError, match="does not answer"):
        tuner.deploy(MODEL, "runner-1")


def test_management_calls_are_repeated_after_faults() -> None:
    """A conflict or a fault of the service is passed over; PUT and DELETE are safe to repeat."""

    class Busy(AzureApi):
        def manage(self, call: Call) -> Reply:
            if self.calls % 2:
                return Reply({"error": {"message": "busy"}}, status=409)
            return super().manage(call)

    api = Busy()
    with tuning(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        tuner.undeploy("runner-1")
    assert (api.made, api.deployments) == (1, {})


def test_a_refused_deployment_stops() -> None:
    """No quota or no right: the management API's own words."""

    class Full(AzureApi):
        def deploy(self, name: str, body: dict[str, Any]) -> Reply:
            return Reply({"error": {"code": "InsufficientQuota", "message": "no quota"}}, status=403)

    with tuning(Full()) as (tuner, _), pytest.raises(FatalProviderError, match="no quota"):
        tuner.deploy(MODEL, "runner-1")


@pytest.mark.parametrize(
    ("variable", "key"),
    [("AZURE_SUBSCRIPTION_ID", "subscription"), ("AZURE_RESOURCE_GROUP", "resource_group")],
)
def test_what_hosting_needs_is_checked_before_a_job_is_paid(
    variable: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that cannot be hosted need not be trained."""
    monkeypatch.delenv(variable)
    with tuning(AzureApi()) as (tuner, server):
        with pytest.raises(ConfigError, match=rf"provider\.deployment\.{key}.*{variable}"):
            tuner.create(job())
        assert server.calls == []


def test_a_mistyped_deployment_key() -> None:
    """The nearest key is named."""
    with pytest.raises(ConfigError, match=r"provider\.deployment\.skuu: no such key; did you mean 'sku'"):
        Azure(model="m", base_url="https://r.openai.azure.com", deployment={"skuu": 1}).tuner()


def test_the_account_is_the_first_part_of_the_host() -> None:
    """Azure names resources that way; another name is set by account."""
    url = Deployment(subscription="s", resource_group="a b").build_url("https://res.openai.azure.com", "d")
    assert url.endswith(
        "/resourceGroups/a%20b/providers/Microsoft.CognitiveServices/accounts/res/deployments/d"
    )
