"""How a chat is asked, and what it and the whole run would cost."""

from __future__ import annotations

from collections.abc import Sequence

from runner.cli.show.values import clean, show_value
from runner.core.errors import count_of
from runner.core.provider import REPLAY
from runner.core.types import Message, format_dollars
from runner.experiment.estimate import Point
from runner.experiment.plan import Plan
from runner.experiment.workload import Work
from runner.money.forecast import estimate_tokens
from runner.money.price import Price
from runner.pipeline.answer import Responder


def describe_call(responder: Responder, messages: Sequence[Message]) -> list[tuple[str, str]]:
    """How a chat would be asked, and what that costs."""
    sampling, provider = responder.sampling, responder.provider
    settings = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) if sampling.stop else None,
        "logprobs": sampling.logprobs,
        "response_format": None if sampling.response_format == "text" else sampling.response_format,
    }
    asked = [f"{name}={show_value(value)}" for name, value in settings.items() if value is not None]
    tokens, most = estimate_tokens(messages, 0, provider.count_tokens), sampling.max_tokens
    price = responder.book.find_provider_price(provider)
    upper = f", at most {most:,} written" if most else ", no limit of what is written (max_tokens)"
    return [
        ("asked of", clean(" · ".join([provider.name, str(provider.model), *asked]))),
        ("tokens", f"about {tokens:,.0f} read{upper}; {_describe_row_price(price, tokens, most)}"),
    ]


def _describe_row_price(price: Price | None, tokens: float, most: int | None) -> str:
    if price is None:
        return "no price is known"
    if not (price.input or price.output):
        return "free"
    low = price.compute_uncached_cost(tokens, 1)
    return f"${low:.6f}" + (f" to ${price.bound_cost(tokens, most):.6f}" if most else " or more")


def describe_run(point: Point, plan: Plan) -> list[tuple[str, str]]:
    """The calls, tokens and dollars of a run."""
    if plan.responder.provider.name == REPLAY:
        lines = [("recorded", f"{count_of(point.rows, 'answer')}; nothing is asked")]
    else:
        lines = [(clean(str(plan.responder.provider.model)), _describe_work(point.answers))]
    lines += [(clean(judge), _describe_work(work)) for judge, work in point.judgments.items()]
    if point.trained:
        price = _describe_usd(point.training_usd, point.training_usd)
        lines.append(("training", f"{point.trained:,.0f} tokens; {price}"))
    low, high = point.usd
    if point.judgments or point.trained:
        lines.append(("together", _describe_usd(low, high)))
    return [*lines, *(("needs, too", clean(text)) for text in point.missing)]


def _describe_work(work: Work) -> str:
    calls = count_of(work.calls, "call")
    calls += f" ({count_of(work.stored, 'answer')} in the ledger)" if work.stored else ""
    if not work.calls:
        return calls
    least, most = work.written
    written = f"{least:,.0f} to {'?' if most is None else f'{most:,.0f}'} written"
    return f"{calls}; about {work.read[0]:,.0f} tokens read, {written}; {_describe_usd(*work.usd)}"


def _describe_usd(low: float | None, high: float | None) -> str:
    if low is None:
        return "no price is known"
    if high == 0:
        return "free"
    if high is None:
        return f"${format_dollars(low)} or more"
    return f"${format_dollars(low)}" + (f" to ${format_dollars(high)}" if high > low else "")
