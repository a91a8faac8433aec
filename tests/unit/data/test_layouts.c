/* Rows of messages as other tools lay them out, and the messages for those that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/survey.h"
#include "datafile.h"

static dw_tokenizer *tok;
static dw_chat *chat;

/* Shows everything that a template is given. */
#define SHOW                                                                                       \
    "{% if tools %}T{{ tools | tojson }};{% endif %}{% if documents %}D{{ documents | tojson }};"  \
    "{% endif %}{% if flag %}F{{ flag }};{% endif %}{% for m in messages %}{{ m.role + ':' }}"     \
    "{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ '!' + c.function.name }}"            \
    "{{ c.function.arguments | tojson }}{% endfor %}{{ '<|im_end|>' }}{% endfor %}"                \
    "{% if add_generation_prompt %}assistant:{% endif %}"

static int setup(void **state)
{
    dw_err err = {{0}};
    if (test_root_make(state))
        return -1;
    tok = test_tokenizer("gpt2");
    return dw_chat_parse(dw_text_of(SHOW), "show", tok, NULL, &chat, &err) < 0;
}

static int teardown(void **state)
{
    dw_chat_free(chat);
    dw_tokenizer_free(tok);
    return test_root_remove(state);
}

typedef struct good {
    dw_data_type type;
    dw_row_layout layout;
    const char *row, *prompt, *answer; /* answer: up to the first of them */
    double label;
    dw_data_column column; /* named otherwise, with `field`; 0: none */
    const char *field;
} good;

#define HI     "{\"role\":\"user\",\"content\":\"hi\"}"
#define YO     "{\"role\":\"assistant\",\"content\":\"yo\"}"
#define NO     "{\"role\":\"assistant\",\"content\":\"no\"}"
#define H      "{\"from\":\"human\",\"value\":\"hi\"}"
#define G      "{\"from\":\"gpt\",\"value\":\"yo\"}"
#define N      "{\"from\":\"gpt\",\"value\":\"no\"}"
#define E      "<|im_end|>"
#define SHARE  DW_ROWS_SHAREGPT
#define ALPACA DW_ROWS_ALPACA
#define NONE   DW_ROWS_NONE

