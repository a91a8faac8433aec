"""Encoding speed of dowel beside Hugging Face tokenizers, one thread each, the same texts, in one
run.

    python3 bench_tokenizers.py --bench build/tests/bench/bench_tokenizers --text FILE... \\
        NAME=FOLDER...

Texts are cut at blank lines into pieces of some 2,000 characters. Both sides hold the pieces in
memory and encode them one by one; each gets --rounds turns, one after the other, and the least
time of the processor counts, so that others on the machine matter less. dowel's figure is of the library (bench_tokenizers), without reading or writing rows.
Made with tokenizers 0.23.3.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer


def pieces(paths):
    out = []
    for path in paths:
        with open(path, encoding="utf8", errors="replace") as f:
            text = f.read()
        part = ""
        for block in text.split("\n\n"):
            part += block + "\n\n"
            if len(part) > 2000:
                out.append(part)
                part = ""
        out.append(part)
    return [p for p in out if p]


def theirs(tok, texts):
    start = time.process_time()
    n = sum(len(tok.encode(t, add_special_tokens=False)) for t in texts)
    return time.process_time() - start, n


def ours(bench, folder, file):
    out = subprocess.run([bench, folder, file], capture_output=True, text=True, check=True).stdout
    got = json.loads(out)
    return got["seconds"], got["tokens"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bench", required=True)
    p.add_argument("--text", nargs="+", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("tokenizer", nargs="+")
    args = p.parse_args()
    texts = pieces(args.text)
    size = sum(len(t.encode()) for t in texts) / 1e6
    print(f"{len(texts)} texts, {size:.2f} MB, one thread, best of {args.rounds}")
    print(f"{'tokenizer':<16}{'tokens':>9}{'dowel MB/s':>12}{'theirs MB/s':>13}{'times':>8}")
    with tempfile.NamedTemporaryFile("wb", suffix=".bin") as f:
        for t in texts:
            data = t.encode()
            f.write(len(data).to_bytes(4, "little") + data)
        f.flush()
        for item in args.tokenizer:
            name, folder = item.split("=", 1)
            path = os.path.join(folder, "tokenizer.json")
            if not os.path.exists(path):
                print(f"{name:<16}skipped: no {path}")
                continue
            tok = Tokenizer.from_file(path)
            tok.encode_special_tokens = True
            a, b = [], []
            for _ in range(args.rounds):
                a.append(ours(args.bench, folder, f.name))
                b.append(theirs(tok, texts))
            same = "" if a[0][1] == b[0][1] else f"  (theirs {b[0][1]} tokens)"
            fast, slow = size / min(a)[0], size / min(b)[0]
            print(f"{name:<16}{a[0][1]:>9}{fast:>12.2f}{slow:>13.2f}{fast / slow:>8.1f}{same}",
                  flush=True)


main()
