"""Dedicated endpoints at Together: found by their display name, started, asked, and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hosted import KEY, SPOILED
from hosted_together import TogetherApi
from servers import Call, Reply, Server, serving

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, RetryableError
from runner.core.services import TuningJob
from runner.core.types import Request
from runner.providers.together import Together
from runner.providers.together.tuning import TogetherTuner

MODEL = "me/m-x-ft-1"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)


@contextmanager
def hosting(api: TogetherApi, **deployment: Any) -> Iterator[tuple[TogetherTuner, Server]]:
    api.jobs["ft-1"] = {"id": "ft-1", "model": "m", "suffix": "x"}
    with serving(api) as server:
        provider = Together(model="m", base_url=f"{server.url}/v1", deployment=deployment)
        yield TogetherTuner(provider, lambda seconds: None), server


def test_an_endpoint_is_made_and_asked_by_its_own_name() -> None:
    """One replica that stops by itself; the answer has the model's identity, and the hardware's price."""
    api = TogetherApi()
    with hosting(api, hardware="2x_h100", inactive_timeout=9, availability_zone="z") as (tuner, server):
        served = tuner.hosted(f"{MODEL}:2", "runner-1")
        tuner.deploy(f"{MODEL}:2", "runner-1")
        answer = asyncio.run(ask(served))
        assert server.last.json["model"] == f"me/{MODEL}:2-endpoint-1"
        made = next(call.json for call in server.calls if call.method == "POST")
    assert (answer.text, served.identity()["model"], served.priced_as) == ("2", f"{MODEL}:2", "2x_h100")
    assert made == {
        "display_name": "runner-1",
        "model": f"{MODEL}:2",
        "hardware": "2x_h100",
        "autoscaling": {"min_replicas": 1, "max_replicas": 1},
        "inactive_timeout": 9,
        "state": "STARTED",
        "availability_zone": "z",
    }


async def ask(provider: Any) -> Any:
    try:
        return await provider.complete(Request(({"role": "user", "content": "1+1?"},)))
    finally:
        await provider.aclose()


def test_deploying_and_deleting_may_be_repeated() -> None:
    """A stranger's endpoint is left alone."""
    api = TogetherApi()
    with hosting(api) as (tuner, _):
        for name in ("runner-1", "other", "runner-1"):
            tuner.deploy(MODEL, name)
        assert tuner.list_deployments() == {"runner-1": MODEL, "other": MODEL}
        for _ in range(2):
            tuner.undeploy("runner-1")
    assert (api.made, [item["display_name"] for item in api.deployments.values()]) == (2, ["other"])


