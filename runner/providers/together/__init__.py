"""Together: open models by the token, fine-tuned ones on an endpoint of one's own by the minute."""

from runner.providers.together.provider import Together

__all__ = ["Together"]
