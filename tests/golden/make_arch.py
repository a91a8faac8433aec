"""Makes the fixtures in tests/golden/arch: one small random model of each family as transformers
writes it, with logits and gradients computed by transformers and PyTorch.

    pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 peft==0.21.2
    OMP_NUM_THREADS=1 python tests/golden/make_arch.py tests/golden/arch

Weights are float32 (bfloat16 in one case); everything expected is computed in float64 (where
transformers itself casts to float32 inside a norm, a softmax or a rotary, so be it) and stored as
float32. What is expected has no gaps: expected.safetensors holds logits.<i> of each sequence and
grad.<tensor> by the names of the checkpoint, of the loss in expected.json: the mean over all tokens
but the first of -logp, or for a score head the sum of coefficient times score.

The folders lora_* hold a PEFT adapter on the model of the same name, with the same for its A and B.
"""
import copy
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma2ForTokenClassification,
                          Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration,
                          Gemma3TextConfig, Gemma3TextForSequenceClassification, GemmaConfig,
                          GemmaForCausalLM, GemmaForSequenceClassification, GPT2Config,
                          GPT2ForSequenceClassification, GPT2ForTokenClassification,
                          GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Phi3Config,
                          Phi3ForCausalLM, Phi3ForSequenceClassification,
                          Phi3ForTokenClassification, Qwen3Config, Qwen3ForCausalLM)

VOCAB = 47
COMMON = dict(vocab_size=VOCAB, hidden_size=20, intermediate_size=20, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=96,
              rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
              attn_implementation="eager")
GEMMA = dict(head_dim=6)
GPT2 = dict(vocab_size=VOCAB, n_embd=20, n_inner=22, n_layer=2, n_head=4, n_positions=40,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager")
PHI3 = dict(head_dim=6, hidden_size=24)
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "beta_fast": 4.0,
        "beta_slow": 0.5, "original_max_position_embeddings": 24}
LONG = {"type": "longrope", "short_factor": [1.0, 1.3, 1.9], "long_factor": [1.0, 4.0, 9.0]}

CASES = {
    # name: (config class, model class, settings, what is edited afterwards)
    "gpt2": (GPT2Config, GPT2LMHeadModel, GPT2, "buffers"),
    "gpt2_old": (GPT2Config, GPT2LMHeadModel, {**GPT2, "n_inner": None}, "body"),
    "gemma": (GemmaConfig, GemmaForCausalLM, {**GEMMA, "num_key_value_heads": 1}, "gelu"),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM,
               {**GEMMA, "num_hidden_layers": 3, "sliding_window": 7, "query_pre_attn_scalar": 9,
                "attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0}, None),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM,
               {**GEMMA, "num_hidden_layers": 3, "sliding_window": 6, "query_pre_attn_scalar": 5,
                "final_logit_softcapping": 5.0,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                "rope_parameters": {
                    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e4},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}}, None),
    "gemma3_old": (Gemma3TextConfig, Gemma3ForCausalLM,
                   {**GEMMA, "num_hidden_layers": 3, "sliding_window": 5, "hidden_size": 18,
                    "num_attention_heads": 2, "sliding_window_pattern": 2}, "gemma3 old"),
    "phi3": (Phi3Config, Phi3ForCausalLM,
             {**PHI3, "sliding_window": 9, "partial_rotary_factor": 0.67,
              "original_max_position_embeddings": 96}, None),
    "phi3_long": (Phi3Config, Phi3ForCausalLM,
                  {**PHI3, "rope_scaling": LONG, "original_max_position_embeddings": 32}, None),
    "yarn": (LlamaConfig, LlamaForCausalLM, dict(head_dim=10, rope_parameters=YARN), None),
    "dynamic": (Qwen3Config, Qwen3ForCausalLM,
                dict(head_dim=6, rope_parameters={"rope_type": "dynamic", "factor": 3.0,
                                                  "rope_theta": 900.0},
                     use_sliding_window=True, sliding_window=8, max_window_layers=1), None),
    "gpt2_seq": (GPT2Config, GPT2ForSequenceClassification, {**GPT2, "num_labels": 3}, None),
    "gpt2_tok": (GPT2Config, GPT2ForTokenClassification, {**GPT2, "num_labels": 2}, None),
    "gemma_seq": (GemmaConfig, GemmaForSequenceClassification, {**GEMMA, "num_labels": 1}, None),
    "gemma2_tok": (Gemma2Config, Gemma2ForTokenClassification,
                   {**GEMMA, "sliding_window": 7, "num_labels": 3}, None),
    "gemma3_seq": (Gemma3TextConfig, Gemma3TextForSequenceClassification,
                   {**GEMMA, "sliding_window": 6, "num_labels": 2}, None),
    "phi3_seq": (Phi3Config, Phi3ForSequenceClassification, {**PHI3, "num_labels": 2}, None),
    "phi3_tok": (Phi3Config, Phi3ForTokenClassification, {**PHI3, "num_labels": 1}, None),
}
ADAPTERS = {
    # name: (model, task, labels, targets, fan_in_fan_out)
    "lora_gpt2": ("gpt2", "CAUSAL_LM", 0, ["c_attn", "c_proj", "c_fc"], True),
    "lora_gpt2_some": ("gpt2_old", "CAUSAL_LM", 0, ["attn.c_proj", "c_fc"], True),
    "lora_gpt2_tok": ("gpt2", "TOKEN_CLS", 2, ["c_attn"], True),
    "lora_gemma3": ("gemma3", "CAUSAL_LM", 0, ["q_proj", "k_proj", "o_proj", "up_proj"], False),
    "lora_gemma2": ("gemma2", "CAUSAL_LM", 0, ["v_proj", "gate_proj", "down_proj"], False),
    "lora_phi3": ("phi3", "CAUSAL_LM", 0, ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
                  False),
    "lora_phi3_seq": ("phi3", "SEQ_CLS", 3, ["qkv_proj", "gate_up_proj"], False),
}


