"""Makes tests/golden/gguf: a GGUF file with a tensor of every type that is read, and the values that the
reference dequantisation gives. Needs gguf 0.19.0, numpy 2; seed 20261123.

Also a llama of one layer whose tokens are the letters, for damage.

usage: make_gguf.py OUT
"""
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter
from gguf.quants import dequantize

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(20261123)
ROWS, COLS = 2, 256
# (values in a block, bytes, where its float16 numbers stand)
blocks = {T.Q4_0: (32, 18, [0]), T.Q4_1: (32, 20, [0, 2]), T.Q5_0: (32, 22, [0]), T.Q5_1: (32, 24, [0, 2]),
          T.Q8_0: (32, 34, [0]), T.Q4_K: (256, 144, [0, 2]), T.Q5_K: (256, 176, [0, 2]), T.Q6_K: (256, 210, [208])}
w = GGUFWriter(os.path.join(out, "types.gguf"), "llama")
w.add_string("text", "words")
w.add_array("numbers", [1, -2, 3])
expected = []
for t in [T.F32, T.F16, T.BF16] + list(blocks):
    if t in blocks:
        size, nbytes, halves = blocks[t]
        raw = rng.integers(0, 256, (ROWS, COLS // size, nbytes), dtype=np.uint8)
        for at in halves:
            d = (rng.standard_normal((ROWS, COLS // size)) * 0.01).astype(np.float16)
            raw[:, :, at:at + 2] = d.view(np.uint8).reshape(ROWS, COLS // size, 2)
        raw = raw.reshape(ROWS, -1)
    else:
        x = rng.standard_normal((ROWS, COLS)).astype(np.float32)
        raw = x if t == T.F32 else x.astype(np.float16) if t == T.F16 else \
            (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    w.add_tensor(t.name, raw, raw_dtype=t)
    expected.append(dequantize(raw, t).astype(np.float32).reshape(-1))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
np.concatenate(expected).tofile(os.path.join(out, "types.f32"))

w = GGUFWriter(os.path.join(out, "llama.gguf"), "llama")
w.add_block_count(1)
w.add_context_length(64)
w.add_embedding_length(32)
w.add_feed_forward_length(32)
w.add_head_count(2)
w.add_layer_norm_rms_eps(1e-5)
w.add_tokenizer_model("gpt2")
w.add_tokenizer_pre("gpt-2")
w.add_token_list([chr(c) for c in range(ord("a"), ord("z") + 1)] + ["ab", "<end>"])
w.add_token_types([1] * 27 + [3])
w.add_token_merges(["a b"])
w.add_eos_token_id(27)
w.add_chat_template("{{ messages[0].content }}")
shapes = {"token_embd": (28, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
    shapes["blk.0." + name] = (32, 32)
for name, shape in shapes.items():
    w.add_tensor(name + ".weight", rng.standard_normal(shape).astype(np.float16 if len(shape) > 1 else np.float32))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
