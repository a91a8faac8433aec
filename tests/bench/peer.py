"""Runs the same LoRA steps with TRL and with dowel, in turn, and prints the ratio.

Needs a virtual environment with torch, transformers, trl and peft (versions are printed) and a Hugging Face
folder. Data: for dpo, HH-style rows {"chosen", "rejected"} with the prompt inside, 4 pairs a step; for grpo, rows
{"Body", "Question", "Answer"}, 4 prompts a step with 8 completions of at most 64 tokens and a KL term. Nothing
here is needed to build, test or use dowel.

usage: peer.py dpo|grpo MODEL ROWS.jsonl DOWEL_BINARY [--rows 4] [--steps 3] [--rounds 3] [--only trl|dowel]
"""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

MARK = "\n\nAssistant:"


def pairs(path, n):
    out = []
    for line in open(path, encoding="utf-8"):
        r = json.loads(line)
        at = r["chosen"].rfind(MARK) + len(MARK)
        prompt = r["chosen"][:at]
        if r["rejected"][:at] != prompt:
            continue
        out.append({"prompt": prompt, "chosen": r["chosen"][at:], "rejected": r["rejected"][at:]})
        if len(out) == n:
            break
    return out


def prompts(path, n):
    out = [json.loads(x) for x in open(path, encoding="utf-8")][:n]
    return [{"prompt": f"{r['Body']} {r['Question']} Answer with a number.\n", "answer": str(r["Answer"])} for r in out]


def trl_side(args):
    import time

    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    torch.set_num_threads(args.threads)
    data = [json.loads(x) for x in open(args.data, encoding="utf-8")]
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    tok = AutoTokenizer.from_pretrained(args.model)
    times = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *a, **k):
            self.t = time.perf_counter()

        def on_step_end(self, *a, **k):
            times.append(time.perf_counter() - self.t)

    common = dict(output_dir=tempfile.mkdtemp(), max_steps=args.steps, learning_rate=1e-5, bf16=False, use_cpu=True,
                  gradient_checkpointing=False, report_to=[], save_strategy="no", logging_steps=1, seed=1)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    rest = dict(model=model, train_dataset=Dataset.from_list(data), processing_class=tok, peft_config=lora, callbacks=[Clock()])
    if args.method == "dpo":
        cfg = trl.DPOConfig(per_device_train_batch_size=args.rows, max_length=512, beta=0.1, **common)
        trainer = trl.DPOTrainer(args=cfg, **rest)
    else:
        cfg = trl.GRPOConfig(per_device_train_batch_size=args.rows * 8, num_generations=8, max_completion_length=64,
                             beta=0.04, temperature=1.0, **common)

        def right(completions, answer, **_):
            last = [re.findall(r"-?[0-9][0-9,]*[.]?[0-9]*", c) for c in completions]
            return [float(bool(x) and float(x[-1].replace(",", "")) == float(a)) for x, a in zip(last, answer)]

        trainer = trl.GRPOTrainer(args=cfg, reward_funcs=right, **rest)
    trainer.train()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    steps = sorted(times[1:] or times)
    print("RESULT " + json.dumps({"step_s": steps[len(steps) // 2], "rss_gib": rss,
                                  "versions": [torch.__version__, transformers.__version__, trl.__version__]}))


def dowel_side(args, data):
    recipe = pathlib.Path(args.work) / "peer.lua"
    if args.method == "dpo":
        task = f"""data = d.pairs {{ "{data}", max_tokens = 512, on_long = "cut_prompt" }},
  objective = d.objective "dpo" {{ beta = 0.1 }},"""
    else:
        task = f"""data = d.prompts {{ "{data}" }},
  rollout = {{ samples = 8, temperature = 1.0, max_tokens = 64 }},
  reward = d.reward "match" {{ pattern = "(-?[0-9][0-9,]*[.]?[0-9]*)" }},
  objective = d.objective "grpo" {{ kl = 0.04 }},"""
    recipe.write_text(f"""local d = require "dowel"
return d.recipe {{
  name = "peer", seed = 1,
  model = d.model {{ path = "{pathlib.Path(args.model).resolve()}", adapter = d.lora {{ rank = 16, alpha = 32 }} }},
  {task}
  optimizer = d.adamw {{ lr = 1e-5 }},
  batch = {{ rows = {args.rows} }},
  steps = {args.steps},
}}
""")
    out = pathlib.Path(args.work) / f"run{args.round}"
    p = subprocess.Popen([args.dowel, "run", str(recipe), "--out", str(out), "--quiet", "--threads", str(args.threads)])
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        sys.exit("dowel failed")
    rows_ = [json.loads(x) for x in open(out / "metrics.jsonl", encoding="utf-8")]
    times = [r["step_time"] for r in rows_ if "step_time" in r]
    times = sorted(times[1:] or times)
    return {"step_s": times[len(times) // 2], "rss_gib": usage.ru_maxrss / 2**20}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("method", choices=["dpo", "grpo"])
    ap.add_argument("model")
    ap.add_argument("data")
    ap.add_argument("dowel")
    ap.add_argument("--rows", type=int, default=4)
    ap.add_argument("--steps", type=int, default=3)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--only", choices=["trl", "dowel"])
    ap.add_argument("--trl-child", action="store_true")
    args = ap.parse_args()
    if args.trl_child:
        trl_side(args)
        return
    args.work = tempfile.mkdtemp(prefix="peer")
    data = pathlib.Path(args.work) / "rows.jsonl"
    picked = (pairs if args.method == "dpo" else prompts)(args.data, args.rows * args.steps)
    data.write_text("".join(json.dumps(r) + "\n" for r in picked), encoding="utf-8")
    ratios = []
    for args.round in range(args.rounds):
        ours = theirs = None
        if args.only != "dowel":
            out = subprocess.run([sys.executable, __file__, args.method, args.model, str(data), args.dowel, "--rows", str(args.rows),
                                  "--steps", str(args.steps), "--threads", str(args.threads), "--trl-child"],
                                 capture_output=True, text=True)
            line = [x for x in out.stdout.splitlines() if x.startswith("RESULT ")]
            if not line:
                sys.exit(out.stderr[-2000:])
            theirs = json.loads(line[0][7:])
            print(f"round {args.round} trl   {theirs['step_s']:7.2f} s/step  {theirs['rss_gib']:5.2f} GiB  {theirs['versions']}")
        if args.only != "trl":
            ours = dowel_side(args, data)
            print(f"round {args.round} dowel {ours['step_s']:7.2f} s/step  {ours['rss_gib']:5.2f} GiB")
        if ours and theirs:
            ratios.append(theirs["step_s"] / ours["step_s"])
    if ratios:
        ratios.sort()
        print(f"ratio trl / dowel: median {ratios[len(ratios) // 2]:.2f}  min {ratios[0]:.2f}  max {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
