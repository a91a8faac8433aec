"""Makes the fixtures for models as SentencePiece has them: small BPE vocabularies over characters
with tokens of single bytes, Unigram ones, and every normaliser, pre-tokeniser and decoder beside
them; and what Hugging Face tokenizers gives for many texts.

Made with tokenizers 0.23.3: python3 make_sentencepiece.py (writes into its own folder; no randomness
outside random.Random).
"""
import base64
import copy
import json
import math
import os
import random
import struct

from compare_tokenizers import Oracle
from make_tokenizers import HERE, WORDS, texts
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

META = "\u2581"
SPECIAL = ["<unk>", "<s>", "<|im_end|>"]
CHARSMAP = {"\ufb01": "fi", "\u2460": "1", "e\u0301": "\u00e9", "\uff21": "A", "\u3000": " ",
            "\u00a0": " ", "\u200b": "", "\u0301": "'", "\u1100\u1161": "ga", "\t": " ", "\n": " ",
            "\u00b2": "2", "\u2026": "...", "\u65e5": "\u65e5\u65e5"}


def charsmap(rules):
    """The binary form: a double-array trie over the bytes of the keys, then the replacements."""
    blob, place = b"", {}
    for to in sorted(set(rules.values())):
        place[to] = len(blob)
        blob += to.encode() + b"\0"
    root = {}
    for key, to in rules.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = place[to]
    unit, taken = {0: 0}, {0}
    queue = [(0, 0, root)]
    while queue:
        at, label, node = queue.pop(0)
        base = 1
        while any(base ^ c in taken for c in node):
            base += 1
        taken.update(base ^ c for c in node)
        unit[at] = label | (0 in node) << 8 | (at ^ base) << 10
        for c, child in node.items():
            if c:
                queue.append((base ^ c, c, child))
            else:
                unit[base] = child | 1 << 31
    size = (max(unit) // 256 + 1) * 256
    trie = b"".join(struct.pack("<I", unit.get(i, 0)) for i in range(size))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + blob).decode()


def metaspace(scheme="always", cut=True):
    return {"type": "Metaspace", "replacement": META, "prepend_scheme": scheme, "split": cut}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def seq(key, *stages):
    return {"type": "Sequence", key: list(stages)}


def replace(what, to):
    return {"type": "Replace", "pattern": what, "content": to}


def bos():
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                     text],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}


def train(trainer, model):
    tok = Tokenizer(model)
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.train_from_iterator([WORDS], trainer)
    return json.loads(tok.to_str())


def bpe():
    data = train(trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, show_progress=False),
                 models.BPE(unk_token="<unk>", fuse_unk=True))
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    return data


def with_bytes(data):
    vocab = data["model"]["vocab"]
    for byte in range(256):
        vocab["<0x%02X>" % byte] = max(vocab.values()) + 1
    data["model"]["byte_fallback"] = True
    return data


def added(data, content, **flags):
    vocab = data["model"]["vocab"]
    known = vocab if isinstance(vocab, dict) else {p[0]: i for i, p in enumerate(vocab)}
    free = max([*known.values(), *(t["id"] for t in data["added_tokens"])]) + 1
    token = {"id": known.get(content, free), "content": content,
             "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": False, **flags}
    data["added_tokens"].append(token)


def flags(data):
    added(data, "<left>", lstrip=True)
    added(data, "<right>", rstrip=True, special=True)
    added(data, "<both>", lstrip=True, rstrip=True, normalized=True, special=True)
    added(data, "pin", single_word=True)
    added(data, "<|im_", normalized=True)
    return data


LLAMA_DECODER = seq("decoders", replace({"String": META}, " "), {"type": "ByteFallback"},
                    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})


