"""Loads the checkpoints and adapters that dowel writes for every family with transformers and PEFT:
nothing may be missing or left over, and the logits or scores must be those that dowel computed.

    DOWEL_TESTS=tests DOWEL_ARCH_OUT=OUT build/tests/golden/test_arch
    OMP_NUM_THREADS=1 python tests/golden/check_arch.py OUT

(packages as in make_arch.py)
"""
import pathlib
import sys

import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file
from transformers import (AutoModelForCausalLM, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification)

SETTINGS = dict(attn_implementation="eager", dtype="auto")
BUFFERS = (".attn.bias", ".attn.masked_bias")  # of GPT-2, which dowel keeps
ABSENT = ("vision_tower", "multi_modal_projector")  # of gemma3_parts from the beginning
CLASSES = {"lm": AutoModelForCausalLM, "seq": AutoModelForSequenceClassification,
           "tok": AutoModelForTokenClassification}


def load(folder, auto):
    if not (folder / "adapter_config.json").exists():
        model, info = auto.from_pretrained(folder, output_loading_info=True, **SETTINGS)
        info["unexpected_keys"] = {k for k in info["unexpected_keys"] if not k.endswith(BUFFERS)}
        info["missing_keys"] = {k for k in info["missing_keys"] if not any(a in k for a in ABSENT)}
        left = {k: v for k, v in info.items() if v}
        assert not left, f"{folder.name}: {left}"
        return model
    stored = load_file(folder / "adapter_model.safetensors")
    config = PeftConfig.from_pretrained(folder)
    heads = [t for n, t in stored.items() if n.endswith(("score.weight", "classifier.weight"))]
    labels = dict(num_labels=heads[0].shape[0]) if heads else {}
    base = auto.from_pretrained(config.base_model_name_or_path, **labels, **SETTINGS)
    model = PeftModel.from_pretrained(base, folder)
    kept = {n.replace(".modules_to_save.default", "").replace(".default", ""): p
            for n, p in model.named_parameters()}
    for name, tensor in stored.items():
        assert torch.equal(kept[name], tensor), f"{folder.name}: {name} was not loaded"
    lora = {n for n in kept if "lora_" in n}
    assert lora <= set(stored), f"{folder.name}: PEFT adapts more: {lora - set(stored)}"
    return model


def main():
    torch.set_num_threads(1)
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        kind = next((k for k in ("seq", "tok") if folder.name.endswith("_" + k)), "lm")
        model = load(folder, CLASSES[kind]).double().eval()
        want = load_file(folder / "outputs.st")
        worst = 0.0
        for i in range(len(want) // 2):
            ids, out = want[f"ids.{i}"].long()[None], want[f"logits.{i}"].double()
            with torch.no_grad():
                got = model(input_ids=ids).logits[0]
            out = out[-1] if kind == "seq" else out
            worst = max(worst, float((got - out).norm() / out.norm()))
        print(f"{folder.name}: {type(model).__name__}, worst relative distance {worst:.1e}")
        assert worst < 1e-5


if __name__ == "__main__":
    main()
