"""Answers that are not successes become the error that the engine acts on."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.providers.http.failures import Service, decode, make_error, parse_retry_after, suggest_local

KEY = "sk-proj-abcdefghijklmnop"
SERVICE = Service("openai", "https://api.openai.com/v1", "m", "OPENAI_API_KEY", (KEY,))


def error(code: str | None = None, message: str = "no", **fields: object) -> dict[str, object]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code, **fields}}


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529])
def test_faults_are_retryable(status: int) -> None:
    """Timeouts, conflicts, limits and every server fault may be tried again; only 429 is a limit."""
    found = make_error(SERVICE, status, {"retry-after": "3"}, error())
    assert isinstance(found, RetryableError)
    assert (found.retry_after, found.limited) == (3.0, status == 429)


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404, 405, 407, 410])
def test_what_no_row_can_pass_is_fatal(status: int) -> None:
    """A wrong key, address or model stops the run."""
    assert isinstance(make_error(SERVICE, status, {}, error()), FatalProviderError)


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [
        (403, None, True),
        (403, "content_policy", True),
        (403, "account_deactivated", False),
        (401, None, False),
    ],
)
def test_a_refusal_may_concern_one_row(status: int, code: str | None, refused: bool) -> None:
    """A 403 is marked, unless its code says that no row can pass."""
    found = make_error(SERVICE, status, {}, error(code))
    assert isinstance(found, FatalProviderError)
    assert found.refused is refused


@given(text=st.text(max_size=30) | st.from_regex(r"[-+.\dA-Za-z,: ]{1,30}", fullmatch=True))
@settings(max_examples=150, deadline=None, database=None)
def test_any_retry_after(text: str) -> None:
    """Seconds of at least 0, or none."""
    for name in ("retry-after", "retry-after-ms"):
        found = parse_retry_after({name: text})
        assert found is None or 0 <= found < float("inf")


def test_half_a_character_in_a_message_is_replaced() -> None:
    """So that the message can be written anywhere."""
    assert str(make_error(SERVICE, 400, {}, error(message="\ud800 no"))).encode()


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "insufficient_quota"), (429, "billing_hard_limit_reached"), (400, "unsupported_value")],
)
def test_codes_make_a_status_fatal(status: int, code: str) -> None:
    """No credit comes as 429 and an impossible parameter as 400, and neither passes later."""
    assert isinstance(make_error(SERVICE, status, {}, error(code)), FatalProviderError)


def test_mistral_names_the_wrong_model_in_the_type() -> None:
    """Mistral's flat error body is understood: its code is a number, its type the reason."""
    body = {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}
    found = make_error(SERVICE, 400, {}, body)
    assert isinstance(found, FatalProviderError)
    assert "Invalid model: x" in str(found)


@pytest.mark.parametrize("code", ["context_length_exceeded", "content_filter", None])
def test_a_refused_row_concerns_only_itself(code: str | None) -> None:
    """Other 400s fill the row's error and nothing else."""
    found = make_error(SERVICE, 400, {}, error(code, "too long"))
    assert type(found) is ProviderError
    assert str(found) == "openai: HTTP 400: too long"


def test_a_request_larger_than_a_minutes_tokens_is_not_repeated() -> None:
    """That 429 cannot pass however long one waits."""
    body = error(
        "rate_limit_exceeded", "Request too large for m on tokens per min (TPM): Limit 1, Requested 2"
    )
    assert type(make_error(SERVICE, 429, {}, body)) is ProviderError


def test_messages_help() -> None:
    """A 401 names the variable, a 404 model and address, an unsupported parameter its config key."""
    assert "OPENAI_API_KEY" in str(make_error(SERVICE, 401, {}, error()))
    assert "provider.model=m, asked at https://api.openai.com/v1" in str(
        make_error(SERVICE, 404, {}, error())
    )
    refused = error("unsupported_parameter", param="max_completion_tokens")
    assert "hyperparameter.max_tokens=null" in str(make_error(SERVICE, 400, {}, refused))


@pytest.mark.parametrize("quoted", [KEY, "sk-proj-********************mnop", f"Bearer {KEY}"])
def test_no_message_quotes_the_key(quoted: str) -> None:
    """Servers quote keys whole or half masked; neither survives."""
    text = str(make_error(SERVICE, 401, {}, error(message=f"Incorrect API key provided: {quoted}.")))
    assert "mnop" not in text
    assert "***" in text


