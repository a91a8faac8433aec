"""What TRL makes of conversational rows: ids and labels of its own trainers' preprocessing.

Usage: python make_talk.py [SMOLLM2.gguf] > talk/trl.json   (trl 1.16, transformers 5.23, datasets)
The tokenizer is that of examples/model; the templates are those in talk/, and the one inside the GGUF
file, of which only the results are kept. Rows go through SFTTrainer, DPOTrainer and KTOTrainer's own
_prepare_dataset, prompts through data_utils.apply_chat_template. `label` is 1 where TRL trains.
"""
import json
import os
import sys
from types import SimpleNamespace

from datasets import Dataset
from transformers import PreTrainedTokenizerFast
from trl import DPOTrainer, SFTTrainer
from trl.data_utils import apply_chat_template, extract_prompt
from trl.trainer.kto_trainer import KTOTrainer

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "..", "examples", "model")


def said(role, content, **more):
    return {"role": role, "content": content, **more}


ASK = [said("user", "What is two and two?")]
LONG = [said("system", "Be brief."), said("user", "Hi  "), said("assistant", "Hello."), said("user", "And Žofia's π?")]
GOOD, BAD = [said("assistant", "Four.")], [said("assistant", "Five, I\nthink.")]
EMPTY = [said("assistant", "")]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "sum", "parameters": {"type": "object"}}}]
CALL = [said("assistant", "Let me see.", tool_calls=[{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}])]
RESULT = [said("tool", "4")]

TEXTS = [ASK + GOOD, LONG + BAD, ASK + GOOD + LONG[1:] + BAD]
PAIRS = [(ASK, GOOD, BAD), (LONG, BAD, GOOD)]


def tokenizer(template):
    t = PreTrainedTokenizerFast(tokenizer_file=os.path.join(MODEL, "tokenizer.json"), bos_token="<|endoftext|>",
                                eos_token="<|im_end|>", pad_token="<|endoftext|>", add_prefix_space=False)
    t.chat_template = template
    return t


def prepare(cls, rows, t, **args):
    trainer = object.__new__(cls)
    trainer._tokenizer, trainer.chat_template, trainer.completion_only_loss = t, None, True
    trainer.calculate_KL = False
    settings = dict(dataset_num_proc=None, dataset_text_field="text", assistant_only_loss=False, max_length=None,
                    shuffle_dataset=False, truncation_mode="keep_start", seed=0, desirable_weight=1.0,
                    undesirable_weight=1.0, per_device_train_batch_size=1)
    settings.update(args)
    settings = SimpleNamespace(**settings)
    more = {SFTTrainer: (False, None, "train")}.get(cls, ("train",))
    return cls._prepare_dataset(trainer, Dataset.from_list(rows), t, settings, *more)


def cases(name, template):
    t, out = tokenizer(template), []
    marked = "generation" in template and "endgeneration" in template
    tools = name == "turns"

    def add(kind, row, parts, loss_on="all"):
        out.append({"template": name, "type": kind, "row": row, "loss_on": loss_on, "parts": parts})

    texts = [{"messages": m} for m in TEXTS]
    if tools:
        texts.append({"messages": ASK + CALL + RESULT + GOOD, "tools": TOOLS})
        texts.append({"messages": ASK + CALL + RESULT + GOOD, "tools": json.dumps(TOOLS)})
    for row in texts:
        r = prepare(SFTTrainer, [row], t)[0]
        add("texts", row, [{"ids": r["input_ids"], "label": [int(x != -100) for x in r["labels"]]}])
        if marked:
            r = prepare(SFTTrainer, [row], t, assistant_only_loss=True)[0]
            add("texts", row, [{"ids": r["input_ids"], "label": [int(x != -100) for x in r["labels"]]}], "assistant")
    halves = [{"prompt": p, "completion": c} for p, good, bad in PAIRS for c in (good, bad)]
    if tools:
        halves.append({"prompt": ASK, "completion": CALL + RESULT + GOOD, "tools": TOOLS})
    if name == "thinker":
        halves.append({"prompt": ASK, "completion": GOOD, "chat_template_kwargs": {"open_thought": True}})
    for row in halves:
        r = prepare(SFTTrainer, [row], t)[0]
        add("completions", row, [{"ids": r["input_ids"], "label": [int(x != -100) for x in r["labels"]]}])
        row = {**row, "label": True}
        r = prepare(KTOTrainer, [row], t)[0]
        add("labels", row, [{"prompt": r["prompt_ids"], "ids": r["completion_ids"]}])
    for p, good, bad in PAIRS:
        for row in ({"prompt": p, "chosen": good, "rejected": bad}, {"chosen": p + good, "rejected": p + bad}):
            r = prepare(DPOTrainer, [row], t)[0]
            add("pairs", row, [{"prompt": r["prompt_ids"], "ids": r["chosen_ids"]}, {"ids": r["rejected_ids"]}])
    for row in ({"prompt": ASK}, {"prompt": LONG}, {"prompt": ASK + [said("assistant", "It is")]}):
        text = apply_chat_template(row, t)["prompt"]
        add("prompts", row, [{"prompt": t(text, add_special_tokens=False)["input_ids"], "ids": []}])
    return out


def main():
    templates = {n: open(os.path.join(HERE, "talk", n + ".jinja"), encoding="utf-8").read()
                 for n in ("turns", "script", "thinker")}
    if len(sys.argv) > 1:
        from gguf import GGUFReader
        templates["smollm2"] = GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"].contents()
    out = [c for name, text in templates.items() for c in cases(name, text)]
    print("[")
    print(",\n".join(json.dumps(c, ensure_ascii=False) for c in out))
    print("]")


main()
