"""Ten optimiser steps by PyTorch in float64: writes optim.txt beside this script.

Made with torch 2.13.0 (CPU), seed 7. Start values and gradients are float32 numbers, so that both
builds of the engine start alike. One line a case: name and options; then one line of w at the start;
then for each step a line of gradients and a line of w after the step. Numbers are C hexadecimal floats.
"""

import pathlib

import torch

N, STEPS = 11, 10
CASES = [
    ("adamw", dict(lr=1e-2, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0, momentum=0.0, grad_scale=1.0)),
    ("adamw", dict(lr=3e-2, beta1=0.8, beta2=0.95, eps=1e-3, decay=0.1, momentum=0.0, grad_scale=0.25)),
    ("sgd", dict(lr=5e-2, beta1=0.0, beta2=0.0, eps=0.0, decay=0.01, momentum=0.0, grad_scale=1.0)),
    ("sgd", dict(lr=5e-2, beta1=0.0, beta2=0.0, eps=0.0, decay=0.01, momentum=0.9, grad_scale=0.5)),
]


def line(t):
    return " ".join(float(v).hex() for v in t)


def main():
    gen = torch.Generator().manual_seed(7)
    out = []
    for name, o in CASES:
        w = torch.nn.Parameter(torch.randn(N, generator=gen).double())
        if name == "adamw":
            opt = torch.optim.AdamW([w], lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"],
                                    weight_decay=o["decay"], foreach=False)
        else:
            opt = torch.optim.SGD([w], lr=o["lr"], momentum=o["momentum"], weight_decay=o["decay"],
                                  foreach=False)
        keys = ("lr", "beta1", "beta2", "eps", "decay", "momentum", "grad_scale")
        out.append(name + " " + line(o[k] for k in keys))
        out.append(line(w.detach()))
        for _ in range(STEPS):
            g = torch.randn(N, generator=gen)
            out.append(line(g))
            w.grad = g.double() * o["grad_scale"]
            opt.step()
            out.append(line(w.detach()))
    pathlib.Path(__file__).with_name("optim.txt").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
