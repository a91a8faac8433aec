/* Finds the chat template of a task's data and checks that the model stops where it ends a turn. */
#include "train/talk.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"

dw_status dw_task_chat(const dw_live_task *t, const dw_data_spec *s, dw_chat **out, dw_err *err)
{
    const dw_model *m = t->model->m;
    return s->template_file ? dw_model_chat_file(m, s->template_file, out, err)
                            : dw_model_chat(m, out, err);
}

/* ---- where an answer ends ---- */

static dw_status refuse(const dw_model *m, int32_t end, const int32_t *stop, size_t n, dw_err *err)
{
    dw_buf token = {0}, list = {0};
    dw_err no;
    (void)dw_tokenizer_decode(dw_model_tokenizer(m), &end, 1, false, &token, &no);
    for (size_t i = 0; i < n; i++)
        dw_buf_printf(&list, "%s%d", i ? ", " : "", stop[i]);
    dw_status st = dw_fail(
        err, DW_E_RECIPE,
        "the chat template ends the assistant's turn with %s (%d), but the model stops at %s%s%s: "
        "it would never end an answer; add eos_token = \"%s\" to the recipe's d.model { ... }, or "
        "\"eos_token_id\": [%s%s%d] to generation_config.json of %s",
        token.ptr ? token.ptr : "", end, n ? "[" : "nothing", n ? list.ptr : "", n ? "]" : "",
        token.ptr ? token.ptr : "", n ? list.ptr : "", n ? ", " : "", end, dw_model_dir(m));
    dw_buf_finish(&token);
    dw_buf_finish(&list);
    return st;
}

static dw_status keep_template(dw_model *m, const dw_data_spec *s, int32_t end, dw_err *err)
{
    dw_buf text = {0};
    if (s->template_file)
        DW_TRY(dw_file_read(s->template_file, DW_CHAT_TEMPLATE_MAX, &text, err));
    dw_model_set_talk(m, end, dw_buf_text(&text));
    dw_buf_finish(&text);
    return DW_OK;
}

dw_status dw_task_check_talk(const dw_live_task *t, const dw_data_spec *s, const dw_dataset *d,
                             dw_err *err)
{
    dw_model *m = t->model->m;
    int32_t end = dw_dataset_counts(d)->turn_end;
    const int32_t *stop;
    size_t n = dw_model_stops(m, &stop);
    if (!dw_dataset_counts(d)->talks || dw_model_top(m) != DW_TOP_LM)
        return DW_OK;
    bool known = end < 0;
    for (size_t i = 0; i < n; i++)
        known |= stop[i] == end;
    return known ? keep_template(m, s, end, err) : refuse(m, end, stop, n, err);
}

/* ---- for people ---- */

static const char *type_name(const dw_data_spec *s, const dw_data_counts *c)
{
    static const char *const names[DW_N_DATA_TYPE] = {
        [DW_TEXTS] = "language modeling",    [DW_COMPLETIONS] = "prompt-completion",
        [DW_PAIRS] = "preference",           [DW_PROMPTS] = "prompt-only",
        [DW_LABELS] = "unpaired preference", [DW_STEPS] = "stepwise supervision",
        [DW_LISTS] = "ranked completions"};
    if (s->type == DW_PAIRS && c->split_marker + c->split_prefix + c->split_messages > 0)
        return "preference (implicit prompt)";
    return names[s->type];
}

void dw_task_talk_print(const dw_live_task *t, const dw_data_spec *s, const dw_dataset *d,
                        dw_buf *out)
{
    const dw_data_counts *c = dw_dataset_counts(d);
    dw_buf_printf(out, "%s, ", type_name(s, c));
    if (!c->talks) {
        dw_buf_adds(out, "standard");
        return;
    }
    if (c->talks < c->rows)
        dw_buf_printf(out, "%" PRIu64 " rows standard and %" PRIu64 " ", c->rows - c->talks,
                      c->talks);
    dw_buf_adds(out, "conversational");
    if (s->layout)
        dw_buf_printf(out, " (%s)", s->layout == DW_ROWS_ALPACA ? "alpaca" : "sharegpt");
    dw_buf_printf(out, ", template %s", s->template_file ? s->template_file : "of the model");
    if (c->turn_end >= 0) {
        dw_err no;
        dw_buf token = {0};
        (void)dw_tokenizer_decode(dw_model_tokenizer(t->model->m), &c->turn_end, 1, false, &token,
                                  &no);
        dw_buf_printf(out, ", turns end with %s", token.ptr ? token.ptr : "");
        dw_buf_finish(&token);
    }
    if (s->type != DW_PROMPTS)
        dw_buf_printf(out, ", %" PRIu64 " tokens trained on", c->trained);
}
