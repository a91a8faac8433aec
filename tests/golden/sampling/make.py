# Which tokens survive the logits warpers of transformers 5.23, in the order in which generate()
# applies them: temperature, top-k, top-p, min-p. torch 2.13; seed 0.
import json
import os

import torch
from transformers.generation.logits_process import (MinPLogitsWarper, TemperatureLogitsWarper,
                                                    TopKLogitsWarper, TopPLogitsWarper)

torch.manual_seed(0)
cases = []
for n in range(40):
    vocab = [5, 40, 300][n % 3]
    logits = (torch.randn(vocab, dtype=torch.float64) * [0.5, 2, 6][n % 4 % 3]).to(torch.float32)
    logits = (logits * 1000).round() / 1000
    if n % 5 == 0:
        logits[: vocab // 2] = logits[vocab // 2 : vocab // 2 * 2]  # ties
    case = {"temperature": [1.0, 0.7, 1.6][n % 3], "top_k": [0, 1, 4, 20][n // 2 % 4],
            "top_p": [1.0, 0.9, 0.35][n // 3 % 3], "min_p": [0.0, 0.1, 0.6][n // 5 % 3]}
    if n % 5 == 0:
        case["top_p"] = 1.0  # where ties are cut depends on the sort
    scores = TemperatureLogitsWarper(case["temperature"])(None, logits[None].double())
    if case["top_k"]:
        scores = TopKLogitsWarper(min(case["top_k"], vocab))(None, scores)
    if case["top_p"] < 1:
        scores = TopPLogitsWarper(case["top_p"])(None, scores)
    if case["min_p"] > 0:
        scores = MinPLogitsWarper(case["min_p"])(None, scores)
    case["logits"] = [round(float(x), 3) for x in logits]
    case["kept"] = [i for i, x in enumerate(scores[0].tolist()) if x != float("-inf")]
    cases.append(case)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "kept.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