def test_a_list_that_is_late_makes_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the create call told is looked at by its id, and deleted by it."""
    api = TogetherApi()
    answer = api.manage

    def hide(call: Call, endpoint_id: str | None) -> Reply:
        reply = answer(call, endpoint_id)
        return Reply({"object": "list", "data": []}) if (call.method, endpoint_id) == ("GET", None) else reply

    monkeypatch.setattr(api, "manage", hide)
    with hosting(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        assert (api.made, len(api.deployments)) == (1, 1)
        tuner.undeploy("runner-1")
    assert api.deployments == {}


def test_one_that_has_stopped_is_started() -> None:
    """The service stops it where nobody asks for a while; no second one is made."""
    api = TogetherApi()
    with hosting(api) as (tuner, server):
        tuner.deploy(MODEL, "runner-1")
        api.deployments["endpoint-1"]["state"] = "STOPPED"
        tuner.deploy(MODEL, "runner-1")
        assert [call.json for call in server.calls if call.method == "PATCH"] == [{"state": "STARTED"}]
    assert api.made == 1


@pytest.mark.parametrize("late", [0, 2])
def test_a_create_call_whose_answer_is_lost(late: int) -> None:
    """The endpoint is looked for before another one is made, also where the list shows it late."""

    class Deaf(TogetherApi):
        hidden = 0

        def deploy(self, body: dict[str, Any]) -> Reply:
            super().deploy(body)
            self.hidden = late
            return Reply(fault="cut")

        def manage(self, call: Call, endpoint_id: str | None) -> Reply:
            if call.method == "GET" and endpoint_id is None and self.hidden:
                self.hidden -= 1
                return Reply({"object": "list", "data": []})
            return super().manage(call, endpoint_id)

    api = Deaf()
    with hosting(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        assert (api.made, len(api.deployments)) == (1, 1)
        tuner.undeploy("runner-1")
    assert api.deployments == {}


def test_two_of_one_name_are_both_deleted() -> None:
    """Whoever made the second one."""
    api = TogetherApi()
    with hosting(api) as (tuner, _):
        tuner.deploy(MODEL, "runner-1")
        api.deploy(_body("runner-1"))
        tuner.undeploy("runner-1")
    assert (api.made, api.deployments) == (2, {})


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_look_does_not_say_that_it_is_gone(kind: str) -> None:
    """The caller is told, or it is looked at again; the endpoint is billed until it is deleted."""
    api, spoiled = TogetherApi(), [SPOILED[kind]]
    with hosting(api) as (tuner, server):
        tuner.deploy(MODEL, "runner-1")
        answer = api.manage
        api.manage = lambda call, name: spoiled.pop() if name and spoiled else answer(call, name)  # type: ignore[method-assign]
        later = TogetherTuner(Together(model="m", base_url=f"{server.url}/v1"), lambda seconds: None)
        with suppress(RetryableError):
            later.undeploy("runner-1")
            assert api.deployments == {}
        later.undeploy("runner-1")
    assert (spoiled, api.deployments) == ([], {})


def test_why_it_was_not_made() -> None:
    """A create call that always fails ends with what the service said."""

    class Full(TogetherApi):
        def deploy(self, body: dict[str, Any]) -> Reply:
            return Reply({"error": {"message": "no capacity", "type": "x"}}, status=503)

    with hosting(Full()) as (tuner, _), pytest.raises(ProviderError, match="HTTP 503: no capacity"):
        tuner.deploy(MODEL, "runner-1")


def _body(name: str) -> dict[str, Any]:
    replicas = {"min_replicas": 1, "max_replicas": 1}
    rest = {"model": MODEL, "hardware": "h", "autoscaling": replicas, "inactive_timeout": 1}
    return {"display_name": name, **rest}


def test_an_endpoint_that_fails_says_so() -> None:
    """It is started once more, then given up; it can be deleted. So is one that never starts."""
    api = TogetherApi(starting=("PENDING", "ERROR"))
    with hosting(api) as (tuner, _):
        with pytest.raises(ProviderError, match="together: deployment runner-1 ended as ERROR"):
            tuner.deploy(MODEL, "runner-1")
        tuner.undeploy("runner-1")
    assert api.deployments == {}
    never = hosting(TogetherApi(starting=("PENDING",)), timeout_s=60)
    with never as (tuner, _), pytest.raises(ProviderError, match="longer than 60 s"):
        tuner.deploy(MODEL, "runner-1")


def test_a_refused_endpoint_stops() -> None:
    """No hardware or no right: the service's own words."""

    class Full(TogetherApi):
        def deploy(self, body: dict[str, Any]) -> Reply:
            return Reply({"error": {"message": "no such hardware", "type": "x"}}, status=403)

    with hosting(Full()) as (tuner, _), pytest.raises(FatalProviderError, match="no such hardware"):
        tuner.deploy(MODEL, "runner-1")


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"hardwear": "x"}, r"provider\.deployment\.hardwear: no such key; did you mean 'hardware'"),
        ({"minutes": 0}, r"provider\.deployment\.minutes=0: must be a number above 0"),
        ({"inactive_timeout": 0}, r"provider\.deployment\.inactive_timeout=0: must be a whole number"),
        ({"hardware": None}, r"provider\.deployment\.hardware=None: must be the id"),
        ({"availability_zone": 3}, r"provider\.deployment\.availability_zone=3: must be a text, or null"),
    ],
)
def test_terms_are_checked_before_a_job_is_paid(terms: dict[str, Any], reason: str) -> None:
    """A model that cannot be hosted need not be trained; an endpoint that never stops is refused."""
    provider = Together(model="m", deployment=terms)
    with pytest.raises(ConfigError, match=reason):
        TogetherTuner(provider).check_job(TuningJob("k", (("f", 1.0),)))


def test_hardware_is_looked_up() -> None:
    """A name that the service does not list is refused; where it tells no list, nothing is."""
    misspelt = hosting(TogetherApi(), hardware="1x_nvidia_h100_80gb")
    with misspelt as (tuner, _), pytest.raises(ConfigError, match="did you mean '1x_nvidia_h100_80gb_sxm'"):
        tuner.check_hosting()
    with hosting(TogetherApi(), hardware="2x_nvidia_h100_80gb_sxm") as (tuner, _):
        tuner.check_hosting()
    for reply in (Reply({}, status=404), Reply({"data": []}), Reply({"data": [{}]})):
        with serving(lambda call, reply=reply: reply) as server:
            provider = Together(model="m", base_url=server.url, deployment={"hardware": "new"})
            TogetherTuner(provider, lambda seconds: None).check_hosting()


def test_batches_do_not_reach_an_endpoint() -> None:
    """The batch API asks the shared models only; an endpoint is asked live."""
    assert not TogetherTuner(Together(model="m", batch=True)).hosted(MODEL, "runner-1").batch
    with pytest.raises(ConfigError, match=r"provider\.batch=true: together asks only its shared models"):
        Together(model="runner-1", stands_for=MODEL).batcher()
    assert Together(model="m").batcher().most_requests == 50_000
