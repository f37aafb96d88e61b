"""Trained weights as GGUF files that llama.cpp serves (needs the extra ``train``).

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from runner.core.errors import ConfigError

ROTATED = {"llama"}
"""Architectures whose query and key rows llama.cpp keeps in another order than transformers."""
ARCHITECTURES = ROTATED | {"qwen2", "qwen3"}
_COPIED_APART = {"general.architecture", "general.file_type", "general.quantization_version"}


class BaseFile:
    """The base model's GGUF file: its architecture, its metadata, the names of its tensors."""

    def __init__(self, path: Path) -> None:
        self._reader = gguf.GGUFReader(path)
        self.architecture = str(self._read_field("general.architecture"))
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(sorted(ARCHITECTURES))
            raise ConfigError(f"{path}: models of kind {self.architecture!r} are not trained here ({known})")
        self._blocks = int(self._read_field(f"{self.architecture}.block_count"))
        self._heads = int(self._read_field(f"{self.architecture}.attention.head_count"))
        self._kv_heads = int(self._read_field(f"{self.architecture}.attention.head_count_kv"))
        kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[self.architecture]
        self._names = gguf.get_tensor_name_map(kind, self._blocks)

    @contextmanager
    def share(self) -> Iterator[None]:
        """Within the block whoever opens the file gets this reader: reading takes seconds each time."""
        read = gguf.GGUFReader
        gguf.GGUFReader = lambda path: self._reader
        try:
            yield
        finally:
            gguf.GGUFReader = read

    def write_adapter(self, path: Path, pairs: Mapping[str, tuple[Any, Any]], alpha: float) -> None:
        """Write LoRA matrices, by the linear layer's name in transformers: A of (rank, in), B of (out, rank).

        llama.cpp adds ``alpha / rank * B A x`` to the layer's output.
        """
        writer = gguf.GGUFWriter(path, self.architecture)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        for name, (a, b) in pairs.items():
            own = self._map_name(f"{name}.weight")
            writer.add_tensor(f"{own}.lora_a", np.ascontiguousarray(a, dtype=np.float32))
            writer.add_tensor(f"{own}.lora_b", self._reorder(own, np.asarray(b, dtype=np.float32)))
        _write_out(writer)

    def write_model(self, path: Path, weights: Iterable[tuple[str, Any]]) -> None:
        """Write whole weights, by their names in transformers: matrices as F16, vectors as F32.

        Everything else (sizes, vocabulary, chat template) is copied from the base.
        """
        writer = gguf.GGUFWriter(path, self.architecture)
        for field in self._reader.fields.values():
            if field.name not in _COPIED_APART and not field.name.startswith("GGUF."):
                kinds = field.types
                writer.add_key_value(
                    field.name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None
                )
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
        there = {tensor.name for tensor in self._reader.tensors}
        for name, weight in weights:
            own = self._map_name(name)
            if own in there:  # an output layer tied to the embedding is not stored twice
                kind = np.float16 if weight.ndim > 1 else np.float32
                writer.add_tensor(own, self._reorder(own, np.asarray(weight)).astype(kind))
        _write_out(writer)

    def _read_field(self, key: str) -> Any:
        field = self._reader.get_field(key)
        if field is None:
            raise ConfigError(f"the model's GGUF file has no field {key}")
        return field.contents()

    def _map_name(self, name: str) -> str:
        own = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if own is None:
            raise ConfigError(f"the layer {name} has no name in a GGUF file of kind {self.architecture!r}")
        return str(own)

    def _reorder(self, own: str, rows: Any) -> Any:
        """Rows in llama.cpp's order: rotary pairs side by side, not half a head apart."""
        heads = {"attn_q": self._heads, "attn_k": self._kv_heads}.get(own.split(".")[-2])
        if self.architecture not in ROTATED or heads is None:
            return np.ascontiguousarray(rows)
        halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _write_out(writer: Any) -> None:
    steps: tuple[Callable[[], None], ...] = (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    )
    for step in steps:
        step()
