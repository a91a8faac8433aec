"""Makes tests/golden/loop: a small model, and what PyTorch gets from the recipes beside it.

    pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0
    OMP_NUM_THREADS=1 DOWEL_SCRIPTS=scripts python tests/golden/make_loop.py tests/golden/loop build/core/dowel

The model is trained for a moment on rows.jsonl (seed 3), so that what it samples is text which
encodes back to the sampled ids; the tokenizer is that of examples/model. The answers of grpo.lua are
sampled by the program; rewards, advantages, loss and gradient over them are computed here.

expected.json of a recipe: per step what metrics.jsonl should say; of every tensor the norm of its
whole update and the update's dot products with cos(1 + i) and sin(3 i), i its flat index; for grpo
also the sampled answers with reward and advantage.
"""
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

EOS = 2
ROWS = [("What is a rose?", "It is red.", "Red."), ("What is a leaf?", "A leaf is green.", "No."),
        ("What is 6 plus 7?", "6 + 7 = 13.", "I am not sure."), ("Who are you?", "I am a small model.", "Me."),
        ("What is a duck?", "It is a bird.", "A fish that swims.")]


def make_model(out):
    torch.manual_seed(3)
    m = LlamaForCausalLM(LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=128, initializer_range=0.08,
        rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=0, eos_token_id=EOS, pad_token_id=0))
    opt = torch.optim.AdamW(m.parameters(), lr=1e-2)
    for _ in range(32):
        opt.zero_grad()
        sum(-logps(m, *pair)[0].mean() for r in rows for pair in [(prompt(r), answer(r["good"]))]).backward()
        opt.step()
    m.bfloat16().save_pretrained(out)


def enc(text):
    return tok(text, add_special_tokens=False)["input_ids"]


def prompt(row):
    return enc(row["question"] + "\n")


def answer(text):
    return enc(text) + [EOS]


def logps(m, before, after, temperature=1.0):
    """Of each token of `after`: log-probability, entropy, whether it was the likeliest."""
    logits = m(torch.tensor([before + after])).logits[0, len(before) - 1:-1] / temperature
    all_logps, ids = F.log_softmax(logits, -1), torch.tensor(after)
    return (all_logps.gather(1, ids[:, None])[:, 0], -(all_logps.exp() * all_logps).sum(-1).detach(),
            (all_logps.argmax(-1) == ids).double())


def batch(step, n):
    return [rows[(step * n + i) % len(rows)] for i in range(n)]


def sft(m, ref, step):
    got = [logps(m, prompt(r), answer(r["good"])) for r in batch(step, 4)]
    tokens = sum(len(prompt(r)) + len(answer(r["good"])) for s in range(step + 1) for r in batch(s, 4))
    lp, entropy, hit = (torch.cat(x) for x in zip(*got))
    return -lp.mean(), {"entropy": entropy.mean(), "mean_token_accuracy": hit.mean(), "num_tokens": tokens}


def dpo(m, ref, step):
    beta, smooth, losses, part = 0.1 + 0.3 * step / 3, 0.1, [], []
    for r in batch(step, 4):
        c, j = (logps(m, prompt(r), answer(r[k]))[0].sum() for k in ("good", "bad"))
        rc, rj = (logps(ref, prompt(r), answer(r[k]))[0].sum().detach() for k in ("good", "bad"))
        h = beta * (c - rc - j + rj)
        losses.append(-(1 - smooth) * F.logsigmoid(h) - smooth * F.logsigmoid(-h))
        part.append([x.item() for x in (beta * (c - rc), beta * (j - rj), c, j)])
    a, b, lc, lj = torch.tensor(part).double().T
    return torch.stack(losses).mean(), {
        "rewards/chosen": a.mean(), "rewards/rejected": b.mean(), "rewards/margins": (a - b).mean(),
        "rewards/accuracies": (a > b).double().mean(), "logps/chosen": lc.mean(), "logps/rejected": lj.mean()}


