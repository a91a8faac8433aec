"""Makes tests/golden/trl/*.json: what TRL's own loss code says about a small model and fixed batches.

    pip install torch==2.13.0 transformers==5.23.0 trl==1.16.0 safetensors==0.8.0
    OMP_NUM_THREADS=1 python tests/golden/make_trl.py tests/golden [family ...]
    PYTHONPATH=<folder with trl 0.28.0> OMP_NUM_THREADS=1 python tests/golden/make_trl.py tests/golden --dropped

The second command does the losses that 1.16 no longer has. Models are loop/model in float64, every tensor
moved by a wave (see `wave`) that the C test applies too; batches come from seed 11. Trainers are made without
their __init__ and given just the attributes that their loss reads, so that TRL's code does all the arithmetic
on the loss and PyTorch all derivatives. Of each gradient the fixture has, per tensor, the norm and the products
with cos(1 + i) and sin(3 i).

A case with "without_trap" is one where dowel differs on purpose: TRL's numbers are kept in "loss" and "grad",
and "without_trap" has what TRL's code says once its input or output is freed of the trap that "trap" names.
"""
import importlib
import json
import math
import pathlib
import sys
import types
from collections import defaultdict

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, LlamaForTokenClassification
from transformers.models.llama import modeling_llama

import trl

if trl.__version__ < "1":  # transformers 5 answers with a pair, which 0.28 takes for yes
    import trl.import_utils as old
    for asked in [n for n in dir(old) if n.startswith("is_") and n.endswith("_available")]:
        setattr(old, asked, lambda *a, f=getattr(old, asked): (r[0] if isinstance(r := f(*a), tuple) else r))

torch.set_num_threads(1)
GOLDEN = pathlib.Path(sys.argv[1])


# ---- double precision throughout: TRL's own source with its float32 accumulators made float64 ----

def widened(name):
    """The module, its source run again with every float32 a float64; an older TRL may not have it."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return
    source = pathlib.Path(module.__file__).read_text()
    source = source.replace("torch.float32", "torch.float64").replace(".float()", ".double()")
    exec(compile(source, module.__file__, "exec"), module.__dict__)
    return module


kernel = widened("trl.kernels.chunked_logprob")
if kernel:
    import trl.trainer.utils
    trl.trainer.utils._ChunkedLogProbFunction = kernel.ChunkedLogProbFunction


# ---- models: without the float32 inside transformers' norms and rotary table ----

def norm64(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def rotary64(self, x, position_ids):
    rate = 10000.0 ** -(torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    angle = torch.cat([position_ids[..., None].double() * rate] * 2, dim=-1)
    return angle.cos(), angle.sin()


modeling_llama.LlamaRMSNorm.forward = norm64
modeling_llama.LlamaRotaryEmbedding.forward = rotary64


def fused(m):
    """Tensors by dowel's names, each a list of the parameters that it is made of."""
    out = {"embed": [m.model.embed_tokens.weight]}
    for i, l in enumerate(m.model.layers):
        a, f = l.self_attn, l.mlp
        out |= {f"layers.{i}.{k}": v for k, v in {
            "attn_norm": [l.input_layernorm.weight], "qkv": [a.q_proj.weight, a.k_proj.weight, a.v_proj.weight],
            "o": [a.o_proj.weight], "ffn_norm": [l.post_attention_layernorm.weight],
            "gate_up": [f.gate_proj.weight, f.up_proj.weight], "down": [f.down_proj.weight]}.items()}
    out["final_norm"] = [m.model.norm.weight]
    if hasattr(m, "score"):
        out["score"] = [m.score.weight]
        if m.score.bias is not None:
            out["score_bias"] = [m.score.bias]
    if hasattr(m, "value"):
        out |= {"value": [m.value.weight], "value_bias": [m.value.bias]}
    return out


def wave(m, seed):
    """As handmade_wave of tests/support/handmade.h."""
    for name, parts in fused(m).items():
        phase, at, head = seed + sum(name.encode()), 0, name.startswith(("score", "value"))
        for p in parts:
            i = torch.arange(at, at + p.numel(), dtype=torch.float64)
            w = (0.3 if head else 0.03) * torch.sin(phase + 0.7 * i)
            p.data = w.view_as(p) if head else p.data + w.view_as(p)
            at += p.numel()
    return m


def model(seed, kind=LlamaForCausalLM, **more):
    m = kind.from_pretrained(GOLDEN / "loop/model", dtype=torch.float64, attn_implementation="sdpa", **more)
    return wave(m.double(), seed).train()


def gradient(m, prefix=""):
    out = {}
    for name, parts in fused(m).items():
        if all(p.grad is None for p in parts):
            continue
        g = torch.cat([p.grad.flatten() for p in parts]).double()
        i = torch.arange(g.numel(), dtype=torch.float64)
        out[prefix + name] = [float(f"{x:.11g}") for x in
                              (g.norm(), (g * torch.cos(1 + i)).sum(), (g * torch.sin(3 * i)).sum())]
    return out


def measured(m, loss):
    m.zero_grad(set_to_none=True)
    loss.backward()
    return {"loss": float(f"{loss.item():.14g}"), "grad": gradient(m)}


# ---- batches: lists of sequences, as the C test reads them ----

def rounded(x):
    return [float(f"{v:.12g}") for v in x]


def logps(m, s, temperature=1.0):
    with torch.no_grad():
        z = m(torch.tensor([s["prompt"] + s["ids"]])).logits[0, len(s["prompt"]) - 1:-1] / temperature
        return F.log_softmax(z, -1).gather(1, torch.tensor(s["ids"])[:, None])[:, 0]


