"""Makes the fixtures in tests/golden/llama: small random models as Hugging Face folders, with
logits, losses and gradients computed by transformers and PyTorch.

    pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 peft==0.21.2
    OMP_NUM_THREADS=1 python tests/golden/make_llama.py tests/golden/llama

Weights are float32; everything expected is computed in float64 (where transformers itself casts to
float32 inside a norm or a softmax, so be it) and stored as float32.

expected.json of a case: the sequences (ids, and where the completion begins), the columns that
stand in for a reference model or a rollout, the losses. expected.safetensors: logits.<i> of each
sequence, <loss>.grad.<parameter> for each loss of the case, adamw.<parameter> after ten steps.

    sft    mean over all completion tokens of -logp
    dpo    sequences 0 and 1 are chosen and rejected of one prompt, 2 and 3 of the next; mean over
           pairs of -log sigmoid(beta ((c - ref_c) - (r - ref_r))) with sums over completion tokens
    grpo   all four sequences; mean over sequences of the mean over its completion tokens of
           -min(ratio A, clip(ratio, 1 - eps, 1 + eps) A), ratio = exp(logp - old_logp)
    adamw  ten full-batch steps of torch.optim.AdamW on sft; only matrices are decayed

The folder lora holds a PEFT adapter on the model of tied, with the same for its A and B alone;
lora_ranks and lora_regex have ranks, scales and places by patterns.
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

VOCAB = 64
COMMON = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
              rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
              attn_implementation="eager")
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

CASES = {
    # name: (config class, model class, config, losses, edit of config.json)
    "tied": (LlamaConfig, LlamaForCausalLM, dict(tie_word_embeddings=True),
             ["sft", "dpo", "grpo", "adamw"], None),
    "untied_bias": (LlamaConfig, LlamaForCausalLM,
                    dict(attention_bias=True, mlp_bias=True), ["sft"], "old"),
    "llama3": (LlamaConfig, LlamaForCausalLM,
               dict(head_dim=16, tie_word_embeddings=True, rope_parameters=LLAMA3), ["sft"], None),
    "linear": (LlamaConfig, LlamaForCausalLM,
               dict(num_key_value_heads=4, rope_parameters={
                   "rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}), ["sft"], "old"),
    "mistral": (MistralConfig, MistralForCausalLM,
                dict(sliding_window=6, head_dim=8), ["sft"], None),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, dict(tie_word_embeddings=True), ["sft"], None),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM,
              dict(head_dim=8, tie_word_embeddings=True), ["sft"], None),
}


def old_spelling(path):
    """Rewrites rope_parameters and dtype as transformers 4 wrote them."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def randomise(model, generator):
    """Weights large enough that every term of a gradient matters."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                p.copy_(0.2 * noise)
            else:
                p.copy_(0.2 * noise)


def draw(n, generator):
    return torch.randint(3, VOCAB, (n,), generator=generator).tolist()


def sequences(generator):
    rows = []
    for prompt, lengths in ((9, (7, 12)), (5, (4, 9))):
        start = draw(prompt, generator)
        rows += [{"ids": start + draw(n, generator), "completion": prompt} for n in lengths]
    return rows


def token_logps(logits, row):
    ids = torch.tensor(row["ids"])
    logp = torch.log_softmax(logits[:-1], -1).gather(1, ids[1:, None])[:, 0]
    return logp[row["completion"] - 1:]


def losses(kind, logps, columns):
    if kind == "sft":
        return -torch.cat(logps).mean()
    if kind == "dpo":
        c, beta = columns["dpo"], columns["dpo"]["beta"]
        s = [x.sum() for x in logps]
        z = [beta * ((s[i] - c["ref"][i]) - (s[i + 1] - c["ref"][i + 1])) for i in (0, 2)]
        return -torch.stack([torch.nn.functional.logsigmoid(x) for x in z]).mean()
    g = columns["grpo"]
    out = []
    for x, old, a in zip(logps, g["old"], g["advantage"]):
        ratio = torch.exp(x - torch.tensor(old, dtype=x.dtype))
        cut = ratio.clamp(1 - g["eps"], 1 + g["eps"])
        out.append(-torch.minimum(ratio * a, cut * a).mean())
    return torch.stack(out).mean()


def make_columns(logps, generator):
    noise = lambda n, s: (s * torch.randn(n, generator=generator)).tolist()
    return {
        "dpo": {"beta": 0.3,
                "ref": [float(x.sum()) + e for x, e in zip(logps, noise(4, 1.0))]},
        "grpo": {"eps": 0.2, "advantage": [1.3, -0.7, 0.4, -1.0],
                 "old": [[float(v) + e for v, e in zip(x, noise(len(x), 0.2))] for x in logps]},
    }


def forward(model, rows):
    out = [model(torch.tensor([r["ids"]])).logits[0] for r in rows]
    return out, [token_logps(l, r) for l, r in zip(out, rows)]


def adamw(model, rows, tensors, numbers):
    matrices = [p for _, p in trained(model) if p.dim() == 2]
    vectors = [p for _, p in trained(model) if p.dim() == 1]
    hyper = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                             {"params": vectors, "weight_decay": 0.0}], **hyper)
    track = []
    for _ in range(10):
        opt.zero_grad()
        loss = losses("sft", forward(model, rows)[1], None)
        loss.backward()
        opt.step()
        track.append(float(loss.detach()))
    numbers["adamw"] = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8,
                        "weight_decay": 0.1, "losses": track}
    for name, p in trained(model):
        tensors["adamw." + name] = p.detach().float().contiguous()


def trained(model):
    """Parameters that move, by their name in the file."""
    return [(n.replace(".default", ""), p) for n, p in model.named_parameters() if p.requires_grad]


def expect(model, out, kinds, generator, made_with):
    """Writes expected.json and expected.safetensors."""
    model = model.double().eval()
    rows = sequences(generator)
    with torch.no_grad():
        logits, logps = forward(model, rows)
    columns = make_columns(logps, generator)
    tensors = {f"logits.{i}": l.float().contiguous() for i, l in enumerate(logits)}
    numbers = {}
    for kind in [k for k in kinds if k != "adamw"]:
        model.zero_grad()
        loss = losses(kind, forward(model, rows)[1], columns)
        loss.backward()
        numbers[kind] = float(loss.detach())
        for pname, p in trained(model):
            tensors[f"{kind}.grad.{pname}"] = p.grad.float().contiguous()
    if "adamw" in kinds:
        adamw(model, rows, tensors, numbers)
    save_file(tensors, out / "expected.safetensors", metadata={"format": "pt"})
    expected = {"made_with": made_with, "sequences": rows, "losses": numbers,
                **{k: columns[k] for k in ("dpo", "grpo") if k in kinds}}
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


LORAS = {
    # every kind of projection but k
    "lora": dict(r=3, lora_alpha=5, use_rslora=True, target_modules=[
        "q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "lora_ranks": dict(
        r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear",
        # the first that matches wins, and peft sorts them when it saves
        rank_pattern={"layers.1.self_attn.[qk]_proj": 2, "mlp.*": 1, "q_proj": 4},
        alpha_pattern={"down_proj": 2, "layers.0.*": 7}),
    "lora_regex": dict(
        r=4, lora_alpha=6, rank_pattern={"k_proj": 1}, alpha_pattern={"^model.layers.1.mlp.up_proj": 9},
        target_modules=r"model\.layers\.(0\.self_attn\.(k|v)_proj|1\.mlp\.(up|down)_proj)"),
    "lora_layers": dict(r=2, lora_alpha=3, layers_to_transform=[1],
                        target_modules=["q_proj", "self_attn.o_proj", "down_proj"]),
}


def make_lora(out, base, seed, settings):
    """An adapter with B away from its zero start."""
    generator = torch.Generator().manual_seed(seed)
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(base, attn_implementation="eager", dtype=torch.float32),
        LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for _, p in trained(model):
            p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    model.peft_config["default"].base_model_name_or_path = "../tied"
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    expect(model, out, ["sft", "dpo", "adamw"], generator, f"torch {torch.__version__}, seed {seed}")


def make(name, out, seed):
    config_class, model_class, settings, kinds, edit = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    model = model_class(config_class(**{**COMMON, **settings}))
    randomise(model, generator)
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    if edit == "old":
        old_spelling(out / "config.json")
    expect(model, out, kinds, generator, f"torch {torch.__version__}, seed {seed}")


def main():
    root = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for i, name in enumerate(CASES):
        out = root / name
        out.mkdir(parents=True, exist_ok=True)
        make(name, out, 1000 + i)
        print(name, sum(f.stat().st_size for f in out.iterdir()))
    for i, (name, settings) in enumerate(LORAS.items()):
        (root / name).mkdir(exist_ok=True)
        make_lora(root / name, root / "tied", 2000 + i, settings)


if __name__ == "__main__":
    main()
