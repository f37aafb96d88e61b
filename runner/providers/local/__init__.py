"""The embedded model: llama.cpp answers, PyTorch trains, both on this machine."""

from runner.providers.local.provider import Local

__all__ = ["Local"]
