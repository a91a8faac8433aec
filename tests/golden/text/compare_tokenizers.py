"""Compares `dowel tokenize` with Hugging Face tokenizers on real tokenizers: ids and round trips.

    python3 compare_tokenizers.py --dowel build/core/dowel [--strings 3400] [--sweep] NAME=FOLDER...

A folder holds tokenizer.json. For every tokenizer it prints one line of a table; --sweep adds how
many of some 130,000 code points give other ids. Ends with 1 when anything differs. Vendors' files
are not part of this repository; how to get them is in CONTRIBUTING.md.
Made with tokenizers 0.23.3; no randomness outside random.Random(7).
"""
import argparse
import copy
import json
import os
import random
import subprocess
import sys
import unicodedata

from tokenizers import Tokenizer

RANGES = [(0x20, 0x7F)] * 6 + [
    (0, 0x20), (0x7F, 0xA0), (0xA0, 0x250), (0x250, 0x300), (0x300, 0x370), (0x370, 0x400),
    (0x400, 0x530), (0x530, 0x590), (0x590, 0x600), (0x600, 0x700), (0x700, 0x900), (0x900, 0xA00),
    (0xA00, 0xE00), (0xE00, 0xE80), (0xE80, 0x1000), (0x1000, 0x1100), (0x1100, 0x1200),
    (0x1200, 0x1400), (0x1400, 0x1700), (0x1700, 0x1E00), (0x1E00, 0x2000), (0x2000, 0x2070),
    (0x2070, 0x20D0), (0x20D0, 0x2100), (0x2100, 0x2800), (0x2E80, 0x3040), (0x3040, 0x3130),
    (0x4E00, 0x9FFF), (0xA000, 0xAC00), (0xAC00, 0xD7A4), (0xF900, 0xFB00), (0xFB00, 0xFE00),
    (0xFE00, 0xFE10), (0xFE20, 0xFE70), (0xFF00, 0xFFEF), (0x10000, 0x10400), (0x12000, 0x12400),
    (0x1D400, 0x1D7FF), (0x1F000, 0x1F300), (0x1F300, 0x1FAFF), (0x20000, 0x20400),
    (0xE0000, 0xE01EF), (0x10FF00, 0x10FFFF)]
WORDS = ("the of and I'm don't I'LL we've 's 'S \u017f '\u017f can't 2024 3.14159 1,000,000 \u00b2 "
         "\u00bd \u0663\u0664 \u2460 \u2167 hello World ... != === {} [] () -> def f(x): return x+1 "
         "#include <stdio.h> /* */ // https://example.org/a?b=c&d=%20 user@example.org \\n \\u0041 "
         "<0x0A> <0x41> <0xff> \u2581 \u2581\u2581the \u0120the \u010a _pin keyword camelCaseWord "
         "HTTPServer \u00e9 e\u0301 \u1e9e \u0130 \u03a3\u03c2 \ufb01 \u212b \u1100\u1161\u11a8 "
         "\u0301 \u200d \u200b \u2060 \ufeff \ufffd \u0085 \u180e \u3000 \u2028 \u00a0 \u202e "
         "na\u00efve Gr\u00f6\u00dfe \u0447\u0435\u043b\u043e\u0432\u0435\u043a "
         "\u65e5\u672c\u8a9e\u306e \u30c6\u30ad\u30b9\u30c8 \u4e2d\u6587\u5b57\u7b26 \ud55c\uad6d\uc5b4 "
         "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea "
         "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 Vi\u1ec7t "
         "\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea "
         "1\ufe0f\u20e3 \u2764\ufe0f \U0001f3f4\U000e0067\U000e0062\U000e007f").split(" ")
