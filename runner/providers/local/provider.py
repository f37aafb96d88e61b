"""The embedded model: llama.cpp in this process, no server and no key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.core.errors import ConfigError, ProviderError, suggest
from runner.core.provider import Provider, Tuner
from runner.core.types import Completion, Request, Sampling
from runner.providers import chat
from runner.providers.local import weights as local_weights
from runner.providers.local.llama import Engine, Settings, lease
from runner.providers.local.training_folder import Job, checkpoint_of, model_ids


@dataclass(kw_only=True)
class Local(Provider):
    """A GGUF model that answers in this process.

    ``model``            path of a GGUF file, a hub repository ``owner/name[@revision][:file.gguf]``, or
                         ``smollm2-135m-instruct``: the weights package, else the same file from the hub
    ``context_length``   tokens of prompt and answer together; llama.cpp rounds up to a multiple of 256
    ``max_concurrency``  requests evaluated at once; above 1 near ties may fall differently from run to run
    ``threads``          null: the cores that this process may use, at most 16
    ``gpu_layers``       layers on the GPU; null: all, where llama.cpp was built for one
    ``models_dir``       where trainings and their checkpoints are kept; ``model`` may also name one of these
    """

    model: str = local_weights.SMOLLM2
    context_length: int = 2048
    max_concurrency: int = 1
    threads: int | None = None
    gpu_layers: int | None = None
    models_dir: str = "outputs/models"
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    name = "local"
    stored = True

    def __post_init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._engine: Engine | None = None

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` if the weights are missing or a number is out of range. No loading."""
        for key, least in (("context_length", 16), ("max_concurrency", 1), ("threads", 1), ("gpu_layers", 0)):
            _check_number(key, getattr(self, key), least, optional=key in ("threads", "gpu_layers"))
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError(f"provider.model={self.model!r}: the name or path of a model is required")
        if self.tuned():
            self._files()
        else:
            local_weights.check(self.model)

    def identity(self) -> Mapping[str, Any]:
        """The weights' digest, not their name, so that the same file elsewhere is the same model."""
        settings = self.settings()
        adapter = {"adapter": settings.adapter_sha256} if settings.adapter_sha256 else {}
        return {
            "provider": self.name,
            "weights": settings.weights_sha256,
            **adapter,
            "context_length": self.context_length,
        }

    async def complete(self, request: Request) -> Completion:
        """Answer one request. Cancelling stops the generation at its next token."""
        stop = threading.Event()
        self._pool = self._pool or ThreadPoolExecutor(self.max_concurrency, thread_name_prefix="local")
        try:
            chunks = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: self.engine().chat(body(request), stop.is_set)
            )
        finally:
            stop.set()
        return completion(chunks, self.model)

    async def aclose(self) -> None:
        """Let the threads and the model go; it stays loaded for a while, for the next run in this process."""
        self._engine = None
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text; loads the model."""
        return len(self.engine().tokens(text))

    def engine(self) -> Engine:
        """The loaded model, shared in this process with whoever has the same settings. Blocks."""
        self._engine = self._engine or lease(self.settings())
        return self._engine

    def settings(self) -> Settings:
        """What has to be loaded; finds (and downloads) the weights."""
        weights, adapter = self._files()
        return Settings(
            weights=weights,
            weights_sha256=local_weights.sha256(weights),
            adapter=adapter,
            adapter_sha256=local_weights.sha256(adapter) if adapter else None,
            context_length=self.context_length,
            slots=self.max_concurrency,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
        )

    def tuned(self) -> bool:
        """Whether ``model`` names a checkpoint of a training."""
        return checkpoint_of(self.model, Path(self.models_dir)) is not None

    def tuner(self) -> Tuner:
        """Fine-tuning on this machine."""
        from runner.providers.local.tuning import LocalTuner

        return LocalTuner(self)

    def _files(self) -> tuple[Path, Path | None]:
        """The model's weights and its adapter."""
        folder = checkpoint_of(self.model, Path(self.models_dir))
        if folder is None:
            return local_weights.locate(self.model), None
        if not (folder / "checkpoint.json").exists():
            there = suggest(self.model, model_ids(Path(self.models_dir)))
            raise ConfigError(f"provider.model={self.model}: no such checkpoint in {self.models_dir}{there}")
        if (folder / "model.gguf").exists():
            return folder / "model.gguf", None
        recipe = Job(folder.parent).recipe()
        base = local_weights.locate(recipe.model)
        if local_weights.sha256(base) != recipe.weights_sha256:
            raise ConfigError(
                f"provider.model={self.model}: was trained on other weights than {base} has now"
            )
        return base, folder / "adapter.gguf"


def body(request: Request) -> dict[str, Any]:
    """A request as the body of a chat completion; what is None is left out."""
    sampling = request.sampling
    fields = {
        "messages": list(request.messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) if sampling.stop else None,
        "logprobs": None if sampling.logprobs is None else True,
        "top_logprobs": sampling.logprobs,
        "response_format": chat.response_format(sampling),
    }
    return {name: value for name, value in fields.items() if value is not None}


def completion(chunks: list[dict[str, Any]], model: str) -> Completion:
    """The completion that streamed chunks make up. Raises :class:`ProviderError` for an error chunk."""
    text: list[str] = []
    tokens: list[Any] = []
    answer: dict[str, Any] = {"model": model}
    choice: dict[str, Any] = {}
    for chunk in chunks:
        if "error" in chunk:
            raise _failure(chunk["error"])
        answer["usage"] = chunk.get("usage")
        for part in chunk.get("choices", []):
            text.append(part["delta"].get("content") or "")
            tokens += (part.get("logprobs") or {}).get("content") or []
            choice["finish_reason"] = part.get("finish_reason")
    choice["message"] = {"content": "".join(text)}
    choice["logprobs"] = {"content": tokens} if tokens else None
    return chat.completion(answer | {"choices": [choice]}, "local")


def _failure(error: Mapping[str, Any]) -> ProviderError:
    if error.get("type") == "exceed_context_size_error":
        return ProviderError(
            f"local: the prompt has {error['n_prompt_tokens']} tokens, more than "
            f"provider.context_length={error['n_ctx']} holds"
        )
    return ProviderError(f"local: {error.get('message', error)}")


def _check_number(key: str, value: Any, least: int, *, optional: bool) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        null = " or null" if optional else ""
        raise ConfigError(f"provider.{key}={value!r}: must be a whole number of at least {least}{null}")
