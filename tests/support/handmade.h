/* A task whose batch is written out by hand (JSON): models a known distance from a small one in the
 * tree, every column given as numbers, one pass through plugin and engine. */
#ifndef DW_TEST_HANDMADE_H
#define DW_TEST_HANDMADE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiny.h"
#include "train/live.h"
#include "train/pass.h"
#include "train/reference.h"

typedef struct handmade {
    dw_arena arena;
    const char *dir;
    dw_plan *plan;
    dw_run_options o;
    dw_live l;
    dw_set set; /* of the first task */
} handmade;

/* Moves every tensor by a wave that its name and `seed` decide, the same in any program that knows
 * the formula; heads, which no checkpoint has, are that wave alone. */
static void handmade_wave(dw_model *m, double seed)
{
    dw_params *p = dw_model_trained(m);
    for (size_t k = 0; k < p->n_weight; k++) {
        const dw_weight *w = &p->weight[k];
        bool head = !strncmp(w->name, "score", 5) || !strncmp(w->name, "value", 5);
        double phase = seed, size = head ? 0.3 : 0.03;
        for (const char *c = w->name; *c; c++)
            phase += (double)*c;
        for (size_t i = 0; i < (size_t)w->rows * w->cols; i++) {
            double wave = size * sin(phase + 0.7 * (double)i);
            p->w[w->offset + i] = (dw_real)((head ? 0 : (double)p->w[w->offset + i]) + wave);
        }
    }
    dw_model_changed(m);
}

static const char *handmade_files(handmade *h, const char *type)
{
    static const char *const rows[][2] = {
        {"pairs", "{\"prompt\":\"a b\",\"chosen\":\"c\",\"rejected\":\"d\",\"gold\":\"e\"}\n"},
        {"labels", "{\"prompt\":\"a b\",\"completion\":\"c\",\"label\":true}\n"},
        {"completions", "{\"prompt\":\"a b\",\"completion\":\"c\"}\n"},
        {"prompts", "{\"prompt\":\"a b\"}\n"},
        {"steps", "{\"prompt\":\"a b\",\"steps\":[\"c\",\"d\"],\"labels\":[1,0]}\n"},
        {"lists", "{\"prompt\":\"a b\",\"completions\":[\"c\",\"d\",\"e\"],\"ranks\":[1,2,3]}\n"}};
    dw_err err = {{0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i][0], type)) {
            const char *path = dw_arena_printf(&h->arena, "%s/%s.jsonl", h->dir, type);
            tiny_must(dw_file_write(path, rows[i][1], strlen(rows[i][1]), &err), &err);
            return path;
        }
    fprintf(stderr, "no data of type %s\n", type);
    abort();
}

static const char *handmade_text(const dw_json *v, const char *key, const char *fallback)
{
    const dw_json *x = dw_json_get(v, key);
    return x ? dw_json_str(x).ptr : fallback;
}

static double handmade_number(const dw_json *v, const char *key, double fallback)
{
    const dw_json *x = dw_json_get(v, key);
    return x && dw_json_kind(x) == DW_JSON_NUMBER ? dw_json_num(x) : fallback;
}

/* One task `name` over `type` with the objectives given as JSON text. */
static void handmade_task(handmade *h, dw_buf *b, const char *name, const char *type,
                          const char *objectives, const char *roles)
{
    bool rollout = !strcmp(type, "prompts");
    dw_buf_printf(b, "%s\"%s\":{\"data\":{\"type\":\"%s\",\"files\":[\"%s\"]},\"rows\":2,",
                  b->len ? "," : "", name, type, handmade_files(h, type));
    if (rollout)
        dw_buf_adds(b, "\"rollout\":{\"samples\":4,\"max_tokens\":12},\"rewards\":{\"brief\":{"
                       "\"weight\":1,\"plugin\":\"brevity\",\"options\":{\"budget\":4}}},");
    dw_buf_printf(b, "%s\"objectives\":{%s}}", roles, objectives);
}

/* The folder that every model here comes from. */
static const char *handmade_folder(handmade *h)
{
    return dw_arena_printf(&h->arena, "%s/golden/loop/model", getenv("DOWEL_TESTS"));
}

/* Opens a run of these tasks; weights, models: members of plan.json's objects, or "". False where
 * this version cannot do what a plugin asks for; anything else must work. */
