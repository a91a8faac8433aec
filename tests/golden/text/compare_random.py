"""Compares dowel with Hugging Face tokenizers on tokenizers put together at random: normalisers,
pre-tokenisers, decoders and flags of added tokens around the small models of this folder.

    python3 compare_random.py --dowel build/core/dowel [--files 200] [--seed 1]

Ends with 1 when anything differs, and says what. Where Hugging Face's code panics there is nothing
to compare. Made with tokenizers 0.23.3.
"""
import argparse
import copy
import json
import os
import random
import sys
import tempfile

from compare_tokenizers import Oracle, dowel, strings
from make_sentencepiece import (CHARSMAP, META, bpe, charsmap, metaspace, replace, seq, split,
                                unigram, with_bytes)
from make_tokenizers import LLAMA3, byte_level
from tokenizers import Tokenizer

BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PATTERNS = [{"String": " "}, {"String": META}, {"String": "the"}, {"Regex": "\\s+"},
            {"Regex": "\\p{N}{1,3}"}, {"Regex": LLAMA3}, {"Regex": "[^\\s\\p{L}]"},
            {"Regex": "\\p{Lu}?\\p{Ll}+|\\p{M}"}, {"Regex": "(?<=a)b|\\p{Han}"}]


def normalizer(rng):
    return rng.choice([
        {"type": "NFC"}, {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"},
        {"type": "Lowercase"}, {"type": "StripAccents"}, {"type": "Prepend", "prepend": META},
        {"type": "Strip", "strip_left": rng.random() < 0.5, "strip_right": rng.random() < 0.5},
        replace(rng.choice(PATTERNS), rng.choice(["", META, "xy"])),
        replace({"String": " "}, META),
        {"type": "Precompiled", "precompiled_charsmap": charsmap(CHARSMAP)}])


def pre_tokenizer(rng):
    return rng.choice([
        split(rng.choice(PATTERNS), rng.choice(BEHAVIORS), rng.random() < 0.3),
        {"type": "Digits", "individual_digits": rng.random() < 0.5}, {"type": "Whitespace"},
        {"type": "Punctuation", "behavior": rng.choice(BEHAVIORS)}, {"type": "WhitespaceSplit"},
        metaspace(rng.choice(["always", "never"]), rng.random() < 0.6)])


def decoder(rng):
    return rng.choice([
        {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "ByteLevel"},
        metaspace(rng.choice(["always", "first", "never"])),
        {"type": "Strip", "content": rng.choice([" ", META, "t"]), "start": rng.randrange(3),
         "stop": 0},
        replace(rng.choice(PATTERNS), rng.choice(["", " ", "xy"]))])


def several(rng, make, key, most):
    stages = [make(rng) for _ in range(rng.randrange(most + 1))]
    if len(stages) < 2 and rng.random() < 0.5:
        return stages[0] if stages else None
    return seq(key, *stages)


def add_tokens(rng, data):
    vocab = data["model"]["vocab"]
    known = vocab if isinstance(vocab, dict) else {p[0]: i for i, p in enumerate(vocab)}
    free = max([*known.values(), *(t["id"] for t in data["added_tokens"])]) + 1
    for content in rng.sample(["<x>", "the", " a ", "pin", META + "w", "\u00c9!", "<|im_", "  ",
                               "\ufb01", "12", "e\u0301", "<0x41>"], rng.randrange(6)):
        token = {"id": known.get(content, free), "content": content}
        free += content not in known
        token.update({k: rng.random() < 0.3 for k in ("single_word", "lstrip", "rstrip",
                                                      "normalized", "special")})
        data["added_tokens"].append(token)


def make(rng, models):
    data = copy.deepcopy(rng.choice(models))
    byte = data["model"]["type"] == "BPE" and rng.random() < 0.2
    data["normalizer"] = several(rng, normalizer, "normalizers", 3)
    stages = [pre_tokenizer(rng) for _ in range(rng.randrange(3))]
    # Which piece is the first is a matter of offsets into the text as it came: dowel keeps none, so
    # this scheme is compared without a normaliser that takes characters away.
    if data["normalizer"] is None and rng.random() < 0.5:
        stages.append(metaspace("first", rng.random() < 0.5))
    if byte:
        data["model"]["byte_fallback"] = False
        stages.append(byte_level(rng.random() < 0.5, rng.random() < 0.5))
    data["pre_tokenizer"] = seq("pretokenizers", *stages) if stages else None
    data["decoder"] = several(rng, decoder, "decoders", 4)
    data["post_processor"] = None
    if data["model"]["type"] == "BPE":
        data["model"]["ignore_merges"] = rng.random() < 0.3
        data["model"]["fuse_unk"] = rng.random() < 0.5
    add_tokens(rng, data)
    return data


def answer(call, *args):
    try:
        return call(*args)
    except BaseException as e:  # a panic is no Exception
        if isinstance(e, KeyboardInterrupt):
            raise
        return None


def compare(args, data, folder, texts):
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf8") as f:
        json.dump(data, f, ensure_ascii=False)
    if answer(Tokenizer.from_str, json.dumps(data)) is None:
        return 0, "refused by theirs"
    oracle, bad, n = Oracle(data), [], 0
    seen = []
    for options in ["--no-special"], ["--no-special", "--parse-special"]:
        rows = dowel(args, folder, options + ["--on-bad-row", "skip"], [{"text": t} for t in texts])
        for t, row in zip(texts, rows):
            want = answer(oracle.encode, t, len(options) > 1, False)
            if want is not None and "error" not in row:
                n += 1
                seen.append(want)
                if want != row["ids"]:
                    bad.append((options, t, want, row["ids"]))
    rows = dowel(args, folder, ["--decode"], [{"ids": i} for i in seen])
    for ids, row in zip(seen, rows):
        want = answer(oracle.decode, ids, False)
        if want is not None:
            n += 1
            if want != row["text"]:
                bad.append(("decode", ids, want, row["text"]))
    return n, bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dowel", required=True)
    p.add_argument("--files", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    models = [bpe(), with_bytes(bpe()), unigram()]
    rng, total, wrong = random.Random(args.seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for k in range(args.files):
            data = make(rng, models)
            texts = rng.sample(strings(700, data["added_tokens"]), 60)
            try:
                n, bad = compare(args, data, folder, texts)
            except SystemExit as e:  # an added token of which the normaliser leaves nothing
                print(f"file {k}: refused by dowel: {str(e).strip().rsplit('/', 1)[-1]}")
                continue
            total += n
            if isinstance(bad, str) or not bad:
                continue
            wrong += 1
            short = {k: v for k, v in data.items() if k != "model"}
            short["added_tokens"] = data["added_tokens"][3:]
            print(f"file {k}: {len(bad)} of {n} differ:", json.dumps(short)[:1500])
            for what in bad[:2]:
                print("   ", *(repr(x)[:300] for x in what))
    print(f"{args.files} files, {total} comparisons, {wrong} files differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