def randomise(model, generator):
    """Weights large enough that every term of a gradient matters."""
    offset = 0 if "Gemma" in type(model).__name__ else 1
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = 0.25 * torch.randn(p.shape, generator=generator)
            norm = "norm" in name or "ln_" in name
            p.copy_(offset + noise if norm and name.endswith("weight") else noise)


def stored_name(name):
    """A parameter of a PEFT model as its checkpoint calls it."""
    return name.replace(".modules_to_save.default", "").replace(".default", "")


def edit(out, kind, model):
    """Rewrites a checkpoint as other versions and other classes write it; returns how its names
    differ from those of the model."""
    path, tensors = out / "model.safetensors", load_file(out / "model.safetensors")
    config = json.loads((out / "config.json").read_text())
    rename = lambda name: name
    if kind == "buffers":  # which transformers 4 stored
        for i in range(2):
            tensors[f"transformer.h.{i}.attn.bias"] = torch.tril(
                torch.ones(40, 40)).to(torch.uint8).view(1, 1, 40, 40)
            tensors[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    if kind == "body":  # GPT2Model, as on the hub
        rename = lambda name: name.removeprefix("transformer.")
        for i in range(2):
            tensors[f"transformer.h.{i}.attn.bias"] = torch.tril(torch.ones(40, 40)).view(1, 1, 40, 40)
    if kind == "gelu":  # the first Gemma files
        config["hidden_act"] = "gelu"
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope["rope_theta"]
    if kind == "gemma3 old":
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["rope_scaling"] = None
        config["sliding_window_pattern"] = 2
        del config["layer_types"]
        config.pop("_sliding_window_pattern", None)
        config["torch_dtype"] = config.pop("dtype")
    tensors = {rename(n): t.contiguous() for n, t in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return rename


def forward_lm(model, rows):
    logits = [model(torch.tensor([r])).logits[0] for r in rows]
    logp = [torch.log_softmax(l[:-1], -1).gather(1, torch.tensor(r)[1:, None])
            for l, r in zip(logits, rows)]
    return logits, -torch.cat(logp).mean(), None


def forward_score(model, rows, generator):
    out = [model(torch.tensor([r])).logits[0] for r in rows]
    coefficients = [torch.randn(o.shape, generator=generator).double() for o in out]
    return out, sum((c * o).sum() for c, o in zip(coefficients, out)), coefficients


def expect(model, out, generator, top, rename=lambda name: name):
    rows = [torch.randint(3, 40, (n,), generator=generator).tolist() for n in (23, 9, 14)]
    model = model.double().eval()
    model.zero_grad()
    logits, loss, coefficients = (forward_lm(model, rows) if top == "lm"
                                  else forward_score(model, rows, generator))
    loss.backward()
    tensors = {f"logits.{i}": l.detach().float().contiguous() for i, l in enumerate(logits)}
    tensors.update({f"grad.{rename(stored_name(n))}": p.grad.float().contiguous()
                    for n, p in model.named_parameters() if p.requires_grad})
    save_file(tensors, out / "expected.safetensors", metadata={"format": "pt"})
    expected = {"made_with": f"torch {torch.__version__}", "top": top, "sequences": rows,
                "loss": float(loss.detach())}
    if coefficients:
        expected["coefficients"] = [c.reshape(-1, c.shape[-1]).tolist() for c in coefficients]
    (out / "expected.json").write_text(json.dumps(expected) + "\n")


def top_of(model):
    name = type(model).__name__
    return "seq" if "Sequence" in name else "tok" if "Token" in name else "lm"


def make(name, out, seed):
    config_class, model_class, settings, kind = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    common = {} if config_class is GPT2Config else COMMON
    model = model_class(config_class(**{**common, **settings}))
    randomise(model, generator)
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    rename = edit(out, kind, model) if kind else lambda n: n
    expect(model, out, generator, top_of(model), rename)


def scaled_by(dtype):
    """The number by which a Gemma of this dtype scales its embeddings, from the module itself."""
    config = Gemma3TextConfig(**{**COMMON, **GEMMA})
    table = Gemma3ForCausalLM(config).to(dtype).model.embed_tokens
    with torch.no_grad():
        table.weight.fill_(1)
        return float(table(torch.tensor([3]))[0, 0])


def make_half(out, seed):
    """A Gemma stored in bfloat16: its embeddings are scaled by a bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**{**COMMON, **GEMMA, "sliding_window": 6}))
    randomise(model, generator)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    with torch.no_grad():  # its rotary frequencies stay float32, as when it is read
        for p in model.parameters():
            p.copy_(p.bfloat16())
    scale = scaled_by(torch.bfloat16)
    assert scale != scaled_by(torch.float32)
    model = model.double()
    model.model.embed_tokens.embed_scale = torch.tensor(scale).double()
    expect(model, out, generator, "lm")


def make_parts(out, seed):
    """The decoder of a Gemma 3 that also sees, without its eyes."""
    generator = torch.Generator().manual_seed(seed)
    text = {**COMMON, **GEMMA, "sliding_window": 5, "sliding_window_pattern": 2}
    del text["attn_implementation"]
    eyes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
                image_size=28, patch_size=14, model_type="siglip_vision_model")
    model = Gemma3ForConditionalGeneration(Gemma3Config(
        text_config=text, vision_config=eyes, mm_tokens_per_image=4, image_token_index=40,
        boi_token_index=41, eoi_token_index=42, eos_token_id=[2, 5], attn_implementation="eager"))
    seen = [n for n, _ in model.named_parameters()
            if "vision_tower" in n or "multi_modal_projector" in n]
    for n, p in model.named_parameters():
        p.requires_grad = n not in seen
    randomise(model, generator)
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    tensors = load_file(out / "model.safetensors")
    left = {n: t for n, t in tensors.items() if n.startswith("language_model.")}
    assert len(tensors) - len(left) == len(seen)
    save_file(left, out / "model.safetensors", metadata={"format": "pt"})
    expect(model, out, generator, "lm",
           lambda n: n.replace("model.language_model.", "language_model.model."))


def load(base, name, task, labels):
    _, model_class, _, _ = CASES[base]
    if task == "CAUSAL_LM":
        return model_class.from_pretrained(name, attn_implementation="eager", dtype=torch.float32)
    chosen = {"gpt2": GPT2ForTokenClassification, "phi3": Phi3ForSequenceClassification}[base]
    return chosen.from_pretrained(name, num_labels=labels, attn_implementation="eager",
                                  dtype=torch.float32)


def make_adapter(name, root, seed):
    base, task, labels, targets, turned = ADAPTERS[name]
    generator = torch.Generator().manual_seed(seed)
    model = get_peft_model(load(base, root / base, task, labels),
                           LoraConfig(r=2, lora_alpha=3, task_type=task, target_modules=targets,
                                      fan_in_fan_out=turned))
    with torch.no_grad():
        for _, p in model.named_parameters():
            if p.requires_grad:
                p.copy_(0.25 * torch.randn(p.shape, generator=generator))
    model.peft_config["default"].base_model_name_or_path = f"../{base}"
    out = root / name
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    expect(model, out, generator, {"CAUSAL_LM": "lm", "SEQ_CLS": "seq", "TOKEN_CLS": "tok"}[task])


def main():
    root = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for i, name in enumerate(CASES):
        (root / name).mkdir(parents=True, exist_ok=True)
        make(name, root / name, 4000 + i)
        print(name, sum(f.stat().st_size for f in (root / name).iterdir()))
    (root / "gemma3_bf16").mkdir(exist_ok=True)
    make_half(root / "gemma3_bf16", 4100)
    (root / "gemma3_parts").mkdir(exist_ok=True)
    make_parts(root / "gemma3_parts", 4101)
    for i, name in enumerate(ADAPTERS):
        make_adapter(name, root, 4200 + i)


if __name__ == "__main__":
    main()
