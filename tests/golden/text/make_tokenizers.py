"""Makes the tokenizer fixtures: one small byte-level BPE vocabulary under five pre-tokenisers, and
the ids Hugging Face tokenizers gives for many texts.

Made with tokenizers 0.23.3: python3 make_tokenizers.py (writes into its own folder; no randomness
outside random.Random(11)).
"""
import copy
import json
import os
import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
RNG = random.Random(11)
WORDS = (
    "\n".join(
        [
            "A dowel is a small pin of wood that holds two boards together. It's plain, and it "
            "doesn't show: you've drilled the holes, they'll line up, we're done, I'm sure.",
            "The joiner said: measure twice, cut once. 12 pins of 6 mm, 3.14 inches, 1,000 boards "
            "in 2024 and 2025; 50% off.",
            "def fit(hole, pin):\n    if hole.width < pin.width:\n        return None\n    return "
            "hole.depth - pin.depth  # mm\n",
            "for (int i = 0; i < n; i++) { sum += board[i].length; }\n\n\n",
            "Der Dübel hält die Bretter. Größe und Länge müssen stimmen.",
            "La cheville relie deux planches ; où est-elle ? Là-bas, déjà collée.",
            "Клей и дерево держат вместе. Где доска?",
            "木の釘は二枚の板をつなぐ。",
            "Human: which glue?\n\nAssistant: White glue is fine for wood.",
        ]
    )
    + "\n"
) * 3

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")


def byte_level(use_regex, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
            "use_regex": use_regex}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*stages):
    return {"type": "Sequence", "pretokenizers": list(stages)}


def train():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        [WORDS],
        trainers.BpeTrainer(vocab_size=560, special_tokens=SPECIAL, show_progress=False,
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    return json.loads(tok.to_str())


def added(data, content, **flags):
    used = [t["id"] for t in data["added_tokens"]] + list(data["model"]["vocab"].values())
    token = {"id": max(used) + 1, "content": content, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": False}
    token.update(flags)
    data["added_tokens"].append(token)


def variants():
    base = train()
    gpt2 = copy.deepcopy(base)
    gpt2["pre_tokenizer"] = byte_level(True)
    smollm2 = copy.deepcopy(base)
    smollm2["pre_tokenizer"] = sequence({"type": "Digits", "individual_digits": True},
                                        byte_level(True))
    llama3 = copy.deepcopy(base)
    llama3["pre_tokenizer"] = sequence(split(LLAMA3), byte_level(False))
    llama3["model"]["ignore_merges"] = True
    # Tokens that no merge makes: only taking a whole word reaches them.
    for word in ["\u0120wooden", "\u0120123", "2023"]:
        llama3["model"]["vocab"][word] = max(llama3["model"]["vocab"].values()) + 1
    llama3["model"]["merges"] = [" ".join(m) for m in llama3["model"]["merges"]]
    llama3["post_processor"] = {
        "type": "Sequence",
        "processors": [
            byte_level(True),
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                        {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                      {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1],
                                                 "tokens": ["<|im_start|>"]}}},
        ],
    }
    qwen2 = copy.deepcopy(base)
    qwen2["normalizer"] = {"type": "NFC"}
    qwen2["pre_tokenizer"] = sequence(split(QWEN2), byte_level(False))
    added(qwen2, "<think>")
    added(qwen2, "\u00e9!", normalized=True)
    strange = copy.deepcopy(base)
    strange["pre_tokenizer"] = byte_level(True, prefix=True)
    added(strange, "<left>", lstrip=True)
    added(strange, "<right>", rstrip=True, special=True)
    added(strange, "<both>", lstrip=True, rstrip=True, normalized=True, special=True)
    added(strange, "pin", single_word=True)
    added(strange, "<|im_", normalized=True)
    return {"gpt2": gpt2, "smollm2": smollm2, "llama3": llama3, "qwen2": qwen2, "strange": strange}


def texts():
    out = [
        "", " ", "  ", "\n", "\n\n", " \n ", "\t\t", "a", " a", "hello", "Hello, world!",
        "  two  spaces  ", "tab\tand\r\nnewline\r\n", "I'm you're we've they'll he'd can't it's",
        "I'M YOU'RE WE'VE THEY'LL HE'D CAN'T IT'S", "'sdf 't 'ſ", "0 1 12 123 1234 12345 3.14 1e-5",
        "wooden dowel 123 2023", " wooden 123", "x²½①Ⅷ٣४", "naïve café cafe\u0301 e\u0301!",
        "Å\u212b\u0041\u030a", "日本語のテキスト", "Ελληνικά", "עברית", "العربية", "हिन्दी", "ไทย", "한국어 한",
        "👍🏽👩‍👩‍👧‍👦🇩🇪", "\x00\x01\x02\x7f", "a\x00b", "\u00a0\u3000\u2028\u2029\u0085\u180e\u200b x",
        "\ufeffbom", "\ufffd", "<|endoftext|>", "a<|im_end|>b", " <|im_start|> user", "<|im_",
        "<|im_<|im_end|>", "<|im_start", "<think>so</think>", "a <left> b", "a  <right>  b",
        " <both> <both> ", "pin pins pin.pin _pin pin", "<left><right><both>pin",
        "if (a[i] != 0) { return -1; } // ok\n\treturn 0;\n", "!!!???...---===###", "a" * 60,
        "ab" * 40, " " * 50 + "x", "\n" * 20, WORDS[:200], "Человек и дерево", "Größe—Länge…“quoted”",
    ]
    pool = WORDS.split(" ") + out[:60]
    for _ in range(60):
        out.append("".join(RNG.choice(pool) + RNG.choice(["", " ", "  ", "\n"])
                           for _ in range(RNG.randint(1, 6)))[:160])
    for _ in range(40):
        out.append(bytes(RNG.randrange(256) for _ in range(RNG.randint(1, 24))).decode("utf8",
                                                                                      "replace"))
    return out


def main():
    cases = open(os.path.join(HERE, "cases.jsonl"), "w", encoding="utf8")
    for name, data in variants().items():
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        with open(os.path.join(HERE, name + ".json"), "w", encoding="utf8") as f:
            f.write(text + "\n")
        tok = Tokenizer.from_str(text)
        for s in texts():
            row = {"tokenizer": name, "text": s}
            tok.encode_special_tokens = True
            row["ids"] = tok.encode(s, add_special_tokens=True).ids
            row["decoded"] = tok.decode(row["ids"], skip_special_tokens=True)
            tok.encode_special_tokens = False
            parsed = tok.encode(s, add_special_tokens=False).ids
            if parsed != row["ids"]:
                row["parsed"] = parsed
            if row["decoded"] == s:
                del row["decoded"]
            cases.write(json.dumps(row, separators=(",", ":")) + "\n")
        for k in range(40):
            ids = [RNG.randrange(tok.get_vocab_size() if k % 2 else 259)
                   for _ in range(RNG.randint(1, 12))]
            cases.write(json.dumps({"tokenizer": name, "decode": ids,
                                    "decoded": tok.decode(ids, skip_special_tokens=False)},
                                   separators=(",", ":")) + "\n")
    cases.close()


if __name__ == "__main__":
    main()