static const good all[] = {
    /* TRL's types */
    {DW_TEXTS, NONE, "{\"messages\":[" HI "," YO "]}", "", "user:hi" E "assistant:yo" E, 1, 0, 0},
    {DW_TEXTS, NONE, "{\"text\":[" HI "," YO "]}", "", "user:hi" E "assistant:yo" E, 1, 0, 0},
    {DW_TEXTS, NONE, "{\"talk\":[" HI "," YO "]}", "", "user:hi" E "assistant:yo" E, 1, DW_COL_TEXT,
     "talk"},
    {DW_TEXTS, NONE, "{\"talk\":[" HI "," YO "]}", "", "user:hi" E "assistant:yo" E, 1,
     DW_COL_MESSAGES, "talk"},
    {DW_TEXTS, NONE, "{\"conversations\":[" H "," G "]}", "", "user:hi" E "assistant:yo" E, 1, 0,
     0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "]}", "user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"prompt\":" HI "}", "user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "," YO "]}", "user:hi" E "assistant:yo", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"q\":[" HI "]}", "user:hi" E "assistant:", NULL, 1, DW_COL_PROMPT, "q"},
    {DW_COMPLETIONS, NONE, "{\"prompt\":[" HI "],\"completion\":[" YO "]}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_COMPLETIONS, NONE, "{\"prompt\":[" HI "],\"completion\":" YO "}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_PAIRS, NONE, "{\"prompt\":[" HI "],\"chosen\":[" YO "],\"rejected\":[" NO "]}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_PAIRS, NONE, "{\"chosen\":[" HI "," YO "],\"rejected\":[" HI "," NO "]}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_PAIRS, NONE, "{\"prompt\":\"hi\",\"chosen\":[" HI "," YO "],\"rejected\":[" HI "," NO "]}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_LABELS, NONE, "{\"prompt\":[" HI "],\"completion\":[" YO "],\"label\":false}",
     "user:hi" E "assistant:", "yo" E, -1, 0, 0},
    {DW_LABELS, NONE, "{\"prompt\":[" HI "],\"completion\":[" YO "],\"kto_tag\":true}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_LABELS, NONE, "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":\"False\"}", "a", "b" E, -1,
     0, 0},
    {DW_LISTS, NONE, "{\"prompt\":[" HI "],\"completions\":[[" YO "],[" NO "]],\"ranks\":[1,2]}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_STEPS, NONE, "{\"prompt\":[" HI "],\"completions\":[\"a\",\"b\"],\"labels\":[1,0]}",
     "user:hi" E "assistant:", "a\nb\n", 1, 0, 0},
    /* beside the messages */
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"tools\":[{\"name\":\"f\"}]}",
     "T[{\"name\": \"f\"}];user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"tools\":\"[{\\\"name\\\": \\\"f\\\"}]\"}",
     "T[{\"name\": \"f\"}];user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"tools\":[]}", "user:hi" E "assistant:", NULL, 1, 0,
     0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"tools\":\"\"}", "user:hi" E "assistant:", NULL, 1, 0,
     0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"chat_template_kwargs\":{\"flag\":\"on\"}}",
     "Fon;user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"documents\":[\"x\"]}",
     "user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"docs\":[\"x\"]}",
     "D[\"x\"];user:hi" E "assistant:", NULL, 1, DW_COL_DOCUMENTS, "docs"},
    {DW_COMPLETIONS, NONE,
     "{\"prompt\":[" HI "],\"completion\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":"
     "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]}]}",
     "user:hi" E "assistant:", "!f{\"a\": 1}" E, 1, 0, 0},
    /* ShareGPT */
    {DW_TEXTS, SHARE, "{\"conversations\":[" H "," G "],\"system\":\"be\"}", "",
     "system:be" E "user:hi" E "assistant:yo" E, 1, 0, 0},
    {DW_TEXTS, SHARE,
     "{\"conversations\":[" H ",{\"from\":\"function_call\",\"value\":\"{\\\"name\\\": \\\"f\\\", "
     "\\\"arguments\\\": {\\\"a\\\": 1}}\"},{\"from\":\"observation\",\"value\":\"7\"}," G "]}",
     "", "user:hi" E "assistant:!f{\"a\": 1}" E "tool:7" E "assistant:yo" E, 1, 0, 0},
    {DW_COMPLETIONS, SHARE, "{\"conversations\":[" H "," G "]}", "user:hi" E "assistant:", "yo" E,
     1, 0, 0},
    {DW_COMPLETIONS, SHARE, "{\"talk\":[" H "," G "]}", "user:hi" E "assistant:", "yo" E, 1,
     DW_COL_MESSAGES, "talk"},
    {DW_COMPLETIONS, SHARE, "{\"messages\":[" HI "," YO "]}", "user:hi" E "assistant:", "yo" E, 1,
     0, 0},
    {DW_PROMPTS, SHARE, "{\"conversations\":[" H "," G "]}", "user:hi" E "assistant:", NULL, 1, 0,
     0},
    {DW_PROMPTS, SHARE, "{\"conversations\":[" H "]}", "user:hi" E "assistant:", NULL, 1, 0, 0},
    {DW_PAIRS, SHARE, "{\"conversations\":[" H "],\"chosen\":" G ",\"rejected\":" N "}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_PAIRS, SHARE, "{\"chosen\":[" H "," G "],\"rejected\":[" H "," N "]}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_LABELS, SHARE, "{\"conversations\":[" H "," G "],\"kto_tag\":false}",
     "user:hi" E "assistant:", "yo" E, -1, 0, 0},
    /* Alpaca */
    {DW_TEXTS, ALPACA, "{\"instruction\":\"hi\",\"input\":\"\",\"output\":\"yo\"}", "",
     "user:hi" E "assistant:yo" E, 1, 0, 0},
    {DW_COMPLETIONS, ALPACA,
     "{\"system\":\"be\",\"instruction\":\"hi\",\"input\":\"x\",\"output\":\"yo\","
     "\"history\":[[\"q\",\"a\"]]}",
     "system:be" E "user:q" E "assistant:a" E "user:hi\nx" E "assistant:", "yo" E, 1, 0, 0},
    {DW_COMPLETIONS, ALPACA, "{\"instruction\":\"hi\",\"answer\":\"yo\"}",
     "user:hi" E "assistant:", "yo" E, 1, DW_COL_OUTPUT, "answer"},
    {DW_PAIRS, ALPACA, "{\"instruction\":\"hi\",\"chosen\":\"yo\",\"rejected\":\"no\"}",
     "user:hi" E "assistant:", "yo" E, 1, 0, 0},
    {DW_LABELS, ALPACA, "{\"instruction\":\"hi\",\"output\":\"yo\",\"kto_tag\":false}",
     "user:hi" E "assistant:", "yo" E, -1, 0, 0},
    {DW_PROMPTS, ALPACA, "{\"instruction\":\"hi\",\"output\":\"yo\"}",
     "user:hi" E "assistant:", NULL, 1, 0, 0},
};

static dw_status load(const good *g, dw_dataset **d, dw_err *err)
{
    const char *file[1] = {test_file("rows", g->row, strlen(g->row))};
    dw_data_spec s = {.type = g->type,
                      .file = file,
                      .n_file = 1,
                      .add_eos = g->type != DW_STEPS,
                      .layout = g->layout,
                      .chat = chat};
    if (g->field)
        s.column[g->column].field = g->field;
    return dw_dataset_load(&s, tok, 0, NULL, NULL, d, err);
}

static void is_text(const char *row, const int32_t *id, size_t n, const char *want)
{
    dw_err err = {{0}};
    dw_buf b = {0};
    dw_buf_adds(&b, "");
    assert_int_equal(dw_tokenizer_decode(tok, id, n, false, &b, &err), 0);
    if (strcmp(b.ptr, want) != 0)
        fail_msg("%s: '%s' instead of '%s'", row, b.ptr, want);
    dw_buf_finish(&b);
}

static void every_layout(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        dw_err err = {{0}};
        dw_dataset *d;
        if (load(&all[i], &d, &err) < 0)
            fail_msg("%s: %s", all[i].row, err.text);
        const dw_row *r = dw_dataset_row(d, 0);
        is_text(all[i].row, r->prompt, r->n_prompt, all[i].prompt);
        if (all[i].answer)
            is_text(all[i].row, r->answer[0].id, r->answer[0].n, all[i].answer);
        assert_true(r->label == all[i].label);
        if (r->n_answer > 1)
            is_text(all[i].row, r->answer[1].id, r->answer[1].n, "no" E);
        dw_dataset_free(d);
    }
}

typedef struct bad {
    dw_data_type type;
    dw_row_layout layout;
    const char *row, *want;
} bad;

static const bad zoo[] = {
    {DW_TEXTS, NONE, "{\"messages\":[{\"role\":\"user\"}]}",
     "rows:1:13: \"messages\", message 1: has neither \"content\" nor \"tool_calls\""},
    {DW_TEXTS, NONE, "{\"messages\":[" HI ",7]}",
     "rows:1:13: \"messages\", message 2: wanted an object, found a number"},
    {DW_TEXTS, NONE, "{\"messages\":[" HI ",{\"content\":\"x\"}]}",
     "rows:1:13: \"messages\", message 2: has no \"role\""},
    {DW_TEXTS, NONE, "{\"messages\":[{\"role\":\"\",\"content\":\"x\"}]}",
     "rows:1:13: \"messages\", message 1: \"role\": wanted a name, found an empty string"},
    {DW_TEXTS, NONE, "{\"messages\":[{\"role\":7,\"content\":\"x\"}]}",
     "rows:1:13: \"messages\", message 1: \"role\": wanted a name, found a number"},
    {DW_TEXTS, NONE, "{\"messages\":[{\"role\":\"user\",\"content\":7}]}",
     "rows:1:13: \"messages\", message 1: \"content\": wanted text, found a number"},
    {DW_TEXTS, NONE,
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"image\":\"x\"}]}]}",
     "rows:1:13: \"messages\", message 1: \"content\": wanted text or parts of text, found a part "
     "without \"text\" (images and sound are not supported)"},
    {DW_TEXTS, NONE, "{\"messages\":[]}",
     "rows:1:13: \"messages\" is empty: wanted at least one message"},
    {DW_COMPLETIONS, NONE, "{\"prompt\":[" HI "],\"completion\":\"yo\"}",
     "rows:1:57: \"completion\" is text while the row holds messages elsewhere: give all of it as "
     "messages, or all as text"},
    {DW_COMPLETIONS, NONE, "{\"prompt\":\"hi\",\"completion\":[" YO "]}",
     "rows:1:11: \"prompt\" is text while the row holds messages elsewhere: give all of it as "
     "messages, or all as text"},
    {DW_COMPLETIONS, NONE, "{\"prompt\":[" HI "]}",
     "rows:1:1: no field \"completion\" (the row has: prompt)"},
    {DW_PAIRS, NONE, "{\"chosen\":[" YO "],\"rejected\":[" NO "]}",
     "rows:1:1: chosen and rejected begin with no common message, and the row has no prompt of "
     "messages"},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"tools\":7}",
     "rows:1:52: \"tools\": wanted a list, or that as a string, found a number"},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"tools\":\"[\"}",
     "rows:1:52: \"tools\" is a string that should hold JSON: line 1, column 2: found the end of "
     "the text, wanted a value"},
    {DW_PROMPTS, NONE, "{\"prompt\":[" HI "],\"chat_template_kwargs\":[]}",
     "rows:1:67: \"chat_template_kwargs\": wanted an object, or that as a string, found an array"},
    {DW_COMPLETIONS, SHARE, "{\"conversations\":[" H "]}",
     "rows:1:18: the conversation does not end with an answer of the assistant after a question"},
    {DW_COMPLETIONS, SHARE, "{\"x\":1}", "rows:1:1: no field \"prompt\" (the row has: x)"},
    {DW_COMPLETIONS, ALPACA, "{\"input\":\"x\",\"output\":\"y\"}",
     "rows:1:1: no field \"instruction\" (the row has: input, output)"},
    {DW_COMPLETIONS, ALPACA, "{\"instruction\":\"\",\"output\":\"y\"}",
     "rows:1:1: \"instruction\" and \"input\" are both empty"},
    {DW_COMPLETIONS, ALPACA, "{\"instruction\":\"x\",\"output\":\"y\",\"history\":[[\"a\"]]}",
     "rows:1:43: \"history\": wanted a list of [question, answer], both of them text"},
    {DW_LABELS, ALPACA, "{\"instruction\":\"x\",\"output\":\"y\",\"kto_tag\":3}",
     "rows:1:43: \"label\": wanted true, false, 1, 0 or -1, found 3"},
};

static void every_bad_row_has_its_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof zoo / sizeof *zoo; i++) {
        dw_err err = {{0}};
        dw_dataset *d;
        good g = {.type = zoo[i].type, .layout = zoo[i].layout, .row = zoo[i].row};
        assert_int_equal(load(&g, &d, &err), DW_E_INPUT);
        const char *text = strstr(err.text, "rows:");
        assert_non_null(text);
        if (strcmp(text, zoo[i].want) != 0)
            fail_msg("%s:\n  %s\n  instead of\n  %s", zoo[i].row, text, zoo[i].want);
    }
}

/* A function of a recipe: its name is what it gives, text or (a list) messages. */
static dw_status gives(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json, dw_err *err)
{
    (void)ctx;
    (void)row;
    (void)err;
    *json = fn[0] == '[';
    dw_buf_adds(out, fn);
    return DW_OK;
}

/* Wherever a row may have messages a function may give them. */
static void functions_give_messages(void **state)
{
    (void)state;
    static const struct {
        dw_data_type type;
        dw_data_column column[3];
        const char *fn[3], *row, *prompt, *answer, *want; /* want: the error instead */
    } of[] = {
        {DW_TEXTS, {DW_COL_TEXT}, {"[" HI "," YO "]"}, "{}", "", "user:hi" E "assistant:yo" E, 0},
        {DW_TEXTS,
         {DW_COL_MESSAGES},
         {"[" HI "," YO "]"},
         "{}",
         "",
         "user:hi" E "assistant:yo" E,
         0},
        {DW_TEXTS, {DW_COL_TEXT}, {"plain"}, "{}", "", "plain" E, 0},
        {DW_TEXTS,
         {DW_COL_TEXT},
         {"[1]"},
         "{}",
         0,
         0,
         "rows:1:1: [1]: wanted text, or messages where a row may have them (a list of {role = "
         "..., "
         "content = ...}), the function returned another table"},
        {DW_PROMPTS, {DW_COL_PROMPT}, {"[" HI "]"}, "{}", "user:hi" E "assistant:", NULL, 0},
        {DW_PROMPTS, {DW_COL_MESSAGES}, {"[" HI "," YO "]"}, "{}", "user:hi" E "assistant:", 0, 0},
        {DW_COMPLETIONS,
         {DW_COL_PROMPT, DW_COL_COMPLETION},
         {"[" HI "]", "[" YO "]"},
         "{}",
         "user:hi" E "assistant:",
         "yo" E,
         0},
        {DW_COMPLETIONS,
         {DW_COL_PROMPT},
         {"[" HI "]"},
         "{\"completion\":[" YO "]}",
         "user:hi" E "assistant:",
         "yo" E,
         0},
        {DW_COMPLETIONS,
         {DW_COL_PROMPT, DW_COL_COMPLETION},
         {"[" HI "]", "yo"},
         "{}",
         0,
         0,
         "rows:1:1: \"completion\" comes from a function, which gave text, while the row holds "
         "messages elsewhere: a function may return messages, a list of {role = ..., content = "
         "...}"},
        {DW_PAIRS,
         {DW_COL_PROMPT, DW_COL_CHOSEN, DW_COL_REJECTED},
         {"[" HI "]", "[" YO "]", "[" NO "]"},
         "{}",
         "user:hi" E "assistant:",
         "yo" E,
         0},
        {DW_PAIRS,
         {DW_COL_CHOSEN, DW_COL_REJECTED},
         {"[" HI "," YO "]", "[" HI "," NO "]"},
         "{}",
         "user:hi" E "assistant:",
         "yo" E,
         0},
        {DW_LABELS,
         {DW_COL_PROMPT, DW_COL_COMPLETION},
         {"[" HI "]", "[" YO "]"},
         "{\"label\":true}",
         "user:hi" E "assistant:",
         "yo" E,
         0},
        {DW_LISTS,
         {DW_COL_PROMPT, DW_COL_COMPLETIONS},
         {"[" HI "]", "[[" YO "],[" NO "]]"},
         "{\"ranks\":[1,2]}",
         "user:hi" E "assistant:",
         "yo" E,
         0},
        {DW_STEPS,
         {DW_COL_PROMPT},
         {"[" HI "]"},
         "{\"steps\":[\"a\"],\"labels\":[1]}",
         "user:hi" E "assistant:",
         "a\n",
         0},
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const char *file[1] = {test_file("rows", of[i].row, strlen(of[i].row))};
        dw_data_spec s = {.type = of[i].type,
                          .file = file,
                          .n_file = 1,
                          .add_eos = of[i].type != DW_STEPS,
                          .chat = chat};
        dw_err err = {{0}};
        dw_dataset *d;
        for (int k = 0; k < 3 && of[i].fn[k]; k++)
            s.column[of[i].column[k]].lua = of[i].fn[k];
        dw_status st = dw_dataset_load(&s, tok, 0, gives, NULL, &d, &err);
        if (of[i].want) {
            assert_int_equal(st, DW_E_INPUT);
            assert_string_equal(strstr(err.text, "rows:"), of[i].want);
            continue;
        }
        if (st < 0)
            fail_msg("%zu: %s", i, err.text);
        const dw_row *r = dw_dataset_row(d, 0);
        is_text(of[i].row, r->prompt, r->n_prompt, of[i].prompt);
        if (of[i].answer)
            is_text(of[i].row, r->answer[0].id, r->answer[0].n, of[i].answer);
        dw_dataset_free(d);
    }
}

/* A survey calls bad what a run refuses, and says the same of it. */
static void a_survey_refuses_what_a_run_refuses(void **state)
{
    (void)state;
    static const char rows[] = "{\"messages\":[" HI "," YO "]}\n{\"messages\":[" HI "]}\n"
                               "{\"messages\":[]}\n";
    dw_survey v = {0};
    dw_err err = {{0}};
    dw_survey_spec s = {.file = test_file("rows", rows, sizeof rows - 1),
                        .type = -1,
                        .tokenizer = tok,
                        .data.chat = chat};
    assert_int_equal(dw_survey_run(&s, &v, &err), 0);
    assert_int_equal(v.rows, 3);
    assert_int_equal(v.bad, 2);
    const char *second = strstr(v.bad_list.ptr, "rows:2:1: the assistant says nothing in it");
    assert_non_null(second);
    assert_non_null(strstr(second, "rows:3:13: \"messages\" is empty"));
    assert_int_equal(v.n_length, 1);
    dw_survey_finish(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout),
        cmocka_unit_test(every_bad_row_has_its_message),
        cmocka_unit_test(functions_give_messages),
        cmocka_unit_test(a_survey_refuses_what_a_run_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