static bool handmade_plan(handmade *h, const char *tasks, const char *weights, const char *models,
                          uint32_t micro_tokens)
{
    dw_buf b = {0};
    dw_err err = {{0}};
    dw_json *root = NULL;
    dw_buf_printf(&b,
                  "{\"dowel\":1,\"name\":\"handmade\",\"seed\":17,\"model\":{\"path\":\"%s\"},"
                  "\"tasks\":{%s},\"schedule\":[{\"steps\":1,\"weights\":{%s}}],"
                  "\"optimizer\":{\"kind\":\"adamw\",\"lr\":0.001},\"models\":{%s}}",
                  handmade_folder(h), tasks, weights, models);
    tiny_must(dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &root, &err), &err);
    tiny_must(dw_plan_parse(root, &h->plan, &err), &err);
    h->plan->micro_tokens = micro_tokens;
    for (size_t i = 0; i < h->plan->n_model; i++)
        h->plan->model[i].writable = true; /* handmade_wave */
    dw_buf_finish(&b);
    h->o = (dw_run_options){
        .out = dw_path_join(&h->arena, h->dir, "run"), .threads = 1, .quiet = true};
    dw_status st = dw_live_open(&h->l, h->plan, NULL, &h->o, &err);
    if (st < 0 && strstr(err.text, "this version does not"))
        return false;
    tiny_must(st, &err);
    tiny_must(dw_live_arm(&h->l, &err), &err);
    for (size_t i = 0; i < h->l.job.n_models; i++)
        handmade_wave(h->l.job.models[i].m, (double)i);
    dw_references_moved(&h->l.job);
    return true;
}

static void handmade_begin(handmade *h)
{
    char name[] = "/tmp/dowel-test-XXXXXX";
    *h = (handmade){0};
    if (!mkdtemp(name))
        abort();
    h->dir = dw_arena_strdup(&h->arena, name);
}

/* ---- the batch ---- */

static int32_t *handmade_ids(handmade *h, const dw_json *v, size_t *n)
{
    int32_t *id = dw_arena_alloc(&h->arena, (dw_json_len(v) + 1) * sizeof *id);
    *n = 0;
    for (const dw_json *x = dw_json_first(v); x; x = dw_json_next(x))
        id[(*n)++] = (int32_t)dw_json_num(x);
    return id;
}

static void handmade_seq(handmade *h, dw_set *set, const dw_json *v)
{
    dw_seq q = {.id = (uint64_t)set->n_seq,
                .weight = handmade_number(v, "weight", 1),
                .label = handmade_number(v, "label", 1),
                .target = handmade_number(v, "target", 1),
                .margin = handmade_number(v, "margin", 0),
                .rank = handmade_number(v, "rank", NAN),
                .mate = (int32_t)handmade_number(v, "mate", -1),
                .group = (int32_t)handmade_number(v, "group", 0),
                .role = (uint8_t)handmade_number(v, "role", DOWEL_TRAINED),
                .stop = (uint8_t)handmade_number(v, "stop", 0)};
    size_t n_prompt, n;
    q.joined = set->n_seq > 0 && q.group == set->seq[set->n_seq - 1].group &&
               dw_json_get(v, "joined") != NULL;
    if (dw_json_get(v, "reward")) {
        q.reward = dw_arena_alloc(&h->arena, 2 * sizeof *q.reward);
        q.reward[0] = q.reward[1] = handmade_number(v, "reward", 0);
    }
    int32_t *prompt = handmade_ids(h, dw_json_get(v, "prompt"), &n_prompt);
    int32_t *ids = handmade_ids(h, dw_json_get(v, "ids"), &n);
    dw_set_add(set, &q, prompt, n_prompt, ids, n);
}

/* A column of all sequences, or NULL where the first has none. */
static double *handmade_column(handmade *h, const dw_set *s, const dw_json *seqs, const char *key)
{
    if (!dw_json_get(dw_json_first(seqs), key))
        return NULL;
    double *x = dw_arena_alloc(&h->arena, (s->n_tok + 1) * sizeof *x);
    size_t n = 0;
    for (const dw_json *v = dw_json_first(seqs); v; v = dw_json_next(v)) {
        const dw_json *c = dw_json_get(v, key), *e = c ? dw_json_first(c) : NULL;
        for (size_t left = dw_json_len(dw_json_get(v, "ids")); left > 0; left--) {
            x[n++] = e && dw_json_kind(e) == DW_JSON_NUMBER ? dw_json_num(e) : NAN;
            e = e ? dw_json_next(e) : NULL;
        }
    }
    return x;
}

