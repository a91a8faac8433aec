"""Loads the classification checkpoints and adapters that dowel writes with transformers and PEFT:
nothing may be missing or left over, and the scores must be those that dowel computed.

    DOWEL_TESTS=tests DOWEL_HEADS_OUT=OUT build/tests/golden/test_heads
    OMP_NUM_THREADS=1 python tests/golden/check_heads.py OUT

(packages as in make_heads.py)
"""
import json
import pathlib
import sys

import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

PAD = 0


def load(folder, auto):
    settings = dict(attn_implementation="eager", dtype=torch.float32)
    if not (folder / "adapter_config.json").exists():
        model, info = auto.from_pretrained(folder, output_loading_info=True, **settings)
        left = {k: v for k, v in info.items() if v}
        assert not left, f"{folder.name}: {left}"
        return model
    stored = load_file(folder / "adapter_model.safetensors")
    config = PeftConfig.from_pretrained(folder)
    base = auto.from_pretrained(config.base_model_name_or_path, pad_token_id=PAD,
                                num_labels=stored["base_model.model.score.weight"].shape[0],
                                **settings)
    model = PeftModel.from_pretrained(base, folder)
    kept = {n.replace(".modules_to_save.default", "").replace(".default", ""): p
            for n, p in model.named_parameters()}
    for name, tensor in stored.items():
        assert torch.equal(kept[name], tensor), f"{folder.name}: {name} was not loaded"
    return model


def run(model, rows, token):
    """The scores, one sequence at a time and as a padded batch (under a window a padded row sees
    no key at all, and transformers gives NaN: not there)."""
    width = max(map(len, rows))
    ids = torch.tensor([r + [PAD] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([r])).logits[0] for r in rows]
        yield torch.cat([x.flatten() for x in alone])
        if getattr(model.config, "sliding_window", None) is None:
            out = model(input_ids=ids, attention_mask=mask).logits
            yield torch.cat([(out[i, :len(r)] if token else out[i]).flatten()
                             for i, r in enumerate(rows)])


def main():
    torch.set_num_threads(1)
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        token = folder.name.endswith("_tok")
        model = load(folder, AutoModelForTokenClassification if token
                     else AutoModelForSequenceClassification).double().eval()
        want = json.loads((folder / "scores.json").read_text())
        rows, scores = want["sequences"], torch.tensor(want["scores"], dtype=torch.float64)
        worst = max(float((got - scores).abs().max()) for got in run(model, rows, token))
        print(f"{folder.name}: {type(model).__name__}, {scores.numel()} scores, worst {worst:.1e}")
        assert worst < 1e-5


if __name__ == "__main__":
    main()