def test_a_long_error_page_is_cut() -> None:
    """An HTML page in place of JSON does not fill the error column."""
    assert len(str(make_error(SERVICE, 502, {}, "<html>" + "x" * 5000))) < 600


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, '"msg": "bad"'),
        ({"error": "model not found"}, "model not found"),
        ({"message": "Unauthorized"}, "Unauthorized"),
        ("plain", "plain"),
        ("", "no reason given"),
        ([1], "[1]"),
    ],
)
def test_every_shape_of_error_body_gives_its_text(body: object, text: str) -> None:
    """FastAPI, Ollama, Mistral and bare text."""
    assert text in str(make_error(SERVICE, 422, {}, body))


def test_decoding_an_error_body_never_fails() -> None:
    """JSON if it is, else text, whatever the bytes."""
    assert decode(b'{"a": 1}') == {"a": 1}
    assert decode(b"\xffoops") == "�oops"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and HTTP dates; nonsense and negative spans count as not said."""
    assert parse_retry_after(headers, datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (422, "Model not available for this type of fine-tuning", "hosted fine-tuning is closing"),
        (403, "Fine-tuning is no longer available for new organizations", "hosted fine-tuning is closing"),
        (403, "Your organization is not allowed to create fine-tuning jobs", "hosted fine-tuning is closing"),
        (400, "The fine-tuning API has been deprecated", "hosted fine-tuning is closing"),
        (410, "Finetuning was discontinued.", "hosted fine-tuning is closing"),
        (404, "Not Found", "no fine-tuning at this address"),
        (405, "Method Not Allowed", "no fine-tuning at this address"),
        (422, "hyperparameters.learning_rate must be at most 0.001", ""),
        (422, "training_files: file-1 is not a fine-tuning file", ""),
        (422, "The fine-tuning job's suffix is not allowed: 40 characters at most", ""),
        (404, "The model 'gpt-99' does not exist", ""),
        (403, "You have insufficient permissions for this operation", ""),
        (410, "The file file-1 was deleted", ""),
        (400, "n_epochs is not supported for this model", ""),
    ],
)
def test_closing(status: int, message: str, said: str) -> None:
    """Only where the service says so is fine-tuning said to end; else its own words stand alone."""
    with pytest.raises(ProviderError) as caught, suggest_local():
        raise make_error(SERVICE, status, {}, {"detail": message})
    assert message in str(caught.value)
    assert caught.value.status == status
    assert ("provider=local trains here" in str(caught.value)) == bool(said)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "key"),
    [
        (400, error(None, "Unsupported value", param="temperature"), "hyperparameter.temperature=null"),
        (
            400,
            error("unsupported_value", "x", param="reasoning_effort"),
            "hyperparameter.reasoning_effort=null",
        ),
        (400, error(None, "temperature: Extra inputs are not permitted"), "hyperparameter.temperature=null"),
        (400, error(None, "`top_p` cannot be set with this model."), "hyperparameter.top_p=null"),
        (400, error(None, "thinking.type: disabled is not supported"), "provider.thinking=null with"),
        (400, error(None, "output_config.effort: no such level"), "hyperparameter.reasoning_effort=null"),
        (422, {"detail": [{"loc": ["body", "random_seed"], "msg": "extra"}]}, "hyperparameter.seed=null"),
    ],
)
def test_a_refused_parameter_stops_a_run_without_answers(status: int, body: object, key: str) -> None:
    """Whatever words a service has for it; the message names the key to set to null."""
    found = make_error(SERVICE, status, {}, body)
    assert isinstance(found, FatalProviderError)
    assert f"({key}" in str(found)
    assert "leaves it out)" in str(found)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens", 64000),
        ("max_tokens is too large: 100000. This model supports at most 16,384 completion tokens.", 16384),
        ("'max_tokens': integer above maximum value. Expected a value <= 4096, but got 9000.", 4096),
        ("max_tokens: must be >= 1", None),
    ],
)
def test_a_token_limit_that_is_too_large(message: str, limit: int | None) -> None:
    """Where the service names the largest one, the message does; some services need a number."""
    body = {"error": {"message": message, "param": "max_tokens"}}
    found = str(make_error(SERVICE, 400, {}, body))
    advice = f"set hyperparameter.max_tokens to at most {limit}" if limit else "max_tokens=null leaves it out"
    assert found.endswith(f"{advice})")


@pytest.mark.parametrize(
    "message",
    [
        "'max_tokens' is too large: 900. This model's maximum context length is 4096 tokens.",
        "the text of this row has a temperature in it",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ],
)
def test_a_row_that_is_too_long_is_its_own(message: str) -> None:
    """Though the message may name a parameter."""
    assert type(make_error(SERVICE, 400, {}, error(None, message))) is ProviderError
