"""OpenAI, and every server that speaks its chat-completions dialect."""

from runner.providers.openai.provider import OpenAI, OpenAICompatible

__all__ = ["OpenAI", "OpenAICompatible"]
