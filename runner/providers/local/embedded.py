"""The embedded model as it answers: llama.cpp in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.core.errors import ConfigError, ProviderError, suggest
from runner.core.identity import identify_more
from runner.core.provider import THINKING_TAGS, Provider, check_number
from runner.core.types import Completion, Request, Sampling
from runner.providers.chat import build_response_format
from runner.providers.completion import parse_completion
from runner.providers.local import weights as local_weights
from runner.providers.local.llama import LoadedModel, Settings, find_gpus, load_model
from runner.providers.local.training_folder import TrainingFolder, find_checkpoint, list_model_ids


@dataclass(kw_only=True)
class Embedded(Provider):
    """All of :class:`runner.providers.local.Local` but its training."""

    model: str = local_weights.SMOLLM2
    context_length: int = 2048
    max_concurrency: int = 1
    threads: int | None = None
    gpu_layers: int | None = None
    models_dir: str = "outputs/models"
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    thinking_tags: Sequence[str] = field(default_factory=lambda: list(THINKING_TAGS))

    name = "local"

    def __post_init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._loaded: LoadedModel | None = None

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` if the weights are missing or a number is out of range."""
        super().check(sampling, columns)
        check_number("context_length", self.context_length, least=16)
        check_number("threads", self.threads, least=1, optional=True)
        check_number("gpu_layers", self.gpu_layers, least=0, optional=True)
        if self.gpu_layers and not find_gpus():
            raise ConfigError(
                f"provider.gpu_layers={self.gpu_layers}: llama.cpp finds no GPU here. xllamacpp from PyPI is "
                "built for CPUs (docs/providers.md names others); null takes a GPU where there is one"
            )
        if self.is_tuned():
            self._find_files()
        else:
            local_weights.check(self.model)

    def lacking(self) -> tuple[str, ...]:
        """Whether and how a model here thinks is its own matter."""
        return ("reasoning_effort", "verbosity", "thinking_tokens")

    def identity(self) -> Mapping[str, Any]:
        """The weights' digest, not their name, so that the same file elsewhere is the same model.

        Answers of a GPU are kept apart from those of a CPU: most of them differ somewhere.
        """
        settings = self.find_settings()
        adapter = {"adapter": settings.adapter_sha256} if settings.adapter_sha256 else {}
        on_gpu = self.gpu_layers != 0 and find_gpus()
        return {
            "provider": self.name,
            "weights": settings.weights_sha256,
            **adapter,
            "context_length": self.context_length,
            **({"gpu_layers": self.gpu_layers or "all"} if on_gpu else {}),
        } | identify_more(self)

    async def complete(self, request: Request) -> Completion:
        """Answer one request. Cancelling stops the generation at its next token."""
        stop = threading.Event()
        self._pool = self._pool or ThreadPoolExecutor(self.max_concurrency, thread_name_prefix="local")
        try:
            chunks = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: self.load().chat(build_body(request), stop.is_set)
            )
        finally:
            stop.set()
        return name_full(join_chunks(chunks, self.model), request.sampling.max_tokens)

    async def aclose(self) -> None:
        """Let the threads and the model go; the model stays loaded while it is among the last few."""
        self._loaded = None
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text; loads the model."""
        return len(self.load().tokenize(text))

    def load(self) -> LoadedModel:
        """The loaded model, shared in this process by all with the same settings. Blocks while it loads."""
        self._loaded = self._loaded or load_model(self.find_settings())
        return self._loaded

    def find_settings(self) -> Settings:
        """What has to be loaded; finds the weights, and downloads them where they are on the hub."""
        weights, adapter = self._find_files()
        return Settings(
            weights=weights,
            weights_sha256=local_weights.hash_file(weights),
            adapter=adapter,
            adapter_sha256=local_weights.hash_file(adapter) if adapter else None,
            context_length=self.context_length,
            slots=self.max_concurrency,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
        )

    def is_tuned(self) -> bool:
        """Whether ``model`` names a checkpoint of a training."""
        return find_checkpoint(self.model, Path(self.models_dir)) is not None

    def _find_files(self) -> tuple[Path, Path | None]:
        """The model's weights and its adapter."""
        folder = find_checkpoint(self.model, Path(self.models_dir))
        if folder is None:
            return local_weights.locate(self.model), None
        if not (folder / "checkpoint.json").exists():
            there = suggest(self.model, list_model_ids(Path(self.models_dir)))
            raise ConfigError(f"provider.model={self.model}: no such checkpoint in {self.models_dir}{there}")
        if (folder / "model.gguf").exists():
            return folder / "model.gguf", None
        recipe = TrainingFolder(folder.parent).read_recipe()
        base = local_weights.locate(recipe.model)
        if local_weights.hash_file(base) != recipe.weights_sha256:
            raise ConfigError(
                f"provider.model={self.model}: was trained on other weights than {base} now has"
            )
        return base, folder / "adapter.gguf"


def build_body(request: Request) -> dict[str, Any]:
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
        "response_format": build_response_format(sampling),
    }
    return {name: value for name, value in fields.items() if value is not None}


def join_chunks(chunks: list[dict[str, Any]], model: str) -> Completion:
    """The completion in streamed chunks. Raises :class:`ProviderError` for an error chunk."""
    text: list[str] = []
    thoughts: list[str] = []
    tokens: list[Any] = []
    answer: dict[str, Any] = {"model": model}
    choice: dict[str, Any] = {}
    for chunk in chunks:
        if "error" in chunk:
            raise _to_error(chunk["error"])
        answer["usage"] = chunk.get("usage")
        for part in chunk.get("choices", []):
            text.append(part["delta"].get("content") or "")
            thoughts.append(part["delta"].get("reasoning_content") or "")
            tokens += (part.get("logprobs") or {}).get("content") or []
            choice["finish_reason"] = part.get("finish_reason")
    choice["message"] = {"content": "".join(text), "reasoning_content": "".join(thoughts)}
    choice["logprobs"] = {"content": tokens} if tokens else None
    return parse_completion(answer | {"choices": [choice]}, "local")


def name_full(completion: Completion, most: int | None) -> Completion:
    """Say ``model_length`` where the context ended the answer, which llama.cpp calls ``length``, too.

    The answer is then shorter than ``most`` allows.
    """
    written = completion.output_tokens
    if completion.finish_reason != "length" or written is None or (most is not None and written >= most):
        return completion
    return replace(completion, finish_reason="model_length")


def _to_error(error: Mapping[str, Any]) -> ProviderError:
    if error.get("type") == "exceed_context_size_error":
        return ProviderError(
            f"local: the prompt has {error['n_prompt_tokens']} tokens, more than "
            f"provider.context_length={error['n_ctx']} holds; raise it, or shorten the prompt"
        )
    return ProviderError(f"local: {error.get('message', error)}")
