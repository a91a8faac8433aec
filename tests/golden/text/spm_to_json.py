"""Turns a SentencePiece Unigram model into tokenizer.json files as T5, XLM-RoBERTa and Llama have
them, so that the comparison has Unigram tokenizers with a precompiled character map.

    python3 spm_to_json.py MODEL OUTPUT_FOLDER
    python3 spm_to_json.py --train TEXT OUTPUT_FOLDER [VOCABULARY]

Made with sentencepiece 0.2.2 and protobuf: pip install sentencepiece==0.2.2 protobuf.
"""
import base64
import json
import os
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb


def train(text, size):
    prefix = os.path.join(tempfile.mkdtemp(), "m")
    sentencepiece.SentencePieceTrainer.train(
        input=text, model_prefix=prefix, vocab_size=size, model_type="unigram", byte_fallback=True,
        normalization_rule_name="nmt_nfkc", character_coverage=0.9995, num_threads=1,
        input_sentence_size=20000, shuffle_input_sentence=False, max_sentence_length=100000)
    return prefix + ".model"


def metaspace(**more):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True,
            **more}


def variants(model):
    vocab = [[p.piece, p.score] for p in model.pieces]
    kinds = pb.ModelProto.SentencePiece
    special = [i for i, p in enumerate(model.pieces) if p.type in (kinds.UNKNOWN, kinds.CONTROL)]
    added = [{"id": i, "content": vocab[i][0], "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True} for i in special]
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    unk = next(i for i, p in enumerate(model.pieces) if p.type == kinds.UNKNOWN)
    bytes_too = any(p.type == kinds.BYTE for p in model.pieces)
    base = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap},
        "pre_tokenizer": metaspace(), "post_processor": None, "decoder": metaspace(),
        "model": {"type": "Unigram", "unk_id": unk, "vocab": vocab, "byte_fallback": bytes_too},
    }
    eos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    t5 = dict(base)
    t5["pre_tokenizer"] = {"type": "Sequence",
                           "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace()]}
    t5["post_processor"] = {
        "type": "TemplateProcessing", "single": [text, eos], "pair": [text, eos],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}}
    xlmr = dict(base)
    xlmr["normalizer"] = {"type": "Sequence", "normalizers": [
        base["normalizer"],
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    albert = dict(base)
    albert["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "``"}, "content": "\""},
        {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, base["normalizer"],
        {"type": "Strip", "strip_left": False, "strip_right": True}]}
    llama = dict(base)
    llama["normalizer"] = None
    llama["pre_tokenizer"] = metaspace(prepend_scheme="first", split=False)
    llama["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return {"t5": t5, "xlmr": xlmr, "albert": albert, "llama": llama}


def main():
    arg = sys.argv[1:]
    if arg[0] == "--train":
        path, out = train(arg[1], int(arg[3]) if len(arg) > 3 else 8000), arg[2]
    else:
        path, out = arg
    model = pb.ModelProto()
    with open(path, "rb") as f:
        model.ParseFromString(f.read())
    for name, data in variants(model).items():
        os.makedirs(os.path.join(out, name), exist_ok=True)
        with open(os.path.join(out, name, "tokenizer.json"), "w", encoding="utf8") as f:
            json.dump(data, f, ensure_ascii=False)


main()
