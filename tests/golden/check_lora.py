"""Loads the adapters that dowel writes with PEFT: nothing may be missing or left over, and the logits
must be those that PEFT gave for the adapters dowel read.

    DOWEL_TESTS=tests DOWEL_LLAMA_OUT=OUT build/tests/golden/test_llama
    OMP_NUM_THREADS=1 python tests/golden/check_lora.py OUT

(packages as in make_llama.py)
"""
import json
import pathlib
import sys
import warnings

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaForCausalLM


def check(folder):
    golden = pathlib.Path(__file__).parent / "llama" / folder.name
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = LlamaForCausalLM.from_pretrained(base, attn_implementation="eager", dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # keys that are missing
        model = PeftModel.from_pretrained(model, folder).double().eval()
    wanted = {k.replace(".default", "") for k, _ in model.named_parameters() if "lora_" in k}
    found = set(load_file(folder / "adapter_model.safetensors"))
    assert wanted == found, wanted ^ found
    expected = load_file(golden / "expected.safetensors")
    worst = 0.0
    for i, row in enumerate(json.loads((golden / "expected.json").read_text())["sequences"]):
        with torch.no_grad():
            got = model(torch.tensor([row["ids"]])).logits[0].float()
        want = expected[f"logits.{i}"]
        worst = max(worst, float((got - want).norm() / want.norm()))
    assert worst < 1e-6, worst
    print(f"{folder.name}: {len(found)} tensors, worst relative distance of logits {worst:.1e}")


if __name__ == "__main__":
    folders = sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir())
    assert folders, "no folders"
    for folder in folders:
        check(folder)