def bpe_variants():
    llama = with_bytes(bpe())
    llama["normalizer"] = seq("normalizers", {"type": "Prepend", "prepend": META},
                              replace({"String": " "}, META))
    llama.update(pre_tokenizer=None, decoder=LLAMA_DECODER, post_processor=bos())
    mistral = flags(with_bytes(bpe()))
    mistral.update(normalizer=None, pre_tokenizer=metaspace("first", False), decoder=LLAMA_DECODER,
                   post_processor=bos())
    gemma = with_bytes(bpe())
    gemma["normalizer"] = replace({"String": " "}, META)
    gemma["pre_tokenizer"] = split({"String": " "}, "MergedWithPrevious")
    gemma["decoder"] = seq("decoders", *LLAMA_DECODER["decoders"][:3])
    added(gemma, "\n\n")
    added(gemma, META * 2, normalized=True)
    always = flags(bpe())
    always["normalizer"] = {"type": "NFKC"}
    always["decoder"] = metaspace()
    always["model"]["fuse_unk"] = False
    always["model"]["ignore_merges"] = True
    splits = flags(bpe())
    del splits["model"]["unk_token"]
    splits["normalizer"] = seq("normalizers", {"type": "NFD"}, replace({"Regex": "\\s{2,}"}, " "))
    splits["pre_tokenizer"] = seq(
        "pretokenizers", split({"String": "the"}, "MergedWithNext"),
        split({"Regex": "[aeiou]"}, "Contiguous"), split({"Regex": "[0-9]+|\\p{L}+"}, "Removed", True),
        split({"Regex": "n"}, "MergedWithPrevious"), {"type": "Digits", "individual_digits": False})
    splits["decoder"] = None
    return {"llama2": llama, "mistral": mistral, "gemma": gemma, "always": always, "splits": splits}


def unigram():
    """Hugging Face's trainer of Unigram models gives others every time, so this one is made by
    hand: the tokens of the BPE model with how often they occur in the text."""
    data = bpe()
    text = META + WORDS.replace(" ", META)
    count = {t: max(1, text.count(t)) for t in data["model"]["vocab"]}
    total = sum(count.values())
    vocab = [[t, 0.0 if t in SPECIAL else round(math.log(count[t] / total) + 0.3 * len(t), 6)]
             for t in sorted(count, key=data["model"]["vocab"].get)]
    data["model"] = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}
    return data


def unigram_variants():
    base = unigram()
    uni = copy.deepcopy(base)
    uni["normalizer"] = seq("normalizers",
                            {"type": "Precompiled", "precompiled_charsmap": charsmap(CHARSMAP)},
                            replace({"Regex": " {2,}"}, " "))
    uni.update(pre_tokenizer=seq("pretokenizers", {"type": "WhitespaceSplit"}, metaspace()),
               decoder=metaspace(), post_processor=bos())
    over = copy.deepcopy(base)
    over["model"]["vocab"] += [["<0x%02X>" % b, -20.0] for b in range(256)]
    over["model"]["byte_fallback"] = True
    flags(over)
    over["normalizer"] = seq("normalizers", {"type": "NFKD"}, {"type": "StripAccents"},
                             {"type": "Lowercase"}, {"type": "Strip", "strip_left": True,
                                                     "strip_right": True})
    over["pre_tokenizer"] = seq("pretokenizers", {"type": "Whitespace"},
                                {"type": "Punctuation", "behavior": "Contiguous"},
                                metaspace("never"))
    over["decoder"] = seq("decoders", {"type": "ByteFallback"},
                          {"type": "Strip", "content": "t", "start": 1, "stop": 0},
                          metaspace("first"), replace({"Regex": "[.]{2}"}, "!"))
    return {"unigram": uni, "lattice": over}


def main():
    rng = random.Random(12)
    cases = open(os.path.join(HERE, "cases_spm.jsonl"), "w", encoding="utf8")
    strings = texts() + ["<0x41>\u00ff", META, META + "the" + META, "  lead", "trail  ", "ii" * 30,
                         "\u65e5\u672c \u65e5", "\u1100\u1161", "\ufb01n \u2460 \uff21", "x\u0301y"]
    for name, data in {**bpe_variants(), **unigram_variants()}.items():
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        with open(os.path.join(HERE, name + ".json"), "w", encoding="utf8") as f:
            f.write(text + "\n")
        oracle = Oracle(data)
        for s in strings:
            row = {"tokenizer": name, "text": s, "ids": oracle.encode(s, False, True)}
            row["decoded"] = oracle.decode(row["ids"], True)
            parsed = oracle.encode(s, True, False)
            if parsed != row["ids"]:
                row["parsed"] = parsed
            if row["decoded"] == s:
                del row["decoded"]
            cases.write(json.dumps(row, separators=(",", ":")) + "\n")
        size = oracle.decoder.get_vocab_size()
        for _ in range(60):
            ids = [rng.randrange(size - 260 if rng.random() < 0.5 else 0, size)
                   for _ in range(rng.randint(1, 12))]
            ids = [i for i in ids if oracle.decoder.id_to_token(i) is not None]
            cases.write(json.dumps({"tokenizer": name, "decode": ids,
                                    "decoded": oracle.decode(ids, False)},
                                   separators=(",", ":")) + "\n")
    cases.close()


if __name__ == "__main__":
    main()
