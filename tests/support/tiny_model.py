"""A language model of random weights, as a GGUF file of some 400 kB: quick, and it talks nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np

VOCABULARY = 300
WIDTH, BLOCKS, HEADS, KV_HEADS, INNER = 64, 2, 4, 2, 128
HEAD = {"llama": 16, "qwen2": 16, "qwen3": 128}  # transformers reads no other head size for qwen3
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(path: Path, architecture: str = "llama", seed: int = 0) -> Path:
    """Write the model, all weights F32, and return its path."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD[architecture])
    writer.add_value_length(HEAD[architecture])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(HEAD[architecture])
    writer.add_vocab_size(VOCABULARY)
    _add_tokenizer(writer)
    random = np.random.default_rng(seed)
    for name, shape in _shapes(architecture).items():
        scale = 1.5 / np.sqrt(shape[-1])
        values = np.ones(shape) if len(shape) == 1 else random.normal(0, scale, shape)
        if len(shape) == 1:
            values += random.normal(0, 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: object) -> None:
    """One token per byte, three merges, two special tokens; the rest of the vocabulary is never seen."""
    import gguf

    merges = ["t h", "th e", "i n"]
    tokens = [*_byte_letters(), "th", "the", "in", "<|im_start|>", "<|im_end|>"]
    unused = [f"<|unused_{number}|>" for number in range(VOCABULARY - len(tokens))]
    kinds = [gguf.TokenType.NORMAL] * 259 + [gguf.TokenType.CONTROL] * (VOCABULARY - 259)
    assert isinstance(writer, gguf.GGUFWriter)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens, *unused])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(259)
    writer.add_eos_token_id(260)
    writer.add_pad_token_id(260)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _byte_letters() -> list[str]:
    """The letters that stand for the 256 bytes in vocabularies of the GPT-2 kind."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + number) for number, _ in enumerate(others)]


def _shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    queries, keys = HEAD[architecture] * HEADS, HEAD[architecture] * KV_HEADS
    block: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (WIDTH,),
        "attn_q.weight": (queries, WIDTH),
        "attn_k.weight": (keys, WIDTH),
        "attn_v.weight": (keys, WIDTH),
        "attn_output.weight": (WIDTH, queries),
        "ffn_norm.weight": (WIDTH,),
        "ffn_gate.weight": (INNER, WIDTH),
        "ffn_up.weight": (INNER, WIDTH),
        "ffn_down.weight": (WIDTH, INNER),
    }
    if architecture == "qwen2":
        block |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
    if architecture == "qwen3":
        block |= {"attn_q_norm.weight": (HEAD[architecture],), "attn_k_norm.weight": (HEAD[architecture],)}
    blocks = {f"blk.{number}.{name}": shape for number in range(BLOCKS) for name, shape in block.items()}
    return {"token_embd.weight": (VOCABULARY, WIDTH), "output_norm.weight": (WIDTH,), **blocks}
