"""Services that no provider of ours speaks to, through the library any-llm."""

from runner.providers.any_llm.provider import AnyLLM

__all__ = ["AnyLLM"]