def grpo(m, ref, step):
    mine = [s for s in samples if s["step"] == step + 1]
    after = [enc(s["completion"]) + [EOS] * (s["finish"] == "stop") for s in mine]
    assert len(mine) == 18 and all(len(a) == s["tokens"] for a, s in zip(after, mine)), "other ids; change the seed"
    for s in mine:
        n = len(s["completion"].encode())
        s["reward"] = n % 5 + (0.5 * (n % 3) if s["finish"] == "stop" else 0.0)
    group = torch.tensor([s["reward"] for s in mine]).double().view(3, 6)
    advantage = ((group - group.mean(1, keepdim=True)) / (group.std(1, keepdim=True) + 1e-4)).flatten()
    loss, kl, entropy = 0, [], []
    for s, ids, a in zip(mine, after, advantage):
        s["advantage"] = a.item()
        lp, h, _ = logps(m, enc(s["prompt"]), ids, 0.9)
        d = lp - logps(ref, enc(s["prompt"]), ids, 0.9)[0].detach()
        ratio, k3 = torch.exp(lp - lp.detach()), torch.exp(-d) - 1 + d
        policy = -torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)
        loss = loss + (policy + 0.3 * k3).mean() / len(mine)
        kl.append(k3.detach())
        entropy.append(h)
    ended = [len(s["completion"].encode()) % 3 for s in mine if s["finish"] == "stop"]
    return loss, {"reward": group.mean(), "reward_std": group.std(), "kl": torch.cat(kl).mean(),
                  "entropy": torch.cat(entropy).mean(), "rewards/ended/mean": sum(ended) / len(ended),
                  "completions/mean_length": sum(map(len, after)) / 18,
                  "completions/clipped_ratio": sum(s["finish"] == "length" for s in mine) / 18}


def sketch(m, start):
    out = {}
    for name, p in m.named_parameters():
        u = (p.detach() - start[name]).double().flatten()
        i = torch.arange(u.numel(), dtype=torch.float64)
        out[name] = [u.norm().item(), (u * torch.cos(1 + i)).sum().item(), (u * torch.sin(3 * i)).sum().item()]
    return out


def train(objective, steps, optimizer, clip=0.0, lr=None):
    m, ref = (LlamaForCausalLM.from_pretrained(out / "model", dtype=torch.float64) for _ in range(2))
    start = {n: p.detach().clone() for n, p in m.named_parameters()}
    decayed = [p for p in m.parameters() if p.ndim > 1]
    opt, said = optimizer(decayed, [p for p in m.parameters() if p.ndim == 1]), []
    for step in range(steps):
        opt.zero_grad()
        loss, numbers = objective(m, ref, step)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(m.parameters(), clip or math.inf)
        for group in opt.param_groups if lr else []:
            group["lr"] = lr(step)
        opt.step()
        said.append({k: float(v) for k, v in {"loss": loss.detach(), "grad_norm": norm, **numbers}.items()})
    return {"steps": said, "update": sketch(m, start)}


def sgd(lr, decay):
    return lambda a, b: torch.optim.SGD([{"params": a, "weight_decay": decay}, {"params": b}], lr=lr)


def adamw(a, b):
    return torch.optim.AdamW([{"params": a, "weight_decay": 0.1}, {"params": b, "weight_decay": 0.0}], lr=1e-3)


def cosine(step):
    return 3e-3 * (step + 1) / 2 if step < 2 else 1e-4 + 2.9e-3 * 0.5 * (1 + math.cos(math.pi * (step - 2) / 4))


out, dowel = pathlib.Path(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
rows = [dict(zip(("question", "good", "bad"), r)) for r in ROWS]
(out / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
(out / "model").mkdir(exist_ok=True)
for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
    shutil.copy(out / "../../../examples/model" / name, out / "model" / name)
tok = PreTrainedTokenizerFast(tokenizer_file=str(out / "model/tokenizer.json"))
make_model(out / "model")
with tempfile.TemporaryDirectory() as run:
    subprocess.run([dowel, "run", str(out / "grpo.lua"), "--quiet", "--out", run + "/run"], check=True)
    samples = [json.loads(line) for line in open(run + "/run/samples.jsonl")]
expected = {"sft": train(sft, 6, adamw, 0.5, cosine), "dpo": train(dpo, 3, sgd(0.05, 0.01), 1.0),
            "grpo": train(grpo, 2, sgd(0.02, 0.0))}
expected["grpo"]["samples"] = [{k: s[k] for k in ("completion", "reward", "advantage")} for s in samples]
(out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
