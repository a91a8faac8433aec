"""Makes the fixtures in tests/golden/heads: small random classification models and adapters as
transformers and PEFT write them, with scores and gradients computed by PyTorch.

    pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 peft==0.21.2
    OMP_NUM_THREADS=1 python tests/golden/make_heads.py tests/golden/heads

Weights are float32; everything expected is computed in float64 and stored as float32.

expected.json: the sequences, their coefficients [sequence][label] (sequence classification) or
[sequence][token][label] (token classification), and the loss, which is the sum of coefficient
times score. expected.safetensors: scores.<i> of each sequence, grad.<tensor> by the names of the
checkpoint. The sequences are one batch, padded on the right; the score of a sequence is read where
transformers reads it.

base is a causal model, on which lora_seq and lora_tok are adapters.
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForSequenceClassification, AutoModelForTokenClassification,
                          LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification,
                          LlamaForTokenClassification, Qwen2Config, Qwen2ForTokenClassification,
                          Qwen3Config, Qwen3ForSequenceClassification)

VOCAB, PAD = 40, 0
COMMON = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
              rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=PAD,
              attn_implementation="eager")
CASES = {
    "llama_seq": (LlamaConfig, LlamaForSequenceClassification, dict(num_labels=3)),
    "llama_tok": (LlamaConfig, LlamaForTokenClassification,
                  dict(num_labels=1, tie_word_embeddings=True)),
    "qwen3_seq": (Qwen3Config, Qwen3ForSequenceClassification, dict(head_dim=8, num_labels=1)),
    "qwen2_tok": (Qwen2Config, Qwen2ForTokenClassification, dict(num_labels=2)),
}


def randomise(model, generator):
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = 0.2 * torch.randn(p.shape, generator=generator)
            p.copy_(1 + noise if "norm" in name else noise)


def stored_name(name):
    """A parameter of a PEFT model as its checkpoint calls it."""
    return name.replace(".modules_to_save.default", "").replace(".default", "")


def expect(model, out, generator, token):
    rows = [torch.randint(3, VOCAB, (n,), generator=generator).tolist() for n in (9, 5, 12, 7)]
    width = max(map(len, rows))
    ids = torch.tensor([r + [PAD] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    model = model.double().eval()
    model.zero_grad()
    logits = model(input_ids=ids, attention_mask=mask).logits
    scores = [logits[i, :len(r)] if token else logits[i] for i, r in enumerate(rows)]
    coefficients = [torch.randn(s.shape, generator=generator).double() for s in scores]
    loss = sum((c * s).sum() for c, s in zip(coefficients, scores))
    loss.backward()
    tensors = {f"scores.{i}": s.detach().float().contiguous() for i, s in enumerate(scores)}
    tensors.update({f"grad.{stored_name(n)}": p.grad.float().contiguous()
                    for n, p in model.named_parameters() if p.requires_grad})
    save_file(tensors, out / "expected.safetensors", metadata={"format": "pt"})
    (out / "expected.json").write_text(json.dumps({
        "made_with": f"torch {torch.__version__}", "sequences": rows,
        "coefficients": [c.tolist() for c in coefficients], "loss": float(loss.detach()),
    }) + "\n")


def make_adapter(out, base, kind, labels, seed):
    generator = torch.Generator().manual_seed(seed)
    auto = (AutoModelForSequenceClassification if kind == "SEQ_CLS"
            else AutoModelForTokenClassification)
    model = get_peft_model(
        auto.from_pretrained(base, num_labels=labels, attn_implementation="eager",
                             dtype=torch.float32),
        LoraConfig(r=2, lora_alpha=3, task_type=kind, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for _, p in model.named_parameters():
            if p.requires_grad:
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    model.peft_config["default"].base_model_name_or_path = "../base"
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    print(out.name, sorted(load_file(out / "adapter_model.safetensors")))
    expect(model, out, generator, kind == "TOKEN_CLS")


def main():
    root = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for i, (name, (config, model_class, settings)) in enumerate(CASES.items()):
        out = root / name
        out.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(3000 + i)
        model = model_class(config(**{**COMMON, **settings}))
        randomise(model, generator)
        model.save_pretrained(out)
        expect(model, out, generator, name.endswith("_tok"))
    base = LlamaForCausalLM(LlamaConfig(**COMMON, tie_word_embeddings=True))
    randomise(base, torch.Generator().manual_seed(3100))
    base.save_pretrained(root / "base")
    (root / "base" / "generation_config.json").unlink(missing_ok=True)
    make_adapter(root / "lora_seq", root / "base", "SEQ_CLS", 2, 3101)
    make_adapter(root / "lora_tok", root / "base", "TOKEN_CLS", 1, 3102)


if __name__ == "__main__":
    main()
