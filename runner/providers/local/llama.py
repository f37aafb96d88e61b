"""llama.cpp in this process: one loaded model, shared by all providers with the same settings."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from runner.core.errors import FatalProviderError

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

KEPT = 2  # a sweep over checkpoints loads many models, a judge beside a model needs two
MAX_BATCH = 2048
MAX_THREADS = 16


@dataclass(frozen=True)
class Settings:
    """What a loaded model is made of; equal settings share one. ``context_length`` is tokens per slot."""

    weights: Path
    weights_sha256: str
    adapter: Path | None = None
    adapter_sha256: str | None = None
    context_length: int = 2048
    slots: int = 1
    threads: int | None = None
    gpu_layers: int | None = None


def load_model(settings: Settings) -> LoadedModel:
    """The model with these settings, loaded now if it is not there. Blocks while it loads.

    It stays loaded as long as somebody holds it, and beyond that while it is among the last few.
    """
    with _lock:
        model = _loaded.get(settings) or LoadedModel(settings)
        _loaded[settings] = _recent[settings] = model
        _recent.move_to_end(settings)
        while len(_recent) > KEPT:
            _recent.popitem(last=False)
        return model


@cache
def find_gpus() -> list[str]:
    """The GPUs that this build of llama.cpp can use, by name."""
    runtime = _import_runtime()
    kinds = runtime.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return [str(device["description"]) for device in runtime.get_device_info() if device["type"] in gpus]


class LoadedModel:
    """A model in memory. With one slot an answer depends on its request alone, bit by bit.

    Three things make it so. Without flash attention the CPU kernels give a token the same numbers however
    many tokens are evaluated with it, as long as they are at least two; so a prompt is not split into
    batches (up to ``MAX_BATCH`` tokens), and the cached prefix of the request before is used unless that
    leaves a single token, or reaches into generated ones. On a GPU the numbers depend on how many tokens are
    evaluated together, so there no prefix is used. With several slots the tokens of other requests share a
    batch, and near ties may fall differently from run to run.
    """

    def __init__(self, settings: Settings) -> None:
        self._key = secrets.token_hex(16)
        self._gpus = [] if settings.gpu_layers == 0 else find_gpus()
        self._server = _start_server(settings, self._key)
        if self._gpus:
            log.info("llama.cpp answers on %s", ", ".join(self._gpus))
        self._turns = threading.BoundedSemaphore(settings.slots)
        self._ordered = settings.slots == 1
        self._last: list[Any] = []

    def chat(self, body: Mapping[str, Any], stopped: Callable[[], bool]) -> list[dict[str, Any]]:
        """The chunks of a streamed chat completion, the last one with the usage, or an ``error`` chunk.

        Blocks; ends early once ``stopped`` returns true, which is asked before the answer and per token.
        """
        chunks: list[dict[str, Any]] = []

        def receive(chunk: dict[str, Any]) -> bool:
            chunks.append(chunk)
            return stopped()

        with self._turns:
            if not stopped():
                self._server.handle_chat_completions(self._add_streaming(body), receive)
        return chunks

    def tokenize(self, text: str, *, begins: bool = False) -> list[int]:
        """A text as tokens, special ones read as such; ``begins`` adds the token that begins a prompt."""
        answer = self._post("/tokenize", {"content": text, "parse_special": True, "add_special": begins})
        return [int(token) for token in answer["tokens"]]

    def apply_chat_template(self, messages: list[Any]) -> str:
        """What the model sees of these messages, with the header of the next answer."""
        return str(self._post("/apply-template", {"messages": messages})["prompt"])

    def _add_streaming(self, body: Mapping[str, Any]) -> dict[str, Any]:
        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        if self._ordered:
            messages = list(body["messages"])
            longer = bool(self._last) and messages[: len(self._last)] == self._last
            streamed["cache_prompt"] = not longer and not self._gpus
            self._last = messages
        return streamed

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._server.listening_address}{path}"
        answer: dict[str, Any] = self._client.post(url, json=body).raise_for_status().json()
        return answer

    @cached_property
    def _client(self) -> httpx2.Client:
        import httpx2  # 0.1 s, for the few who count tokens

        return httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"},
            limits=httpx2.Limits(max_keepalive_connections=0),  # llama.cpp ends idle ones, at any moment
            timeout=60.0,
            trust_env=False,  # no proxy leads to this process
        )


def _import_runtime() -> Any:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve every other process
    import xllamacpp

    return xllamacpp


def _start_server(settings: Settings, key: str) -> Any:
    try:
        return _import_runtime().Server(make_params(settings, key))
    except (RuntimeError, ValueError) as error:
        what = (
            f"{settings.weights} with the adapter {settings.adapter}"
            if settings.adapter
            else settings.weights
        )
        raise FatalProviderError(
            f"llama.cpp cannot load {what}: a damaged file, a kind of model that it does not know, "
            f"or not enough memory for {settings.slots} x {settings.context_length} tokens"
        ) from error


def make_params(settings: Settings, key: str) -> Any:
    """The settings in llama.cpp's own words."""
    xllamacpp = _import_runtime()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.weights)
    params.n_parallel = settings.slots
    params.n_ctx = settings.context_length * settings.slots
    params.n_batch = params.n_ubatch = min(settings.context_length, MAX_BATCH)
    params.kv_unified = False
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads or _count_threads()
    params.n_gpu_layers = -1 if settings.gpu_layers is None else settings.gpu_layers
    if settings.gpu_layers == 0:  # else a GPU still multiplies the matrices of prompts of 32 tokens and more
        params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE
        params.main_gpu = -1
    params.fit_params = False
    params.cache_ram_mib = 0
    params.warmup = False
    params.ui = False
    params.verbosity = -1
    params.prefill_assistant = False  # so that a chat that ends with an answer is shown whole
    params.api_keys = [key]  # llama.cpp listens on the loopback interface; nobody else is answered
    if settings.adapter:
        params.lora_adapters = [_describe_adapter(xllamacpp, settings.adapter)]
    return params


def _describe_adapter(xllamacpp: Any, path: Path) -> Any:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 1.0
    return adapter


def _count_threads() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MAX_THREADS)


_lock = threading.Lock()
_loaded: WeakValueDictionary[Settings, LoadedModel] = WeakValueDictionary()
_recent: OrderedDict[Settings, LoadedModel] = OrderedDict()