def sequences(lengths, per_prompt):
    rng = torch.Generator().manual_seed(11)
    draw = lambda n: torch.randint(3, 512, (n,), generator=rng).tolist()
    out = []
    for i, n in enumerate(lengths):
        if i % per_prompt == 0:
            prompt = draw(3 + (i // per_prompt) % 4)
        out.append({"prompt": prompt, "ids": draw(n - 1) + [2], "group": i // per_prompt})
    return out


def noise(seed, n, size):
    return (torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * size)


def joined(seqs):
    """input_ids, attention_mask, completion_mask; padded on the right."""
    width = max(len(s["prompt"] + s["ids"]) for s in seqs)
    ids, att, comp = (torch.zeros(len(seqs), width, dtype=torch.long) for _ in range(3))
    for i, s in enumerate(seqs):
        p, n = len(s["prompt"]), len(s["prompt"] + s["ids"])
        ids[i, :n] = torch.tensor(s["prompt"] + s["ids"])
        att[i, :n] = 1
        comp[i, p:n] = 1
    return ids, att, comp


def apart(seqs):
    """prompts padded on the left, completions on the right, as GRPO and RLOO have them."""
    pw, cw = max(len(s["prompt"]) for s in seqs), max(len(s["ids"]) for s in seqs)
    out = {k: torch.zeros(len(seqs), w, dtype=torch.long) for k, w in
           (("prompt_ids", pw), ("prompt_mask", pw), ("completion_ids", cw), ("completion_mask", cw))}
    for i, s in enumerate(seqs):
        out["prompt_ids"][i, pw - len(s["prompt"]):] = torch.tensor(s["prompt"])
        out["prompt_mask"][i, pw - len(s["prompt"]):] = 1
        out["completion_ids"][i, :len(s["ids"])] = torch.tensor(s["ids"])
        out["completion_mask"][i, :len(s["ids"])] = 1
    return out


def padded(seqs, key):
    w = max(len(s["ids"]) for s in seqs)
    out = torch.zeros(len(seqs), w, dtype=torch.float64)
    for i, s in enumerate(seqs):
        out[i, :len(s["ids"])] = torch.tensor(s[key], dtype=torch.float64)
    return out


# ---- trainers without their __init__ ----

class Here:
    """accelerate's Accelerator for one process."""
    device, num_processes, parallelism_config, sync_gradients = torch.device("cpu"), 1, None, True
    is_main_process, use_distributed = True, False

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction="sum"):
        return x

    def autocast(self):
        import contextlib
        return contextlib.nullcontext()

    def unwrap_model(self, m):
        return m

    def pad_across_processes(self, x, dim=0, pad_index=0):
        return x


def trainer(cls, m, args=None, **attributes):
    t = cls.__new__(cls)
    base = {"model": m, "accelerator": Here(), "args": args or types.SimpleNamespace(),
            "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)}, "aux_loss_enabled": False,
            "_total_train_tokens": 0, "_tp_size": 1, "current_gradient_accumulation_steps": 1,
            "is_encoder_decoder": False, "pad_token_id": 0, "padding_value": 0,
            "_stored_metrics": defaultdict(lambda: defaultdict(list)), "_peft_has_been_casted_to_bf16": False,
            "_is_vlm": False, "tokenizer": None, "model_kwarg_keys": set(), "compute_loss_func": None, "label_smoother": None, "use_vllm": False,
            "vllm_importance_sampling_correction": False}
    for k, v in (base | attributes).items():
        setattr(t, k, v)
    return t


def with_head(m, temperature=1.0):
    from trl.trainer.utils import add_fused_lm_head
    add_fused_lm_head(m, temperature=temperature,
                      outputs=("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1"))
    return m


def options_of(**more):
    return types.SimpleNamespace(**more)


# ---- families ----

def pairs():
    seqs = sequences([5, 3, 4, 7, 6, 6, 2, 5], 2)
    ref = model(5)
    for i, s in enumerate(seqs):
        s |= {"mate": i ^ 1, "label": 1 - 2 * (i % 2), "ref": rounded(logps(ref, s))}
        if i % 2:
            s["joined"] = 1
    return seqs


def halves(seqs):
    return [s for s in seqs if s["label"] > 0] + [s for s in seqs if s["label"] < 0]


def dpo():
    DPOTrainer = widened("trl.trainer.dpo_trainer").DPOTrainer
    seqs = pairs()
    m = with_head(model(0))
    ids, att, comp = joined(halves(seqs))
    cases = []

    def inputs(alpha=None):
        def total(s, other):
            n = min(len(s["ids"]), len(other["ids"]))
            return sum(x * (1 if alpha is None or t < n else alpha) for t, x in enumerate(s["ref"]))
        mine = halves(seqs)
        half = len(mine) // 2
        sums = [total(s, mine[(i + half) % len(mine)]) for i, s in enumerate(mine)]
        return {"input_ids": ids, "attention_mask": att, "completion_mask": comp,
                "ref_chosen_logps": torch.tensor(sums[:half], dtype=torch.float64),
                "ref_rejected_logps": torch.tensor(sums[half:], dtype=torch.float64)}

    def case(name, options, types_=("sigmoid",), weights=None, beta=0.3, smooth=0.0, divergence="reverse_kl",
             coefficient=0.5, ld=None, wpo=False, tau=0.05, **more):
        t = trainer(DPOTrainer, m, options_of(discopop_tau=tau), loss_types=list(types_),
                    loss_weights=list(weights or [1.0] * len(types_)), beta=beta, label_smoothing=smooth,
                    f_divergence_type=divergence, f_alpha_divergence_coef=coefficient, ld_alpha=ld,
                    use_weighting=wpo, precompute_ref_logps=True)
        got = measured(m, t._compute_loss(m, inputs(ld), False))
        cases.append({"name": name, "class": "DPOTrainer", "plugin": "dpo",
                      "options": {"beta": beta} | options} | got | more)

    for name in ("sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero",
                 "apo_down", "discopop", "sigmoid_norm"):
        case(name, {"loss": name}, [name])
    for name in ("exo_pair", "robust", "aot", "aot_unpaired"):
        case(name + "/smooth", {"loss": name, "label_smoothing": 0.125}, [name], smooth=0.125)
    for f in ("forward_kl", "js_divergence"):
        for name in ("sigmoid", "hinge", "ipo", "sigmoid_norm", "exo_pair", "robust", "discopop"):
            s = 0.125 if name in ("exo_pair", "robust") else 0
            case(f"{name}/{f}", {"loss": name, "divergence": f} | ({"label_smoothing": s} if s else {}), [name],
                 divergence=f, smooth=s)
    for name in ("sigmoid", "hinge", "ipo", "nca_pair", "apo_zero"):
        case(name + "/ld", {"loss": name, "ld_alpha": 0.4}, [name], ld=0.4)
    for name in ("sigmoid", "ipo", "apo_down"):
        case(name + "/wpo", {"loss": name, "wpo": True}, [name], wpo=True)
    for a in (0.3, 0.7):
        for name in ("sigmoid", "ipo", "sigmoid_norm"):
            case(f"{name}/alpha_divergence {a}",
                 {"loss": name, "divergence": "alpha_divergence", "divergence_alpha": a}, [name],
                 divergence="alpha_divergence", coefficient=a)
    case("sigmoid/alpha_divergence 1", {"divergence": "alpha_divergence", "divergence_alpha": 1},
         divergence="alpha_divergence", coefficient=1.0)
    # T20: TRL's sigmoid ignores label_smoothing, which dowel refuses; what is meant is cdpo, aot's form for one pair.
    case("mpo", {"mix": {"sigmoid": 0.8, "bco_pair": 0.2}, "sft": 0.7}, ["sigmoid", "bco_pair", "sft"],
         [0.8, 0.2, 0.7])
    case("rpo", {"sft": 1}, ["sigmoid", "sft"])
    return {"data": "pairs", "batch": {"seqs": seqs}, "cases": cases}


def grpo():
    from trl import GRPOTrainer
    from trl.experimental.gmpo import GMPOTrainer
    seqs = sequences([5, 3, 6, 4, 7, 2, 5, 4], 4)
    m = with_head(model(0))
    ref = model(5)
    for i, s in enumerate(seqs):
        s["ref"] = rounded(logps(ref, s))
        now = logps(m, s)
        s["old"] = rounded(now + noise(100 + i, len(s["ids"]), 0.25))
        s["sampler"] = rounded(torch.tensor(s["old"], dtype=torch.float64) + noise(200 + i, len(s["ids"]), 0.3))
        s["advantage"] = [[0.9, -1.1, 0.4, -0.2, 1.3, -0.7, 0.05, -0.65][i]] * len(s["ids"])
        s["stop"] = 1
    batch = apart(seqs) | {"advantages": torch.tensor([s["advantage"][0] for s in seqs], dtype=torch.float64),
                           "old_per_token_logps": padded(seqs, "old"), "ref_per_token_logps": padded(seqs, "ref"),
                           "num_items_in_batch": torch.tensor(float(sum(len(s["ids"]) for s in seqs)))}
    cases = []

    def run(cls=GRPOTrainer, loss="grpo", beta=0.0, level="token", low=0.2, high=0.2, top=1.0, off=None, corrected=True,
            delta=None, correction=None, entropy=0.0, batch=batch, **more):
        args = options_of(use_bias_correction_kl=corrected, delta=delta, sapo_temperature_pos=1.0,
                          sapo_temperature_neg=1.0625, vespo_k_pos=2.0, vespo_lambda_pos=3.0, vespo_k_neg=3.0,
                          vespo_lambda_neg=2.0, steps_per_generation=1)
        t = trainer(cls, m, args, loss_type=loss, beta=beta, importance_sampling_level=level, epsilon_low=low,
                    epsilon_high=high, top_entropy_quantile=top, off_policy_mask_threshold=off,
                    max_completion_length=12, _entropy_bonus_enabled=entropy > 0, use_adaptive_entropy=False,
                    entropy_coef=entropy, use_vllm=correction is not None,
                    vllm_importance_sampling_correction=correction is not None)
        if correction is not None:
            batch = batch | {"importance_sampling_ratio": correction}
        if off is not None:
            batch = batch | {"sampling_per_token_logps": padded(seqs, "sampler")}
        return measured(m, t._compute_loss(m, batch))

    def case(name, options, cls=GRPOTrainer, more=None, **settings):
        got = run(cls, **settings)
        cases.append({"name": name, "class": cls.__name__, "plugin": "grpo", "options": options} | got | (more or {}))

    for loss in ("grpo", "bnpo", "dr_grpo"):
        case(loss, {"loss": loss}, loss=loss)
    case("dapo", {"loss": "dapo"}, loss="dapo", high=0.28)
    case("cispo", {"loss": "cispo", "e_max": 1.1}, loss="cispo", high=1.1)
    case("sapo", {"loss": "sapo", "tau_neg": 1.0625}, loss="sapo")
    case("vespo", {"loss": "vespo"}, loss="vespo")
    case("gspo", {"loss": "gspo", "clip": 0.05, "clip_high": 0.04}, level="sequence", low=0.05, high=0.04)
    case("gspo/dapo normaliser", {"loss": "gspo", "clip": 0.05, "clip_high": 0.04, "normalizer": "token"}, loss="dapo",
         level="sequence", low=0.05, high=0.04)
    # One ratio for an answer gives (B, 1), which TRL sums without the length: luspo's (B, 1) * mask.
    case("luspo", {"loss": "luspo", "clip": 0.05, "clip_high": 0.04}, loss="luspo", level="sequence", low=0.05,
         high=0.04)
    case("gmpo", {"loss": "gmpo", "clip": 0.2, "clip_high": 0.15}, cls=GMPOTrainer, low=0.2, high=0.15)
    for loss in ("grpo", "dapo"):
        case(loss + "/two-sided", {"loss": loss, "delta": 1.35, "clip_high": 0.2}, loss=loss, delta=1.35)
        case(loss + "/k3", {"loss": loss, "kl": 0.3, "kl_estimator": "k3", "clip_high": 0.2}, loss=loss, beta=0.3,
             corrected=False)
        case(loss + "/k3 weighted", {"loss": loss, "kl": 0.3, "kl_estimator": "k3_weighted", "clip_high": 0.2},
             loss=loss, beta=0.3)
        case(loss + "/top entropy", {"loss": loss, "top_entropy": 0.45, "clip_high": 0.2}, loss=loss, top=0.45)
        case(loss + "/off-policy mask", {"loss": loss, "off_policy_max": 0.05, "clip_high": 0.2}, loss=loss, off=0.05)
        case(loss + "/entropy bonus", {"loss": loss, "entropy_bonus": 0.02, "clip_high": 0.2}, loss=loss, entropy=0.02)
    for loss, more in (("bnpo", {}), ("dr_grpo", {}), ("cispo", {"e_max": 1.1}), ("sapo", {"tau_neg": 1.0625}), ("vespo", {})):
        case(loss + "/k3", {"loss": loss, "kl": 0.1, "kl_estimator": "k3"} | more, loss=loss, beta=0.1, corrected=False,
             **({"high": 1.1} if loss == "cispo" else {}))
    case("gspo/k3", {"loss": "gspo", "clip": 0.05, "clip_high": 0.04, "kl": 0.1, "kl_estimator": "k3"},
         level="sequence", low=0.05, high=0.04, beta=0.1, corrected=False)
    case("gmpo/k3", {"loss": "gmpo", "clip": 0.2, "clip_high": 0.15, "kl": 0.1, "kl_estimator": "k3"}, cls=GMPOTrainer,
         low=0.2, high=0.15, beta=0.1)
    gap = (padded(seqs, "old") - padded(seqs, "sampler")) * batch["completion_mask"]
    for name, w in (("token_truncate", gap.exp().clamp(max=1.2)),
                    ("token_mask", torch.where(gap.exp() > 1.2, 0.0, gap.exp())),
                    ("sequence_truncate", gap.sum(-1, keepdim=True).exp().clamp(max=1.2)),
                    ("sequence_mask", torch.where((s := gap.sum(-1, keepdim=True).exp()) > 1.2, 0.0, s))):
        case("grpo/" + name, {"loss": "grpo", "correction": name, "correction_max": 1.2}, correction=w)
    # T23: TRL clamps the ratio at epsilon_high itself, and its default falls back to epsilon = 0.2.
    cases.append({"name": "cispo/default bound", "class": "GRPOTrainer", "plugin": "grpo",
                  "options": {"loss": "cispo"}, "trap": "T23"} | run(loss="cispo", high=0.2) |
                 {"without_trap": run(loss="cispo", high=5.0)})
    # T4: the divisor of dapo, cispo and vespo is a mean over the generation batch, not the step's own count.
    wide = batch | {"num_items_in_batch": torch.tensor(50.0)}
    cases.append({"name": "dapo/generation batch of 50 tokens", "class": "GRPOTrainer", "plugin": "grpo",
                  "options": {"loss": "dapo", "clip_high": 0.2}, "trap": "T4"} | run(loss="dapo", batch=wide) |
                 {"without_trap": run(loss="dapo")})
    return {"data": "prompts", "batch": {"seqs": seqs, "max_tokens": 12}, "cases": cases}


def kto():
    KTOTrainer = widened("trl.trainer.kto_trainer").KTOTrainer
    seqs = sequences([5, 3, 4, 7, 6], 1)
    m, ref = with_head(model(0)), model(5)
    for i, s in enumerate(seqs):
        s["label"] = [1, -1, 1, 1, -1][i]
    other = [{"prompt": s["prompt"], "ids": seqs[(i + 1) % 5]["ids"], "group": i, "label": 0, "role": 1}
             for i, s in enumerate(seqs)]
    for s in seqs + other:
        s["ref"] = rounded(logps(ref, s))
    far = [s | {"ref": rounded(logps(m, s) - 0.4)} for s in other]
    cases = []

    def case(name, options, batch, mine, kl, loss="kto", beta=0.3, wanted=1.0, unwanted=1.0):
        t = trainer(KTOTrainer, m, loss_type=loss, beta=beta, desirable_weight=wanted, undesirable_weight=unwanted,
                    calculate_KL=loss == "kto", precompute_ref_logps=True)
        ids, att, comp = joined(mine)
        kids, katt, kcomp = joined(kl)
        sums = lambda x: torch.tensor([sum(s["ref"]) for s in x], dtype=torch.float64)
        got = measured(m, t._compute_loss(m, {
            "input_ids": ids, "attention_mask": att, "completion_mask": comp, "KL_input_ids": kids,
            "KL_attention_mask": katt, "KL_completion_mask": kcomp, "ref_logps": sums(mine), "ref_KL_logps": sums(kl),
            "label": torch.tensor([s["label"] > 0 for s in mine])}, False))
        cases.append({"name": name, "class": "KTOTrainer", "plugin": "kto", "batch": batch,
                      "options": {"beta": beta, "loss": loss} | options} | got)

    case("kto", {}, "batch", seqs, far)
    case("kto/weights", {"desirable_weight": 1.5, "undesirable_weight": 0.75}, "batch", seqs, far, wanted=1.5,
         unwanted=0.75)
    case("kto/second baseline", {}, "second", seqs, other)
    case("apo_zero_unpaired", {}, "alone", seqs, far, loss="apo_zero_unpaired")
    return {"data": "labels", "batch": {"seqs": seqs + far}, "second": {"seqs": seqs + other},
            "alone": {"seqs": seqs}, "cases": cases}


def preference(seqs):
    """As the collator of CPO and ORPO makes it."""
    out = {}
    for side, mine in (("chosen", halves(seqs)[:len(seqs) // 2]), ("rejected", halves(seqs)[len(seqs) // 2:])):
        ids, att, comp = joined(mine)
        out |= {side + "_input_ids": ids, side + "_attention_mask": att,
                side + "_labels": ids.masked_fill(comp == 0, -100)}
    return out


def cpo():
    CPOTrainer = widened("trl.experimental.cpo.cpo_trainer").CPOTrainer
    ORPOTrainer = widened("trl.experimental.orpo.orpo_trainer").ORPOTrainer
    seqs, m, cases = pairs(), model(0), []
    short = [s | {"prompt": s["prompt"][:1]} for s in seqs]

    def case(name, plugin, options, loss, beta, nll=0.0, bend=0.0, gamma=0.5, smooth=0.0):
        t = trainer(CPOTrainer, m, loss_type=loss, beta=beta, label_smoothing=smooth, simpo_gamma=gamma, cpo_alpha=nll,
                    alpha=bend)
        got = measured(m, t.get_batch_loss_metrics(m, preference(seqs))[0])
        cases.append({"name": name, "class": "CPOTrainer", "plugin": plugin, "options": {"beta": beta} | options} | got)

    for loss in ("sigmoid", "hinge", "ipo"):
        case("cpo " + loss, "cpo", {"loss": loss, "alpha": 0.7}, loss, 0.3, nll=0.7)
    case("cpo/smooth", "cpo", {"label_smoothing": 0.125, "alpha": 0}, "sigmoid", 0.3, smooth=0.125)
    case("simpo", "simpo", {"gamma": 0.5}, "simpo", 2.0)
    case("simpo/smooth", "simpo", {"gamma": 1.5, "label_smoothing": 0.125}, "simpo", 2.5, gamma=1.5, smooth=0.125)
    case("cpo-simpo", "simpo", {"gamma": 0.5, "sft": 0.7}, "simpo", 2.0, nll=0.7)
    for bend in (0.1, -0.2):
        case(f"alphapo {bend}", "simpo", {"gamma": 0.5, "alpha": bend}, "simpo", 2.0, bend=bend)
    for name, batch, mine in (("orpo", "batch", seqs), ("orpo/prompts of one token", "short", short)):
        t = trainer(ORPOTrainer, m, beta=0.3)
        b = preference(mine)
        got = measured(m, t.get_batch_loss_metrics(m, b)[0])
        row = {"name": name, "class": "ORPOTrainer", "plugin": "orpo", "options": {"lambda": 0.3}, "batch": batch} | got
        if mine is seqs:
            chosen, rejected = t.concatenated_forward(m, b)[:2]
            nll = trainer(CPOTrainer, m, cpo_alpha=1.0, loss_type="sigmoid").concatenated_forward(m, b)[4]
            row |= {"trap": "T17", "without_trap": measured(m, nll - t.odds_ratio_loss(chosen, rejected)[0].mean())}
        cases.append(row)
    return {"data": "pairs", "batch": {"seqs": seqs}, "short": {"seqs": short}, "cases": cases}


def tpo():
    TPOTrainer = widened("trl.experimental.tpo.tpo_trainer").TPOTrainer
    two, gold, m, cases = pairs(), sequences([4, 6, 3, 5], 1), model(0), []
    seqs = []
    for i in range(4):
        pair = [dict(s, mate=3 * i + 1 - k) for k, s in enumerate(two[2 * i:2 * i + 2])]
        third = {"prompt": pair[0]["prompt"], "ids": gold[i]["ids"], "group": i, "role": 3, "joined": 1}
        seqs += [{k: v for k, v in s.items() if k != "ref"} for s in pair] + [third]
    ids, att, comp = joined(halves([s for s in seqs if "role" not in s]) + [s for s in seqs if "role" in s])

    def case(loss, beta, alpha=1.0, gamma=0.5, smooth=0.0):
        t = trainer(TPOTrainer, m, loss_type=loss, beta=beta, tpo_alpha=alpha, tpo_l_gamma=gamma,
                    label_smoothing=smooth)
        got = measured(m, t._compute_loss(m, {"input_ids": ids, "attention_mask": att, "completion_mask": comp}, False))
        options = {"loss": loss.replace("-", "_"), "beta": beta, "alpha": alpha, "label_smoothing": smooth}
        cases.append({"name": f"tpo {loss}" + ("/smooth" if smooth else ""), "class": "TPOTrainer", "plugin": "tpo",
                      "options": options | ({"gamma": gamma} if loss == "tpo-l" else {})} | got)

    case("sigmoid", 0.1)
    case("sigmoid", 0.1, smooth=0.125)
    case("hinge", 0.1, alpha=0.5)
    case("ipo", 0.5)
    case("tpo-l", 2.0)
    return {"data": "pairs", "batch": {"seqs": seqs}, "cases": cases}


def sft():
    from trl import SFTTrainer
    LabelSmoother = widened("transformers.trainer_pt_utils").LabelSmoother
    seqs, m, cases = sequences([5, 3, 4, 7], 1), with_head(model(0)), []
    ids, att, comp = joined(seqs)
    for name, options, loss, smooth in (("sft", {}, "nll", 0), ("sft dft", {"dft": True}, "dft", 0),
                                        ("sft/smooth", {"label_smoothing": 0.125}, "nll", 0.125)):
        t = trainer(SFTTrainer, m, options_of(loss_type=loss, average_tokens_across_devices=False),
                    label_smoother=LabelSmoother(epsilon=smooth) if smooth else None)
        got = measured(m, t.compute_loss(m, {"input_ids": ids, "attention_mask": att,
                                             "labels": ids.masked_fill(comp == 0, -100)}))
        cases.append({"name": name, "class": "SFTTrainer", "plugin": "sft", "options": options} | got)
    return {"data": "completions", "batch": {"seqs": seqs}, "cases": cases}


def reward():
    from trl import RewardTrainer
    m, cases = model(0, LlamaForSequenceClassification, num_labels=1), []
    plain = [{k: v for k, v in s.items() if k != "ref"} for s in pairs()]
    wide = [s | {"margin": [0.3, 0.0, 1.1, 0.5][i // 2]} for i, s in enumerate(plain)]
    ids, att, _ = joined(halves(plain))
    for name, batch, center in (("reward", "batch", None), ("reward/center", "batch", 0.05),
                                ("reward/margin", "wide", None), ("reward/margin and center", "wide", 0.05)):
        t = trainer(RewardTrainer, m, options_of(center_rewards_coefficient=center))
        inputs = {"input_ids": ids, "attention_mask": att}
        if batch == "wide":
            inputs["margin"] = torch.tensor([s["margin"] for s in wide[::2]], dtype=torch.float64)
        # The trainer hands its inputs, margin and all, to the model.
        got = measured(m, t.compute_loss(lambda margin=None, **k: m(**k), inputs))
        cases.append({"name": name, "class": "RewardTrainer", "plugin": "reward", "batch": batch,
                      "options": {"center": center or 0}} | got)
    return {"data": "pairs", "batch": {"seqs": plain}, "wide": {"seqs": wide}, "cases": cases}


def rollouts(lengths=(5, 3, 6, 4, 7, 2, 5, 4), spread=0.25):
    seqs = sequences(list(lengths), 4)
    m, ref, teacher = model(0), model(5), model(1)
    for i, s in enumerate(seqs):
        n = len(s["ids"])
        s |= {"ref": rounded(logps(ref, s)), "old": rounded(logps(m, s) + noise(100 + i, n, spread)),
              "teacher": rounded(logps(teacher, s)), "stop": 1,
              "advantage": [[0.9, -1.1, 0.4, -0.2, 1.3, -0.7, 0.05, -0.65][i]] * n}
    return seqs


def column(seqs, key):
    return torch.tensor([s[key][0] for s in seqs], dtype=torch.float64)


def summed(seqs, key):
    return torch.tensor([sum(s[key]) for s in seqs], dtype=torch.float64)


def rloo():
    from trl import RLOOTrainer
    from trl.experimental.a2po import A2POTrainer
    seqs, m, cases = rollouts(spread=0.1), with_head(model(0)), []
    inputs = apart(seqs) | {"advantages": column(seqs, "advantage"), "old_logps": summed(seqs, "old")}
    for low, high in ((0.2, 0.2), (0.1, 0.3), (0.02, 0.02)):
        t = trainer(RLOOTrainer, m, epsilon_low=low, epsilon_high=high)
        cases.append({"name": f"rloo {low} {high}", "class": "RLOOTrainer", "plugin": "rloo",
                      "options": {"clip": low, "clip_high": high}} | measured(m, t._compute_loss(m, inputs)))
    both = apart(seqs)
    t = trainer(A2POTrainer, m, options_of(beta2=0.01), temperature=1.0)
    loss = t.compute_loss(m, {"input_ids": torch.cat([both["prompt_ids"], both["completion_ids"]], 1),
                              "attention_mask": torch.cat([both["prompt_mask"], both["completion_mask"]], 1),
                              "logits_to_keep": both["completion_ids"].size(1), "ref_logps": summed(seqs, "ref"),
                              "rewards": column(seqs, "advantage"), "v_star": torch.tensor(0.0)})
    cases.append({"name": "a2po", "class": "A2POTrainer", "plugin": "a2po", "options": {"beta2": 0.01}} |
                 measured(m, loss))
    return {"data": "prompts", "batch": {"seqs": seqs, "max_tokens": 12}, "cases": cases}


def distill():
    GKDTrainer = widened("trl.experimental.gkd.gkd_trainer").GKDTrainer
    IWOPDTrainer = widened("trl.experimental.iw_opd.iw_opd_trainer").IWOPDTrainer
    SDFTTrainer = widened("trl.experimental.sdft.sdft_trainer").SDFTTrainer
    seqs, m, teacher, cases = rollouts(), model(0), model(1), []
    ids, att, comp = joined(seqs)
    labels = ids.masked_fill(comp == 0, -100)
    both = apart(seqs)
    models = ',"trains":false'
    common = {"models": models, "roles": '"teacher":"second",'}

    def add(name, cls, plugin, options, loss, **more):
        cases.append({"name": name, "class": cls, "plugin": plugin, "options": options} | common | more |
                     measured(m, loss))

    for beta in (0.0, 0.1, 0.5, 1.0):
        t = trainer(GKDTrainer, m, beta=beta, temperature=1.0, teacher_model=teacher)
        add(f"gkd {beta}", "GKDTrainer", "gkd", {"beta": beta},
            t.compute_loss(m, {"input_ids": ids, "attention_mask": att, "labels": labels}))
    with torch.no_grad():
        tz = teacher(input_ids=ids, attention_mask=att).logits
    z = lambda: m(input_ids=ids, attention_mask=att).logits
    for beta in (0.0, 0.5, 1.0):
        add(f"gkd {beta}/temperature", "GKDTrainer", "gkd", {"beta": beta, "temperature": 1.5},
            GKDTrainer.generalized_jsd_loss(z()[:, :-1], tz[:, :-1], labels[:, 1:], beta, 1.5))
    # T37: GKD divides by the labels of the data set's batch even when it trains on samples.
    t = trainer(GKDTrainer, m, beta=0.5, temperature=1.0, teacher_model=teacher)
    batch = {"input_ids": ids, "attention_mask": att, "labels": labels}
    add("gkd/data set of 50 tokens", "GKDTrainer", "gkd", {"beta": 0.5},
        t.compute_loss(m, dict(batch), num_items_in_batch=torch.tensor(50)), trap="T37",
        without_trap=measured(m, t.compute_loss(m, dict(batch))))

    kept = comp.sum(1).max()
    keep = lambda logits: torch.stack([F.pad(logits[i, len(s["prompt"]) - 1:len(s["prompt"] + s["ids"]) - 1],
                                             (0, 0, 0, int(kept) - len(s["ids"]))) for i, s in enumerate(seqs)])
    answers = both["completion_ids"]
    marked = answers.masked_fill(both["completion_mask"] == 0, -100)
    for gamma in (0.5, 2.0):
        t = trainer(IWOPDTrainer, m, temperature=1.0, iw_opd_gamma=gamma, iw_opd_epsilon=1e-8)
        add(f"iw_opd {gamma}", "IWOPDTrainer", "iw_opd", {"gamma": gamma},
            t._compute_iw_opd_loss(keep(z()), answers, marked, padded(seqs, "teacher"), padded(seqs, "old")))
    t = trainer(IWOPDTrainer, m, temperature=1.0, iw_opd_gamma=0.0, iw_opd_epsilon=1e-8)
    add("opd", "IWOPDTrainer", "opd", {},
        t._compute_iw_opd_loss(keep(z()), answers, marked, padded(seqs, "teacher"), padded(seqs, "old")))
    t = trainer(IWOPDTrainer, m, temperature=1.0, beta=1, loss_add_tail=True, reverse_kl_top_1_mode="sampled")
    add("opd top1", "IWOPDTrainer", "opd", {"loss": "top1"},
        t._compute_local_sparse_top_1_divergence_loss(keep(z()), keep(tz), answers, marked))

    def sdft(name, options, mode, alpha, k=None, tail=False, clip=None):
        args = options_of(distillation_mode=mode, distillation_alpha=alpha, distillation_topk=k,
                          distillation_add_tail=tail, distillation_is_clip=clip)
        t = trainer(SDFTTrainer, m, args)
        t._log_self_distillation_metric = lambda *a: None
        logits = types.SimpleNamespace(student_logits=keep(z()), teacher_logits=keep(tz), completion_ids=answers,
                                       loss_mask=both["completion_mask"].double())
        add(name, "SDFTTrainer", "self_distill", {"alpha": alpha} | options if mode != "sampled_token" else options,
            t._compute_self_distillation_loss(m, {"old_per_token_logps": padded(seqs, "old")}, logits))

    for alpha in (0.0, 0.5, 1.0):
        sdft(f"sdft full {alpha}", {"top_k": 0, "correction": 0}, "full_logits", alpha)
        sdft(f"sdft top 20 {alpha}", {"top_k": 20, "tail": True, "correction": 0}, "topk_logits", alpha, 20, True)
    sdft("sdft top 20, renormalised", {"top_k": 20, "correction": 0}, "topk_logits", 0.5, 20)
    sdft("sdft full, corrected", {"top_k": 0, "correction": 1.1}, "full_logits", 0.5, clip=1.1)
    sdft("sdpo sampled token", {"mode": "sampled_token", "correction": 0}, "sampled_token", 1.0)
    sdft("sdpo sampled token, corrected", {"mode": "sampled_token", "correction": 2}, "sampled_token", 1.0, clip=2.0)

    from trl.trainer.distillation_trainer import DistillationTrainer
    kernel = widened("trl.kernels.chunked_divergence")
    import trl.trainer.distillation_trainer as home
    home.ChunkedDivergenceFunction = kernel.ChunkedDivergenceFunction
    for beta, temperature in ((0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (0.5, 1.5)):
        t = trainer(DistillationTrainer, m, beta=beta, temperature=temperature, teacher_model=teacher,
                    _forward_redirection=lambda w, u, fn, *a, **k: fn(*a, **k))
        add(f"distillation {beta} {temperature}", "DistillationTrainer", "gkd", {"beta": beta, "temperature": temperature},
            t._compute_loss(m, both, None)[0])
    return {"data": "prompts", "batch": {"seqs": seqs, "max_tokens": 12}, "cases": cases}


FAMILIES = {"dpo": dpo, "grpo": grpo, "kto": kto, "cpo": cpo, "tpo": tpo, "sft": sft, "reward": reward, "rloo": rloo,
            "distill": distill}
# ---- what 0.28 had ----

def live_logps(m, seqs):
    """Of every completion token, with derivative; 0 behind the end."""
    rows = []
    for s in seqs:
        z = m(torch.tensor([s["prompt"] + s["ids"]])).logits[0, len(s["prompt"]) - 1:-1]
        rows.append(F.log_softmax(z, -1).gather(1, torch.tensor(s["ids"])[:, None])[:, 0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def bco():
    from trl.experimental.bco.bco_trainer import BCOTrainer, RunningMoments
    m, ref, cases = model(0), model(5), []
    seqs = sequences([5, 3, 4, 7, 6], 1)
    for i, s in enumerate(seqs):
        s |= {"label": [1, -1, 1, 1, -1][i], "ref": rounded(logps(ref, s))}
    for beta in (0.1, 0.5):
        t = types.SimpleNamespace(beta=beta, running=RunningMoments(Here()), match_underlying_distribution=False)
        now = live_logps(m, seqs).sum(1)
        wanted = torch.tensor([s["label"] > 0 for s in seqs])
        was = summed(seqs, "ref")
        losses = BCOTrainer.bco_loss(t, now[wanted], now[~wanted], was[wanted], was[~wanted], None, None)[0]
        cases.append({"name": f"bco {beta}", "class": "BCOTrainer", "plugin": "bco", "options": {"beta": beta},
                      "tolerance": 1e-7} | measured(m, losses.nanmean()))
    return {"data": "labels", "batch": {"seqs": seqs}, "cases": cases}


def online():
    from trl.experimental.nash_md.nash_md_trainer import NashMDTrainer
    from trl.experimental.xpo.xpo_trainer import XPOTrainer
    m, cases = model(0), []
    two = pairs()
    won = [True, False, False, True]  # is the policy's answer the wanted one?
    for i, s in enumerate(two):
        s["role"] = 0 if won[i // 2] == (s["label"] > 0) else 4
    mine, theirs = ([s for s in two if s["role"] == r] for r in (0, 4))
    for loss in ("sigmoid", "ipo"):
        for alpha in (0.01, 0.0):
            t = types.SimpleNamespace(args=options_of(loss_type=loss), beta=0.3, alpha=alpha)
            got = XPOTrainer._compute_losses(t, live_logps(m, mine), live_logps(m, theirs), padded(theirs, "ref"),
                                             padded(mine, "ref"), torch.tensor(won))[0]
            plugin, options = ("xpo", {"loss": loss, "beta": 0.3, "alpha": alpha}) if alpha else (
                "dpo", {"loss": loss, "beta": 0.3} | ({"normalize": "sum"} if loss == "ipo" else {}))
            cases.append({"name": f"xpo {loss}" if alpha else f"online dpo {loss}", "class": "XPOTrainer",
                          "plugin": plugin, "options": options} | ({"roles": ""} if alpha else {"data": "pairs"}) |
                         measured(m, got))
    alone = rollouts()
    p = column(alone, "advantage").sigmoid()
    for s, v in zip(alone, p):
        s["advantage"] = [float(f"{v.item():.15g}") - 0.5] * len(s["ids"])
    t = types.SimpleNamespace(beta=0.2)
    got = NashMDTrainer._compute_losses(t, live_logps(m, alone), padded(alone, "ref"), column(alone, "advantage") + 0.5)
    cases.append({"name": "nash-md", "class": "NashMDTrainer", "plugin": "nash_md", "batch": "alone",
                  "options": {"beta": 0.2}} | measured(m, got[0]))
    return {"data": "prompts", "batch": {"seqs": two, "max_tokens": 12}, "alone": {"seqs": alone, "max_tokens": 12},
            "cases": cases}


def prm():
    from trl.experimental.prm import PRMTrainer
    m = model(0, LlamaForTokenClassification, num_labels=2)
    m.dropout.p = 0.0
    m.loss_function = widened("transformers.loss.loss_utils").ForTokenClassification
    seqs = sequences([7, 5, 9], 1)
    ends = [[2, 6], [1, 3, 4], [0, 4, 8]]
    for i, s in enumerate(seqs):
        s["mark_label"] = [None] * len(s["ids"])
        for k, e in enumerate(ends[i]):
            s["mark_label"][e] = (i + k) % 2
    ids, att, _ = joined(seqs)
    labels = torch.full_like(ids, -100)
    for i, s in enumerate(seqs):
        for k, v in enumerate(s["mark_label"]):
            if v is not None:
                labels[i, len(s["prompt"]) + k] = v
    t = trainer(PRMTrainer, m, options_of(past_index=-1, average_tokens_across_devices=False),
                model_accepts_loss_kwargs=False)
    got = measured(m, t.compute_loss(m, {"input_ids": ids, "attention_mask": att, "labels": labels}))
    return {"data": "steps", "batch": {"seqs": seqs}, "cases": [
        {"name": "prm", "class": "PRMTrainer", "plugin": "prm", "options": {}} | got]}


def ppo():
    """The trainer's loss is a stretch of a long method: these lines of its source are run as they stand."""
    import textwrap
    import trl.experimental.ppo.ppo_trainer as home
    source = pathlib.Path(home.__file__).read_text()
    begin = source.index("new_logprobs = torch.masked_fill(\n", source.index("for ppo_epoch_idx"))
    end = source.index("accelerator.backward(loss)", begin)
    lines = source[source.rindex("\n", 0, begin) + 1:source.rindex("\n", 0, end)]
    code = compile(textwrap.dedent(lines), home.__file__, "exec")
    m, cases = model(0), []
    m.value = torch.nn.Linear(32, 1).double()
    for name in ("value", "value_bias"):
        p = fused(m)[name][0]
        i = torch.arange(p.numel(), dtype=torch.float64)
        p.data = (0.3 * torch.sin(sum(name.encode()) + 0.7 * i)).view_as(p)
    out = {"data": "prompts", "cases": cases}
    for key, lengths in (("batch", [6] * 8), ("ragged", [5, 3, 6, 4, 7, 2, 5, 4])):
        seqs = rollouts(lengths)
        hidden = [m.model(torch.tensor([s["prompt"] + s["ids"]])).last_hidden_state[0, len(s["prompt"]) - 1:-1]
                  for s in seqs]
        for i, s in enumerate(seqs):
            n = len(s["ids"])
            now = m.value(hidden[i])[:, 0].detach()
            s["old_value"] = rounded(now + noise(300 + i, n, 0.3))
            s["return"] = rounded(now + noise(400 + i, n, 0.5))
            s["advantage"] = rounded(noise(500 + i, n, 1.0))
        width = max(lengths)
        pad = torch.tensor([[t >= len(s["ids"]) for t in range(width)] for s in seqs])
        late = torch.tensor([[t > len(s["ids"]) for t in range(width)] for s in seqs])

        def loss(p1, clip, value_clip):
            values = torch.nn.utils.rnn.pad_sequence(
                [m.value(m.model(torch.tensor([s["prompt"] + s["ids"]])).last_hidden_state[0, len(s["prompt"]) - 1:])[:, 0]
                 for s in seqs], batch_first=True)[:, :width]
            here = dict(vars(home), new_logprobs=live_logps(m, seqs), padding_mask=pad, padding_mask_p1=p1,
                        micro_batch_inds=slice(None), vpred_temp=None, vpred=values, context_length=1,
                        mb_values=padded(seqs, "old_value"), mb_return=padded(seqs, "return"),
                        mb_advantage=padded(seqs, "advantage"),
                        mb_logprobs=padded(seqs, "old").masked_fill(pad, home.INVALID_LOGPROB),
                        args=options_of(cliprange=clip, cliprange_value=value_clip, vf_coef=0.1))
            here["vpred_temp"] = F.pad(values, (0, 1))[..., None]
            exec(code, here)
            return here["loss"]

        for clip, value_clip in ((0.2, 0.2), (0.1, 0.4)):
            row = {"name": f"ppo {clip} {value_clip}" + ("" if key == "batch" else "/ragged"), "class": "PPOTrainer",
                   "plugin": "ppo", "batch": key,
                   "options": {"clip": clip, "clip_high": clip, "value_clip": value_clip, "value_coef": 0.1}}
            row |= measured(m, loss(late, clip, value_clip))
            if key == "ragged":
                row |= {"trap": "T1", "without_trap": measured(m, loss(pad, clip, value_clip))}
            cases.append(row)
        out[key] = {"seqs": seqs, "max_tokens": 12}
    return out


def minillm():
    from trl.experimental.minillm.minillm_trainer import MiniLLMTrainer
    from trl.experimental.gspo_token.grpo_trainer import GRPOTrainer as GSPOTokenTrainer
    seqs = rollouts([6] * 8)
    m, teacher, cases = model(0), model(1), []
    # One update from fresh samples: the student's log-probabilities are both l and lold.
    fresh = [s | {"old": rounded(logps(m, s))} for s in seqs]

    class Held(MiniLLMTrainer):
        def _compute_advantage(self, **k):
            return super()._compute_advantage(**k).detach()

    class Placed(Held):
        def _compute_advantage(self, **k):
            return super()._compute_advantage(**k) / self.gamma ** torch.arange(6, dtype=torch.float64)

    def loss(cls, gamma, length):
        t = trainer(cls, m, options_of(delta=None), teacher_model=teacher, kd_temperature=1.0, rkl_advantage=True,
                    gamma=gamma, length_normalization=length, single_step_decomposition=False, loss_type="bnpo",
                    importance_sampling_level="token", epsilon_low=0.2, epsilon_high=0.2, beta=0.0, temperature=1.0,
                    top_entropy_quantile=1.0, off_policy_mask_threshold=None, max_completion_length=12)
        return t.compute_loss(m, apart(fresh) | {"advantages": torch.zeros(8, dtype=torch.float64)})

    for gamma, length, free in ((1.0, True, Held), (0.9, True, Held), (0.9, False, Placed), (1.0, False, Held)):
        cases.append({"name": f"minillm {gamma}" + ("" if length else "/sum"), "class": "MiniLLMTrainer",
                      "plugin": "minillm", "batch": "fresh", "trap": "T31", "models": ',"trains":false',
                      "roles": '"teacher":"second",', "tolerance": 3e-7,
                      "options": {"gamma": gamma, "length_normalization": length, "single_step": False}} |
                     measured(m, loss(MiniLLMTrainer, gamma, length)) |
                     {"without_trap": measured(m, loss(free, gamma, length))})
    ragged = rollouts()
    for kl in (0.0, 0.1):
        t = trainer(GSPOTokenTrainer, m, options_of(delta=None), loss_type="grpo", temperature=1.0, beta=kl,
                    importance_sampling_level="sequence_token", epsilon_low=0.05, epsilon_high=0.04,
                    top_entropy_quantile=1.0, max_completion_length=12)
        inputs = apart(ragged) | {"advantages": column(ragged, "advantage"), "old_per_token_logps": padded(ragged, "old"),
                                  "ref_per_token_logps": padded(ragged, "ref")}
        cases.append({"name": "gspo-token" + ("/k3" if kl else ""), "class": "GRPOTrainer (gspo_token)",
                      "plugin": "grpo", "options": {"loss": "gspo_token", "clip": 0.05, "clip_high": 0.04} |
                      ({"kl": kl, "kl_estimator": "k3"} if kl else {})} | measured(m, t._compute_loss(m, inputs)))
    return {"data": "prompts", "batch": {"seqs": ragged, "max_tokens": 12}, "fresh": {"seqs": fresh, "max_tokens": 12},
            "cases": cases}


DROPPED = {"bco": bco, "online": online, "prm": prm, "ppo": ppo, "minillm": minillm}


def main():
    names = [a for a in sys.argv[2:] if not a.startswith("--")]
    every = DROPPED if "--dropped" in sys.argv else FAMILIES
    (GOLDEN / "trl").mkdir(exist_ok=True)
    for name, make in every.items():
        if names and name not in names:
            continue
        out = {"trl": trl.__version__, "torch": torch.__version__} | make()
        text = json.dumps(out)
        for key in ('{"name"', '{"prompt"', '"cases"', '"grad"', '"without_trap"'):
            text = text.replace(key, "\n" + key)
        (GOLDEN / "trl" / f"{name}.json").write_text(text + "\n")
        print(name, len(out["cases"]), "cases", len(text), "bytes")


if __name__ == "__main__":
    main()
