"""Azure OpenAI: the OpenAI dialect at a resource of one's own, with hosting for fine-tuned models."""

from runner.providers.azure.provider import Azure

__all__ = ["Azure"]
