"""Lets llama.cpp load the GGUF files that dowel writes, of every family, and compares: ids of texts,
and the log-probabilities of tokens that llama.cpp itself chooses.

    pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0
    pip install --no-deps xllamacpp==2026.10.11549          # llama.cpp, built
    OMP_NUM_THREADS=1 python tests/golden/check_llama_cpp.py DOWEL TOKENIZERS [MODEL...]

TOKENIZERS has a folder for each of gpt2, llama2, llama3_1, qwen3 and gemma3, anywhere beneath which
a tokenizer.json lies; what is not there is left out and named. MODELs are further folders, taken as
they are. llama.cpp keeps keys and values as float32 here, and multiplies float32 weights; of the
other types it rounds the activations too (q8_0: to eight bits), hence the wider limits. YaRN and the other
rotary scalings but Llama 3's are not written as GGUF.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import torch
import xllamacpp
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig,
                          GemmaConfig, GemmaForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig,
                          LlamaForCausalLM, MistralConfig, MistralForCausalLM, Phi3Config,
                          Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

COMMON = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
MODELS = {
    # name: (tokenizer, config class, model class, settings)
    "llama2": ("llama2", LlamaConfig, LlamaForCausalLM, {}),
    "llama3": ("llama3_1", LlamaConfig, LlamaForCausalLM,
               dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "mistral": ("llama2", MistralConfig, MistralForCausalLM, dict(sliding_window=None)),
    "qwen2": ("qwen3", Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": ("qwen3", Qwen3Config, Qwen3ForCausalLM, dict(head_dim=32)),
    "gemma": ("gemma3", GemmaConfig, GemmaForCausalLM, dict(head_dim=16)),
    "gemma2": ("gemma3", Gemma2Config, Gemma2ForCausalLM,
               dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=16)),
    "gemma3": ("gemma3", Gemma3TextConfig, Gemma3ForCausalLM,
               dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=16,
                    num_hidden_layers=7)),
    # llama.cpp wants a model named phi3 to have the tokens of Microsoft's
    "phi_3": ("llama2", Phi3Config, Phi3ForCausalLM, dict(sliding_window=None, pad_token_id=0)),
    "gpt2": ("gpt2", GPT2Config, GPT2LMHeadModel, None),
}
LIMITS = {"float32": 5e-4, "bfloat16": 6e-2, "float16": 2e-2, "q8_0": 3e-1}
TABLED = ("gemma", "gpt2")  # their activation, GELU, is a table of float16 in llama.cpp
PROMPTS = ["The capital of France is", "def f(x):\n    return x + 1\n\nprint(f(2)) # 3",
           "12345 apples, 3.14 pears; caf\u00e9, \u4f60\u597d, \U0001f642\U0001f469\u200d\U0001f4bb!",
           "  two  spaces and\ttabs\n\nand lines " + "over and over again " * 12]


def find(folder, name):
    for path in sorted((pathlib.Path(folder) / name).rglob("tokenizer.json")):
        return path
    for path in sorted(pathlib.Path(folder).glob(name + "*/tokenizer.json")):
        return path
    return None


def make(name, tokenizers, out):
    words, config_class, model_class, settings = MODELS[name]
    source = find(tokenizers, words)
    if source is None:
        return False
    out.mkdir()
    for path in source.parent.glob("tokenizer*.json"):
        shutil.copy(path, out)
    spec = json.loads(source.read_text())
    ids = [t["id"] for t in spec["added_tokens"]] + list(spec["model"]["vocab"].values())
    if settings is None:
        settings = dict(n_embd=64, n_layer=3, n_head=4, n_positions=512)
    else:
        settings = {**COMMON, **settings}
    torch.manual_seed(5)
    config = config_class(vocab_size=max(ids) + 1, bos_token_id=1, eos_token_id=2, **settings)
    model = model_class(config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            norm = "norm" in key or "ln_" in key
            p.copy_((p if norm else 0) + 0.15 * torch.randn(p.shape))
    model.save_pretrained(out)
    return True


def dowel(program, command, *args, rows):
    text = "".join(json.dumps(r) + "\n" for r in rows)
    run = subprocess.run([program, command, *args, "-"], input=text, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def serve(path):
    p = xllamacpp.CommonParams()
    p.model.path = str(path)
    p.n_ctx, p.n_parallel, p.warmup, p.verbosity = 512, 1, False, 0
    p.cpuparams.n_threads = 2
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(p)


def ask(server, where, body):
    request = urllib.request.Request(server.listening_address + where,
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def compare(program, folder, dtype, scratch):
    path = scratch / f"{folder.name}-{dtype}.gguf"
    run = subprocess.run([program, "convert", folder, path, "--dtype", dtype], capture_output=True,
                         text=True)
    if run.returncode:
        return f"convert: {run.stderr.strip()}", False
    server = serve(path)
    own = dowel(program, "tokenize", str(folder), rows=[{"text": t} for t in PROMPTS])
    wrong = sum(ask(server, "/tokenize", {"content": t, "add_special": True})["tokens"] != o["ids"]
                for t, o in zip(PROMPTS, own))
    chosen, rows = [], []
    for o in own:
        got = ask(server, "/completion", {"prompt": o["ids"], "n_predict": 8, "temperature": 0,
                                          "n_probs": 1, "return_tokens": True})
        # A token that ends inside a character has no entry of its own: compared is what comes before.
        said = got["completion_probabilities"]
        whole = [s for s, t in zip(said, got["tokens"]) if s["id"] == t]
        said = said[:next((i for i, s in enumerate(said) if i >= len(whole) or s is not whole[i]),
                          len(said))]
        assert said, got
        rows.append({"ids": o["ids"] + [s["id"] for s in said]})
        chosen.append([s["logprob"] for s in said])
    scored = dowel(program, "score", str(path), rows=rows)
    worst = max(abs(a - b) for row, logps in zip(scored, chosen)
                for a, b in zip(row["logps"][-len(logps):], logps))
    path.unlink()
    return (f"{len(PROMPTS) - wrong} of {len(PROMPTS)} texts the same ids, "
            f"log-probabilities within {worst:.1e}"), (
        not wrong and worst <= LIMITS[dtype] * (8 if folder.name.startswith(TABLED) else 1))


def main():
    program, tokenizers, further = sys.argv[1], sys.argv[2], sys.argv[3:]
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        folders = [pathlib.Path(m) for m in further]
        for name in MODELS:
            if make(name, tokenizers, scratch / name):
                folders.append(scratch / name)
            else:
                print(f"{name}: left out, no tokenizer {MODELS[name][0]}")
        for folder in folders:
            for dtype in LIMITS:
                text, good = compare(program, folder, dtype, scratch)
                failed += not good
                print(f"{'ok ' if good else 'NOT'} {folder.name} {dtype}: {text}", flush=True)
    sys.exit(failed > 0)


main()