SPACES = ["", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000"]
CODE = """def fit(hole, pin):
    if hole.width < pin.width:
\treturn None  # mm
    return {"depth": hole.depth - pin.depth, 'list': [1, 2.5e-3, 0xFF]}

for (int i = 0; i < n; i++) { sum += a[i]->b.length(); }\r\n
SELECT * FROM boards WHERE wood = 'oak' AND price <= 12.50;\n\n\n<div class="x">&amp;</div>
"""


def from_range(rng):
    return "".join(chr(rng.randrange(*r)) for r in [rng.choice(RANGES)]
                   for _ in range(rng.randint(1, 7)))


def look_alike(rng, special):
    s = rng.choice(special)
    kind = rng.randrange(6)
    if kind == 0:
        return s[:rng.randint(0, len(s))]
    if kind == 1:
        return s[rng.randint(0, len(s)):]
    if kind == 2:
        return s.upper()
    if kind == 3 and len(s) > 1:
        at = rng.randrange(1, len(s))
        return s[:at] + rng.choice([" ", "\u200b", "a", s]) + s[at:]
    return s


def one(rng, kind, special):
    if kind == 0:
        return "".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(rng.randint(1, 25)))
    if kind == 1:
        return "".join(from_range(rng) for _ in range(rng.randint(1, 12)))
    if kind == 2:
        data = bytes(rng.randrange(256) for _ in range(rng.randint(1, 60)))
        return data.decode("utf8", rng.choice(["replace", "ignore"]))
    if kind == 3:
        return "".join(rng.choice(SPACES) + look_alike(rng, special) + rng.choice(WORDS + [" "])
                       for _ in range(rng.randint(1, 8)))
    if kind == 4:
        at = rng.randrange(len(CODE))
        return CODE[at:at + rng.randint(1, 200)]
    if kind == 5:
        return rng.choice(WORDS + SPACES + ["a", "\u2581", "\u00e9", "=", "\U0001f600"]) \
            * rng.randint(1, 120)
    marks = "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randint(1, 5)))
    return rng.choice(WORDS) + marks + rng.choice(SPACES) + from_range(rng) + marks


def strings(n, added):
    rng = random.Random(7)
    special = [t["content"] for t in added] or ["<s>"]
    out = ["", " ", "  ", "\n", " \n", "\u2581", " \u2581 ", CODE, "a" * 3000, " " * 300,
           "\u65e5" * 500]
    while len(out) < n:
        s = one(rng, len(out) % 7, special)
        out.append("".join(c for c in s if not 0xD800 <= ord(c) < 0xE000))
    return out


def dowel(args, folder, options, rows):
    text = "".join(json.dumps(r) + "\n" for r in rows)
    p = subprocess.run([args.dowel, "tokenize", folder, "-", *options], input=text,
                       capture_output=True, encoding="utf8", check=False)
    if p.returncode:
        sys.exit(f"{folder}: {p.stderr}")
    return [json.loads(line) for line in p.stdout.split("\n") if line]


NOWHERE = "\U0010fffd" * 9


class Oracle:
    """Hugging Face's tokenizer, with one thing changed: its Unigram model finds special tokens in
    any text, because they are pieces of the model; so does BPE with ignore_merges. dowel takes them
    only where it is asked to, so the pieces get a spelling that no text has, and ids of added
    tokens are mapped back."""

    def __init__(self, data):
        data = copy.deepcopy(data)
        self.decoder = Tokenizer.from_str(json.dumps(data))
        self.ids = {}
        hidden = {t["content"] for t in data["added_tokens"] if t["special"]}
        model = data["model"]
        if model["type"] == "Unigram" or model.get("ignore_merges"):
            if model["type"] == "Unigram":
                model["vocab"] = [[NOWHERE * (t in hidden) + t, s] for t, s in model["vocab"]]
            else:
                for merge in model["merges"]:
                    left, right = merge.split(" ") if isinstance(merge, str) else merge
                    hidden -= {left, right, left + right}
                model["vocab"] = {NOWHERE * (t in hidden) + t: i for t, i in model["vocab"].items()}
                unk = model.get("unk_token")
                model["unk_token"] = NOWHERE + unk if unk in hidden else unk
            self.encoder = Tokenizer.from_str(json.dumps(data))
            self.ids = {self.encoder.token_to_id(t["content"]): t["id"]
                        for t in data["added_tokens"]}
        else:
            self.encoder = self.decoder

    def encode(self, text, parse, add):
        self.encoder.encode_special_tokens = not parse
        ids = self.encoder.encode(text, add_special_tokens=add).ids
        return [self.ids.get(i, i) for i in ids]

    def decode(self, ids, skip):
        return self.decoder.decode(ids, skip_special_tokens=skip)


