/* dowel score: the log-probability of every token of a row, given those before it. */
#include <string.h>

#include "base/alloc.h"
#include "cli/args.h"
#include "cli/chat_rows.h"
#include "cli/cmd.h"
#include "cli/model_rows.h"
#include "model/engine.h"

enum { BATCH_ROWS = 64, PASS_TOKENS = 2048 };

typedef struct settings {
    dw_cli_model model;
    dw_engine *engine;
} settings;

/* The mask goes into the row at once: the template's output is reused. */
static bool read_messages(settings *s, dw_cli_row *row, dw_ids *ids)
{
    if (!dw_cli_row_messages(&s->model, row, false, ids))
        return false;
    dw_cli_row_put_mask(row, s->model.said.mask, ids->n);
    return true;
}

static bool read_ids(settings *s, dw_cli_row *row, dw_ids *ids)
{
    const dw_description *d = dw_model_description(s->model.m);
    bool ok;
    if (dw_cli_row_has(row, "ids"))
        ok = dw_cli_row_ids(row, "ids", (int32_t)d->vocab, ids);
    else if (dw_cli_row_has(row, "text"))
        ok = dw_cli_row_encode(&s->model, row, "text", true, ids);
    else if (dw_cli_row_has(row, "prompt") && dw_cli_row_has(row, "completion"))
        ok = dw_cli_row_encode(&s->model, row, "prompt", true, ids) &&
             dw_cli_row_encode(&s->model, row, "completion", false, ids);
    else if (dw_cli_row_has(row, "messages"))
        ok = read_messages(s, row, ids);
    else {
        dw_cli_row_fail(row, "none of \"ids\", \"text\", \"messages\", or \"prompt\" and "
                             "\"completion\" is there");
        return false;
    }
    return ok && dw_cli_row_check(&s->model, row, ids, d->max_positions);
}

/* One forward pass over rows that are sequences of their own. */
static dw_status score(settings *s, dw_cli_row **row, const dw_ids *ids, size_t n, size_t tokens,
                       dw_err *err)
{
    int32_t *id = dw_alloc(tokens * sizeof *id);
    dw_segment *seg = dw_zalloc(n, sizeof *seg);
    dw_head_pair *pair = dw_alloc(tokens * sizeof *pair);
    double *logp = dw_alloc(tokens * sizeof *logp);
    uint32_t at = 0;
    size_t n_pair = 0;
    for (size_t i = 0; i < n; i++) {
        seg[i] = (dw_segment){.start = at, .len = (uint32_t)ids[i].n, .parent = -1};
        memcpy(id + at, ids[i].id, ids[i].n * sizeof *id);
        for (uint32_t k = 0; k + 1 < ids[i].n; k++)
            pair[n_pair++] = (dw_head_pair){at + k, ids[i].id[k + 1]};
        at += (uint32_t)ids[i].n;
    }
    const dw_forest f = {.id = id, .n_row = tokens, .seg = seg, .n_seg = n};
    dw_head_out out = {.logp = logp};
    dw_status st = dw_engine_forward(s->engine, &f, 0, err);
    if (st == DW_OK && n_pair)
        st = dw_engine_head(s->engine, pair, n_pair, 1, (dw_head_wants){.entropy_grad = false},
                            &out, err);
    n_pair = 0;
    for (size_t i = 0; i < n && st == DW_OK; i++) {
        double *first = dw_alloc(ids[i].n * sizeof *first);
        memcpy(first + 1, logp + n_pair, (ids[i].n - 1) * sizeof *first);
        n_pair += ids[i].n - 1;
        dw_cli_row_put_ids(row[i], ids[i].id, ids[i].n);
        dw_cli_row_put_logps(row[i], first, ids[i].n, true);
        dw_free(first);
    }
    dw_free(id);
    dw_free(seg);
    dw_free(pair);
    dw_free(logp);
    return st;
}

static dw_status score_rows(void *ctx, dw_cli_row **row, size_t n, dw_err *err)
{
    settings *s = ctx;
    dw_ids *ids = dw_zalloc(n, sizeof *ids);
    dw_cli_row **good = dw_zalloc(n, sizeof *good);
    dw_status st = DW_OK;
    size_t n_good = 0, first = 0, tokens = 0;
    for (size_t i = 0; i < n; i++) {
        dw_ids one = {0};
        if (read_ids(s, row[i], &one)) {
            ids[n_good] = one;
            good[n_good++] = row[i];
        } else {
            dw_ids_finish(&one);
        }
    }
    for (size_t i = 0; i <= n_good && st == DW_OK; i++) {
        if (i > first && (i == n_good || tokens + ids[i].n > PASS_TOKENS)) {
            st = score(s, good + first, ids + first, i - first, tokens, err);
            first = i;
            tokens = 0;
        }
        tokens += i < n_good ? ids[i].n : 0;
    }
    for (size_t i = 0; i < n_good; i++)
        dw_ids_finish(&ids[i]);
    dw_free(ids);
    dw_free(good);
    return st;
}

dw_status dw_cmd_score(int argc, char **argv, dw_err *err)
{
    settings s = {0};
    const char *on_bad = "error", *word[2];
    bool help, skip = false;
    const dw_arg arg[] = {
        {"--no-special", DW_ARG_FLAG, &s.model.no_special, 0, 0, NULL,
         "add no special tokens to texts and prompts"},
        {"--parse-special", DW_ARG_FLAG, &s.model.parse_special, 0, 0, NULL,
         "special tokens written in a text become their ids"},
        {"--on-bad-row", DW_ARG_STR, &on_bad, 0, 0, "error|skip",
         "stop at a bad row (default), or write {\"error\"} and go on"},
        {"--threads", DW_ARG_INT, &s.model.threads, 0, 1024, "N", "0, the default: one per CPU"},
        {"--kernel", DW_ARG_STR, &s.model.kernel, 0, 0, "K", "auto (default), plain, avx2, avx512"},
        {"--storage", DW_ARG_STR, &s.model.storage, 0, 0, "TYPE",
         "of frozen weights in memory: source (default; bf16 stays bf16), float32, bfloat16"},
    };
    DW_TRY(dw_args_parse(argc, argv, "dowel score MODEL FILE", arg, sizeof arg / sizeof *arg, word,
                         2, 2, &help, err));
    if (help)
        return DW_OK;
    DW_TRY(dw_cli_on_bad(on_bad, &skip, err));
    DW_TRY(dw_cli_model_open(&s.model, word[0], err));
    dw_status st = dw_engine_create(s.model.m, &s.engine, err);
    if (st == DW_OK)
        st = dw_cli_rows_run(word[1], skip, BATCH_ROWS, score_rows, &s, err);
    dw_engine_destroy(s.engine);
    dw_cli_model_close(&s.model);
    return st;
}