static void handmade_marks(handmade *h, dw_set *s, const dw_json *seqs)
{
    double *label = handmade_column(h, s, seqs, "mark_label");
    if (!label || !s->mark)
        return;
    s->mark_label = label;
    for (size_t i = 0; i < s->n_tok; i++)
        s->mark[i] = (uint8_t)(isnan(label[i]) ? 0 : 1);
}

static void handmade_batch(handmade *h, dw_set *s, dw_live_task *task, const dw_json *batch)
{
    const dw_json *seqs = dw_json_get(batch, "seqs");
    dw_set_init(s, task, &h->arena, dw_json_len(seqs), 0);
    s->temperature = handmade_number(batch, "temperature", 1);
    if (dw_json_get(dw_json_first(seqs), "margin"))
        s->given |= DOWEL_BIT(DOWEL_MARGIN);
    if (dw_json_get(dw_json_first(seqs), "rank"))
        s->given |= DOWEL_BIT(DOWEL_RANK);
    for (const dw_json *v = dw_json_first(seqs); v; v = dw_json_next(v))
        handmade_seq(h, s, v);
    s->n_loss = s->n_seq;
    while (s->n_loss > 0 && s->seq[s->n_loss - 1].role == DOWEL_MISMATCHED)
        s->n_loss--;
    dw_set_seal(s);
    const double *mask = handmade_column(h, s, seqs, "mask");
    for (size_t i = 0; mask && i < s->n_tok; i++)
        s->mask[i] = mask[i] != 0;
    dw_set_compact(s); /* counts again */
    s->ref_logp = handmade_column(h, s, seqs, "ref");
    s->old_logp = handmade_column(h, s, seqs, "old");
    s->sampler_logp = handmade_column(h, s, seqs, "sampler");
    s->teacher_logp = handmade_column(h, s, seqs, "teacher");
    s->advantage = handmade_column(h, s, seqs, "advantage");
    s->old_value = handmade_column(h, s, seqs, "old_value");
    s->ret = handmade_column(h, s, seqs, "return");
    if (dw_json_get(batch, "max_tokens"))
        s->max_tok = (uint32_t)handmade_number(batch, "max_tokens", 0);
    handmade_marks(h, s, seqs);
}

/* ---- one case of a fixture ---- */

static inline bool handmade_open(handmade *h, const dw_json *root, const dw_json *c)
{
    dw_buf task = {0}, use = {0}, second = {0};
    const char *type = handmade_text(c, "data", handmade_text(root, "data", "pairs"));
    const char *models = handmade_text(c, "models", NULL);
    handmade_begin(h);
    dw_buf_printf(&use, "\"it\":{\"plugin\":\"%s\",\"weight\":1,\"options\":",
                  handmade_text(c, "plugin", ""));
    dw_json_put(&use, dw_json_get(c, "options"), false, 0);
    dw_buf_adds(&use, "}");
    handmade_task(h, &task, "main", type, use.ptr, handmade_text(c, "roles", ""));
    if (models)
        dw_buf_printf(&second, "\"second\":{\"path\":\"%s\"%s}", handmade_folder(h), models);
    bool can = handmade_plan(h, task.ptr, "\"main\":1", models ? second.ptr : "",
                             (uint32_t)handmade_number(c, "micro_tokens", 4096));
    if (can)
        handmade_batch(h, &h->set, &h->l.job.task[0],
                       dw_json_get(root, handmade_text(c, "batch", "batch")));
    dw_buf_finish(&task);
    dw_buf_finish(&use);
    dw_buf_finish(&second);
    return can;
}

static inline double handmade_pass(handmade *h)
{
    dw_err err = {{0}};
    dw_pass p = {.job = &h->l.job, .set = &h->set, .weight = 1, .backward = true};
    dw_models_zero(&h->l.job);
    tiny_must(dw_pass_run(&p, &err), &err);
    return p.loss;
}

static void handmade_close(handmade *h)
{
    dw_err err = {{0}};
    dw_live_close(&h->l);
    dw_plan_free(h->plan);
    dw_remove_tree(h->dir, &err);
    dw_arena_finish(&h->arena);
}

#endif
