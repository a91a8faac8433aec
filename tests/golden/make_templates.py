"""Makes the fixtures in tests/golden/templates: what jinja2 writes, in the environment that
transformers sets up, for many templates and conversations.

    pip install transformers==5.23.0 jinja2==3.1.6 trl==1.16.0
    python tests/golden/make_templates.py [FOLDER OF TRL'S chat_templates [FOLDER OF SMOLLM2]]

conversations.jsonl   the conversations, a name and a request each
own.jsonl             our own templates (own/*.jinja) times all conversations
trl.jsonl             the same for the templates of TRL's wheel, which are not kept here: the test
                      reads them where DOWEL_TRL_TEMPLATES points
expressions.jsonl     one small template a line with what it writes, or that it is refused

A result is the first 16 hexadecimal digits of the SHA-256 of the text, a NUL, and the ranges of
characters that {% generation %} marks ("4-9,20-31"); "!MESSAGE" where the template raises
MESSAGE by raise_exception; "?" where jinja2 or Python raises anything else.

"ids" are the same for the ids and the assistant's mask ("1,2,3|0,0,1") that apply_chat_template
gives with the small tokenizer of tests/golden/text, for templates that have {% generation %} and
for ChatML; templates without it have no mask there ("1,2,3|").

smollm2.jsonl         ids for SmolLM2-135M-Instruct's own tokenizer and template; the test reads
                      them where DOWEL_SMOLLM2 points

The clock stands still at 2023-11-14 22:13:20 UTC (SOURCE_DATE_EPOCH=1700000000).
"""
import datetime
import hashlib
import json
import os
import pathlib
import sys

os.environ["TZ"] = "UTC"
import jinja2  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402
from transformers.utils import chat_template_utils as hf  # noqa: E402

from template_cases import CONVERSATIONS, D as DEFAULTS, EXPRESSIONS  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / "templates"


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(1700000000, datetime.timezone.utc)


hf.datetime = Clock


def render(template, request):
    """Text and marked ranges, as tokenizer.apply_chat_template gets them."""
    messages = [{k: v for k, v in m.items() if v is not None} for m in request["messages"]]
    texts, ranges = hf.render_jinja_template(
        [messages], tools=request.get("tools"), documents=request.get("documents"),
        chat_template=template, return_assistant_tokens_mask=True,
        add_generation_prompt=request.get("add_generation_prompt", False),
        **request.get("variables", {}))
    return texts[0], ranges[0]


def runs(text, ranges):
    said = [False] * (len(text) + 1)
    for start, end in ranges:
        for i in range(start, end):
            said[i] = True
    out, start = [], None
    for i, x in enumerate(said):
        if x and start is None:
            start = i
        if not x and start is not None:
            out.append(f"{start}-{i}")
            start = None
    return ",".join(out)


def result(template, request):
    try:
        text, ranges = render(template, request)
        whole = text.encode() + b"\0" + runs(text, ranges).encode()
    except jinja2.exceptions.TemplateError as e:
        return "!" + e.message if type(e) is jinja2.exceptions.TemplateError else "?"
    except Exception:
        return "?"
    return hashlib.sha256(whole).hexdigest()[:16]


SMALL = PreTrainedTokenizerFast(tokenizer_file=str(HERE.parent / "text" / "smollm2.json"))


def ids(tokenizer, template, request):
    said = template is not None and "endgeneration" in template
    try:
        out = tokenizer.apply_chat_template(
            request["messages"], tools=request.get("tools"), documents=request.get("documents"),
            chat_template=template, add_generation_prompt=request.get("add_generation_prompt", False),
            return_assistant_tokens_mask=True, return_dict=True,
            tokenizer_kwargs={"return_offsets_mapping": True}, **request.get("variables", {}))
    except Exception:
        return "?"
    mask = out["assistant_masks"] if said else []
    # Where the assistant's last character is cut into several tokens transformers marks the first
    # of them only; they are all the assistant's.
    where = out["offset_mapping"]
    for i in range(1, len(mask)):
        if mask[i - 1] and not mask[i] and where[i] == where[i - 1]:
            mask[i] = 1
    whole = ",".join(map(str, out["input_ids"])) + "|" + ",".join(map(str, mask))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def write(path, rows):
    with open(path, "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def table(folder):
    rows = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        data = path.read_bytes()
        template = data.decode()
        row = {"template": path.name, "sha256": hashlib.sha256(data).hexdigest(),
               "results": [result(template, c) for c in CONVERSATIONS]}
        if "endgeneration" in template or path.name == "chatml.jinja":
            row["ids"] = [ids(SMALL, template, c) for c in CONVERSATIONS]
        rows.append(row)
    return rows


def expressions():
    rows = [{"variables": DEFAULTS}]
    for source, variables in EXPRESSIONS:
        row = {"source": source}
        if variables is not DEFAULTS:
            row["variables"] = variables
        try:
            text, ranges = render(source, {"messages": [{"role": "user", "content": "Hi"}],
                                           "variables": variables})
            row["text"] = text
            text.encode()
            if ranges:
                row["ranges"] = runs(text, ranges)
        except Exception:
            row.pop("text", None)
            row["refused"] = True
        rows.append(row)
    return rows


def main():
    HERE.mkdir(exist_ok=True)
    write(HERE / "conversations.jsonl", CONVERSATIONS)
    write(HERE / "own.jsonl", table(HERE / "own"))
    write(HERE / "expressions.jsonl", expressions())
    if len(sys.argv) > 1:
        write(HERE / "trl.jsonl", table(sys.argv[1]))
    if len(sys.argv) > 2:
        tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
        own = [{**c, "variables": {}} for c in CONVERSATIONS]
        write(HERE / "smollm2.jsonl", [{"ids": [ids(tokenizer, None, c) for c in own]}])


main()
