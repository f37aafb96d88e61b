"""What becomes of faults, of connections, and of the key."""

import asyncio
import ssl
from typing import Any

import aiohttp
import pytest
from asking import KEY, MESSAGES, answered, ask
from servers import Call, Reply, completion, serving

from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.types import Request
from runner.providers.azure import Azure
from runner.providers.chat import Chat
from runner.providers.http.certificates import make_ssl_context
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible

pytestmark = pytest.mark.usefixtures("keys")


@pytest.mark.parametrize("body", [b"", b"{", b"<html>"])
def test_garbage_is_asked_again(body: bytes) -> None:
    """What is not JSON came from a fault on the way; the message shows the start of it."""
    with pytest.raises(RetryableError, match=f"not JSON: {body.decode() or 'nothing'}"):
        answered(body)


def test_an_upstream_error_inside_a_success() -> None:
    """Gateways report errors with status 200; the code inside counts."""
    with pytest.raises(RetryableError) as caught:
        answered({"error": {"code": 429, "message": "slow down"}})
    assert caught.value.limited


@pytest.mark.parametrize("fault", ["cut", "truncate"])
def test_a_cut_connection_is_asked_again(fault: str) -> None:
    """No answer, or half of one."""
    with pytest.raises(RetryableError, match="connection failed"):
        answered(completion(), fault=fault)


def test_a_slow_answer_times_out() -> None:
    """After timeout_s the request may be repeated."""
    with pytest.raises(RetryableError, match=r"no answer within 0\.5 s"):
        answered(completion(), delay_s=0.8)


def test_a_redirect_is_not_followed() -> None:
    """It would carry the key to another host."""
    with pytest.raises(FatalProviderError, match="asked at"):
        answered({}, status=307, headers={"Location": "http://127.0.0.1:9/"})


def test_limits_and_faults_carry_what_the_server_asked() -> None:
    """A 429 with Retry-After is a limit with its wait."""
    with pytest.raises(RetryableError) as caught:
        answered({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "7"})
    assert (caught.value.retry_after, caught.value.limited) == (7.0, True)


def test_a_server_that_was_never_reached_stops_the_run() -> None:
    """A mistyped address fails the same way for every row."""
    with serving(lambda call: Reply()) as server:
        closed = server.url
    with pytest.raises(FatalProviderError, match=r"cannot reach http.*provider\.base_url"):
        ask(OpenAICompatible(model="m", base_url=closed))


def test_a_server_that_goes_away_is_tried_again() -> None:
    """Once it has answered, a refused connection may be a restart."""
    provider = OpenAICompatible(model="m", base_url="")
    with serving(lambda call: Reply(completion())) as server:
        provider.base_url = server.url
        ask(provider)
    with pytest.raises(RetryableError, match="connection failed"):
        ask(provider)


def leaves(kind: type) -> set[type]:
    return {kind}.union(*(leaves(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(leaves(aiohttp.ClientError), key=lambda kind: kind.__name__))
def test_every_client_error_is_ours(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever aiohttp raises while a request is under way is a ProviderError."""
    error = kind.__new__(kind)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(kind, "__str__", lambda self: "reason")
    monkeypatch.setattr(aiohttp.ClientSession, "post", fail)
    with pytest.raises(ProviderError, match="reason"):
        ask(OpenAICompatible(model="m", base_url="http://127.0.0.1:9"))


def test_a_provider_opens_again_in_a_new_loop() -> None:
    """Several asyncio.run one after another, each with its own connections."""
    with serving(lambda call: Reply(completion())) as server:
        provider = OpenAI(model="m", base_url=server.url)
        assert [ask(provider).text for _ in range(3)] == ["1", "1", "1"]
    assert len({call.connection for call in server.calls}) == 3


def test_connections_are_kept_and_counted() -> None:
    """Forty requests, four at a time, go over four connections."""

    async def many(provider: Chat) -> None:
        gate = asyncio.Semaphore(4)

        async def one() -> None:
            async with gate:
                await provider.complete(Request(MESSAGES))

        await asyncio.gather(*(one() for _ in range(40)))
        await provider.aclose()

    with serving(lambda call: Reply(completion())) as server:
        asyncio.run(many(OpenAI(model="m", base_url=server.url, max_concurrency=4)))
    assert len({call.connection for call in server.calls}) <= 4


@pytest.mark.parametrize("kind", [OpenAI, OpenAICompatible, Azure, Mistral])
def test_the_key_is_nowhere_but_in_the_request(kind: type[Chat]) -> None:
    """Not in repr, identity, attributes of the provider, or the error of a server that quotes it."""

    def refuse(call: Call) -> Reply:
        return Reply({"error": {"message": f"bad key {KEY}"}}, status=401)

    with serving(refuse) as server:
        provider = kind(model="m", base_url=server.url, api_key_env="OPENAI_API_KEY")
        with pytest.raises(FatalProviderError) as caught:
            ask(provider)
    assert KEY in str(server.last.headers)
    shown = (repr(provider), repr(vars(provider)), str(provider.identity()), repr(caught.value))
    assert all(KEY not in text for text in shown)


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is honoured, and the request names the real host."""
    with serving(lambda call: Reply(completion())) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        ask(OpenAICompatible(model="m", base_url="http://model.invalid/v1"))
    assert proxy.last.headers["Host"] == "model.invalid"


def test_https_trusts_what_the_system_trusts() -> None:
    """A connection over TLS verifies the server's name and certificate."""
    context = make_ssl_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