def show(name, what, s, want, got):
    at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    print(f"  {name} {what}: {s[:60]!r}: at {at}: wanted {want[at:at + 8]!r}, "
          f"found {got[at:at + 8]!r}")


def ids_differ(args, name, folder, texts, oracle):
    bad, tokens, seen = 0, 0, []
    for options in ["--no-special"], [], ["--parse-special"]:
        rows = dowel(args, folder, options, [{"text": t} for t in texts])
        parse = "--parse-special" in options
        for t, row in zip(texts, rows):
            want = oracle.encode(t, parse, "--no-special" not in options)
            tokens += len(want)
            if parse:
                seen.append(want)
            if want != row["ids"]:
                bad += 1
                if bad <= args.show:
                    show(name, " ".join(options) or "encode", t, want, row["ids"])
    return bad, tokens, seen


def text_differs(args, name, folder, seen, oracle):
    rng = random.Random(3)
    tok = oracle.decoder
    known = [i for i in range(tok.get_vocab_size()) if tok.id_to_token(i) is not None]
    small = [i for i in known if i < 300]
    lists = seen + [[rng.choice(known if k % 2 else small) for _ in range(rng.randint(0, 40))]
                    for k in range(len(seen))]
    bad = 0
    for options, skip in ([], False), (["--no-special"], True):
        rows = dowel(args, folder, ["--decode", *options], [{"ids": i} for i in lists])
        for ids, row in zip(lists, rows):
            want = oracle.decode(ids, skip)
            if want != row["text"]:
                bad += 1
                if bad <= args.show:
                    show(name, "decode", str(ids), want, row["text"])
    return bad, 2 * len(lists)


def sweep(args, folder, oracle):
    points = [c for c in (*range(0x20000), *range(0x20000, 0x33480, 97), *range(0xE0000, 0xE0200))
              if not 0xD800 <= c < 0xE000]
    texts = ["a%s1 %s  %s\n" % (chr(c), chr(c), chr(c)) for c in points]
    rows = dowel(args, folder, ["--no-special"], [{"text": t} for t in texts])
    bad = [c for c, t, row in zip(points, texts, rows)
           if oracle.encode(t, False, False) != row["ids"]]
    kinds = {}
    for c in bad:
        kinds.setdefault(unicodedata.category(chr(c)), []).append("%X" % c)
    print("  code points:", len(bad), "of", len(points), "differ",
          {k: (len(v), v[:6]) for k, v in kinds.items()})
    return len(bad)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dowel", required=True)
    p.add_argument("--strings", type=int, default=3400)
    p.add_argument("--show", type=int, default=2, help="differences to print for a tokenizer")
    p.add_argument("--sweep", action="store_true")
    p.add_argument("tokenizer", nargs="+")
    args = p.parse_args()
    bad = 0
    print(f"{'tokenizer':<16}{'strings':>8}{'tokens':>9}{'ids differ':>12}{'decoded':>9}"
          f"{'text differs':>14}")
    for item in args.tokenizer:
        name, folder = item.split("=", 1)
        path = os.path.join(folder, "tokenizer.json")
        if not os.path.exists(path):
            print(f"{name:<16}skipped: no {path}")
            continue
        with open(path, encoding="utf8") as f:
            data = json.load(f)
        texts = strings(args.strings, data["added_tokens"])
        oracle = Oracle(data)
        ids, tokens, seen = ids_differ(args, name, folder, texts, oracle)
        text, decoded = text_differs(args, name, folder, seen, oracle)
        print(f"{name:<16}{len(texts):>8}{tokens:>9}{ids:>12}{decoded:>9}{text:>14}", flush=True)
        bad += ids + text
        if args.sweep:
            sweep(args, folder, oracle)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
