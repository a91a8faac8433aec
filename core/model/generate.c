/* Continuous batching: prompts are computed once per distinct prompt, live sequences advance
 * together, finished ones leave at once and waiting ones join. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"
#include "model/generate_internal.h"

enum { MAX_VOICES = 2 };

enum { PREFILL_ROWS = 1024 }; /* of one forward pass, unless one prompt is longer */

/* A distinct prompt. Its pages are read by every sequence that starts with it. */
typedef struct prompt {
    const int32_t *id;
    size_t n;
    dw_real **page[MAX_VOICES]; /* [n_page], NULL before it is computed */
    size_t n_page;
    dw_real *hidden[MAX_VOICES]; /* [d], last row */
    size_t waiting;              /* sequences that are not finished */
} prompt;

typedef struct sequence {
    dw_gen_item *item;
    size_t index, prompt;
    dw_real **page[MAX_VOICES]; /* the prompt's full pages, then own ones */
    size_t n_page;
    uint32_t cap;
    bool fresh;  /* its hidden row is the prompt's */
    dw_buf text; /* tail of the text, for stop strings */
} sequence;

struct dw_generator {
    dw_model *m;
    dw_engine *engine;
};

typedef struct choice {
    int32_t id;
    double logp;
} choice;

/* A model that is asked about every next token. With two of them the logits are mixed. */
typedef struct voice {
    dw_generator *g;
    bool no_adapter, made;
    dw_kv kv;
    dw_decoder decoder;
    dw_head_spec head;
    dw_real *hidden; /* [max_live][d] */
    dw_real *logits; /* [max_live][vocab] */
} voice;

typedef struct batch {
    dw_generator *g;
    voice voice[MAX_VOICES];
    size_t n_voice;
    const dw_sampling *s;
    dw_gen_item *item;
    size_t n, next; /* items, and the first that has not joined */
    prompt *prompt;
    size_t n_prompt;
    size_t *prompt_of; /* [n] */
    sequence *live;
    size_t n_live, max_live;
    size_t logits_bytes;
    dw_decode_row *row;
    choice *choice;
    dw_candidate **cand; /* [threads][vocab] */
    size_t longest_stop;
    dw_err *err;
} batch;

void dw_gen_item_finish(dw_gen_item *it)
{
    dw_free(it->id);
    dw_free(it->logp);
    it->id = NULL;
    it->logp = NULL;
    it->n = 0;
}

dw_status dw_generator_create(dw_model *m, dw_generator **out, dw_err *err)
{
    dw_generator *g = dw_zalloc(1, sizeof *g);
    g->m = m;
    dw_status st = dw_engine_create(m, &g->engine, err);
    if (st < 0) {
        dw_free(g);
        return st;
    }
    *out = g;
    return DW_OK;
}

void dw_generator_destroy(dw_generator *g)
{
    if (!g)
        return;
    dw_engine_destroy(g->engine);
    dw_free(g);
}

/* The second voice. */
static dw_status check_with(const dw_model *m, const dw_sampling *s, dw_err *err)
{
    if (!s->with)
        return DW_OK;
    const dw_model *o = s->with->m;
    DW_TRY(dw_model_speaks(o, err));
    if (o->desc.vocab != m->desc.vocab)
        return dw_fail(err, DW_E_INPUT,
                       "models with vocabularies of %u and %u tokens cannot be mixed",
                       m->desc.vocab, o->desc.vocab);
    if (!(s->mixture >= 0 && s->mixture <= 1))
        return dw_fail(err, DW_E_INPUT, "mixture is %g, wanted a number from 0 to 1", s->mixture);
    return DW_OK;
}

static size_t max_positions(const dw_model *m, const dw_sampling *s)
{
    size_t own = m->desc.max_positions;
    return s->with && s->with->m->desc.max_positions < own ? s->with->m->desc.max_positions : own;
}

static dw_status check(const dw_model *m, const dw_sampling *s, const dw_gen_item *item, size_t n,
                       dw_err *err)
{
    const dw_description *d = &m->desc;
    DW_TRY(dw_model_speaks(m, err));
    DW_TRY(check_with(m, s, err));
    if (!s->greedy && !(s->temperature > 0 && isfinite(s->temperature)))
        return dw_fail(err, DW_E_INPUT, "temperature is %g, wanted a number above 0",
                       s->temperature);
    if (!s->greedy && !(s->top_p > 0 && s->top_p <= 1))
        return dw_fail(err, DW_E_INPUT, "top_p is %g, wanted a number above 0 and at most 1",
                       s->top_p);
    if (!s->greedy && !(s->min_p >= 0 && s->min_p <= 1))
        return dw_fail(err, DW_E_INPUT, "min_p is %g, wanted a number from 0 to 1", s->min_p);
    if (!s->max_new)
        return dw_fail(err, DW_E_INPUT, "max_new is 0, wanted at least one new token");
    if (s->n_stop_string && !m->tokenizer)
        return dw_fail(err, DW_E_INPUT, "stop strings need a tokenizer, and the model has none");
    for (size_t i = 0; i < s->n_stop_string; i++)
        if (!s->stop_string[i][0])
            return dw_fail(err, DW_E_INPUT, "stop string %zu is empty", i + 1);
    for (size_t i = 0; i < n; i++) {
        if (!item[i].n_prompt)
            return dw_fail(err, DW_E_INPUT, "prompt %zu has no tokens", i + 1);
        if (item[i].n_prompt >= max_positions(m, s))
            return dw_fail(
                err, DW_E_INPUT,
                "prompt %zu has %zu tokens, and the model has positions for %zu: no room "
                "for an answer",
                i + 1, item[i].n_prompt, max_positions(m, s));
        for (size_t k = 0; k < item[i].n_prompt; k++)
            if (item[i].prompt[k] < 0 || (uint32_t)item[i].prompt[k] >= d->vocab)
                return dw_fail(err, DW_E_INPUT,
                               "prompt %zu: token id %d is outside of the vocabulary of %u", i + 1,
                               item[i].prompt[k], d->vocab);
    }
    return DW_OK;
}

static void find_prompts(batch *b)
{
    dw_map seen = {0};
    b->prompt = dw_zalloc(b->n, sizeof *b->prompt);
    b->prompt_of = dw_zalloc(b->n, sizeof *b->prompt_of);
    for (size_t i = 0; i < b->n; i++) {
        const dw_gen_item *it = &b->item[i];
        const dw_text key = {(const char *)it->prompt, it->n_prompt * sizeof *it->prompt};
        int64_t at = (int64_t)b->n_prompt;
        if (dw_map_put(&seen, key, at))
            b->prompt[b->n_prompt++] = (prompt){.id = it->prompt, .n = it->n_prompt};
        else
            dw_map_get(&seen, key, &at);
        b->prompt_of[i] = (size_t)at;
        b->prompt[at].waiting++;
    }
    dw_map_finish(&seen);
}

static dw_status voice_make(batch *b, dw_generator *g, bool no_adapter, dw_err *err)
{
    voice *v = &b->voice[b->n_voice++];
    *v = (voice){.g = g, .no_adapter = no_adapter};
    dw_kv_init(&v->kv, g->m);
    v->head = dw_head_of(g->m, b->s->greedy ? 1 : b->s->temperature);
    DW_TRY(dw_decoder_init(&v->decoder, g->m, b->max_live, !no_adapter, err));
    v->made = true;
    v->hidden = dw_try_alloc(b->max_live * g->m->desc.d * sizeof *v->hidden);
    v->logits = dw_tensor_map(b->logits_bytes);
    if (v->hidden && v->logits)
        return DW_OK;
    return dw_fail(err, DW_E_LIMIT,
                   "no memory for the logits of %zu live sequences (%.1f MB): generate fewer at "
                   "once",
                   b->max_live, (double)b->logits_bytes / 1e6);
}

static void voice_finish(voice *v, size_t logits_bytes)
{
    if (v->made)
        dw_decoder_finish(&v->decoder);
    if (v->logits)
        dw_tensor_unmap(v->logits, logits_bytes);
    dw_kv_finish(&v->kv);
    dw_free(v->hidden);
}

static dw_status batch_make(batch *b, dw_err *err)
{
    const dw_model *m = b->g->m;
    const size_t vocab = m->desc.vocab, threads = (size_t)dw_pool_threads(m->x->pool);
    b->max_live = b->s->max_live ? b->s->max_live : 32;
    if (b->max_live > b->n)
        b->max_live = b->n;
    find_prompts(b);
    b->live = dw_zalloc(b->max_live, sizeof *b->live);
    b->row = dw_zalloc(b->max_live, sizeof *b->row);
    b->choice = dw_zalloc(b->max_live, sizeof *b->choice);
    b->cand = dw_zalloc(threads, sizeof *b->cand);
    for (size_t i = 0; i < b->s->n_stop_string; i++) {
        size_t len = strlen(b->s->stop_string[i]);
        b->longest_stop = len > b->longest_stop ? len : b->longest_stop;
    }
    b->logits_bytes = b->max_live * vocab * sizeof(dw_real);
    DW_TRY(voice_make(b, b->g, b->s->no_adapter, err));
    if (b->s->with)
        DW_TRY(voice_make(b, b->s->with, b->s->with_no_adapter, err));
    bool ok = true;
    for (size_t i = 0; ok && !b->s->greedy && i < threads; i++)
        ok = (b->cand[i] = dw_try_alloc(vocab * sizeof **b->cand)) != NULL;
    return ok ? DW_OK : dw_fail(err, DW_E_LIMIT, "no memory to choose among %zu tokens", vocab);
}

static void prompt_drop(batch *b, prompt *p)
{
    for (size_t v = 0; v < b->n_voice; v++) {
        for (size_t i = 0; p->page[v] && i < p->n_page; i++)
            dw_kv_give(&b->voice[v].kv, p->page[v][i]);
        dw_free(p->page[v]);
        dw_free(p->hidden[v]);
        p->page[v] = NULL;
        p->hidden[v] = NULL;
    }
}

static void sequence_drop(batch *b, sequence *q)
{
    prompt *p = &b->prompt[q->prompt];
    for (size_t v = 0; v < b->n_voice; v++) {
        for (size_t i = p->n / DW_KV_PAGE; q->page[v] && i < q->n_page; i++)
            dw_kv_give(&b->voice[v].kv, q->page[v][i]);
        dw_free(q->page[v]);
    }
    dw_buf_finish(&q->text);
    if (--p->waiting == 0)
        prompt_drop(b, p);
}

static void batch_finish(batch *b)
{
    const size_t threads = (size_t)dw_pool_threads(b->g->m->x->pool);
    for (size_t i = 0; i < b->n_live; i++)
        sequence_drop(b, &b->live[i]);
    for (size_t i = 0; i < b->n_prompt; i++)
        prompt_drop(b, &b->prompt[i]);
    for (size_t i = 0; b->cand && i < threads; i++)
        dw_free(b->cand[i]);
    for (size_t i = 0; i < b->n_voice; i++)
        voice_finish(&b->voice[i], b->logits_bytes);
    dw_free(b->cand);
    dw_free(b->prompt);
    dw_free(b->prompt_of);
    dw_free(b->live);
    dw_free(b->row);
    dw_free(b->choice);
}

/* ---- prompts ---- */

typedef struct prefill {
    const voice *v;
    size_t which; /* voice */
    prompt **p;
    const dw_segment *seg;
    size_t n;
    dw_widths w;
} prefill;

static void store_prompts(void *ctx, uint32_t layer, const dw_real *qkv)
{
    const prefill *f = ctx;
    for (size_t i = 0; i < f->n; i++) {
        const dw_real *k = qkv + f->seg[i].start * f->w.qkv + f->w.q;
        dw_kv_store(&f->v->kv, f->p[i]->page[f->which], layer, 0, f->p[i]->n, k, k + f->w.kv,
                    f->w.qkv);
    }
}

/* One forward pass of one voice over n prompts that it has not computed yet. */
static dw_status compute_by(batch *b, size_t which, prompt **p, const dw_segment *seg, size_t n,
                            const int32_t *id, dw_err *err)
{
    voice *v = &b->voice[which];
    const size_t d = v->g->m->desc.d;
    const dw_forest forest = {
        .id = id, .n_row = seg[n - 1].start + seg[n - 1].len, .seg = seg, .n_seg = n};
    for (size_t i = 0; i < n; i++) {
        p[i]->page[which] = dw_zalloc(p[i]->n_page, sizeof *p[i]->page[which]);
        for (size_t k = 0; k < p[i]->n_page; k++)
            if (!(p[i]->page[which][k] = dw_kv_take(&v->kv, err)))
                return DW_E_LIMIT;
    }
    prefill f = {
        .v = v, .which = which, .p = p, .seg = seg, .n = n, .w = dw_widths_of(&v->g->m->desc)};
    DW_TRY(dw_engine_run(v->g->engine, &forest, v->no_adapter ? DW_PASS_NO_ADAPTER : 0,
                         store_prompts, &f, err));
    const dw_real *h = dw_engine_hidden(v->g->engine);
    for (size_t i = 0; i < n; i++) {
        p[i]->hidden[which] = dw_alloc(d * sizeof *h);
        memcpy(p[i]->hidden[which], h + (seg[i].start + p[i]->n - 1) * d, d * sizeof *h);
    }
    return DW_OK;
}

static dw_status compute_prompts(batch *b, prompt **p, size_t n, dw_err *err)
{
    size_t rows = 0;
    dw_segment *seg = dw_zalloc(n, sizeof *seg);
    for (size_t i = 0; i < n; i++) {
        seg[i] = (dw_segment){.start = (uint32_t)rows, .len = (uint32_t)p[i]->n, .parent = -1};
        rows += p[i]->n;
        p[i]->n_page = (p[i]->n + DW_KV_PAGE - 1) / DW_KV_PAGE;
    }
    int32_t *id = dw_alloc(rows * sizeof *id);
    for (size_t i = 0; i < n; i++)
        memcpy(id + seg[i].start, p[i]->id, p[i]->n * sizeof *id);
    dw_status st = DW_OK;
    for (size_t v = 0; v < b->n_voice && st == DW_OK; v++)
        st = compute_by(b, v, p, seg, n, id, err);
    dw_free(id);
    dw_free(seg);
    return st;
}

/* Lets the next item in: it reads the prompt's full pages and continues on a copy of the last one.
 */
static dw_status join(batch *b, dw_err *err)
{
    dw_assert(b->prompt && b->prompt_of);
    sequence *q = &b->live[b->n_live];
    *q = (sequence){.item = &b->item[b->next],
                    .index = b->next,
                    .prompt = b->prompt_of[b->next],
                    .fresh = true};
    prompt *p = &b->prompt[q->prompt];
    const size_t full = p->n / DW_KV_PAGE, rest = p->n % DW_KV_PAGE;
    const size_t positions = max_positions(b->g->m, b->s);
    const size_t max_len = b->s->max_new < positions - p->n ? p->n + b->s->max_new : positions;
    for (size_t v = 0; v < b->n_voice; v++) {
        q->page[v] = dw_zalloc(max_len / DW_KV_PAGE + 1, sizeof *q->page[v]);
        memcpy(q->page[v], p->page[v], full * sizeof *q->page[v]);
    }
    q->n_page = full + (rest > 0);
    b->n_live++;
    b->next++;
    for (size_t v = 0; v < b->n_voice && rest; v++) {
        if (!(q->page[v][full] = dw_kv_take(&b->voice[v].kv, err)))
            return DW_E_LIMIT;
        dw_kv_copy(&b->voice[v].kv, q->page[v][full], p->page[v][full]);
    }
    return DW_OK;
}

/* Fills free places: first computes, in passes of bounded size, the prompts of all who join. */
static dw_status admit(batch *b, dw_err *err)
{
    size_t end = b->next;
    while (end < b->n && b->n_live + (end - b->next) < b->max_live)
        end++;
    prompt **p = dw_zalloc(end - b->next + 1, sizeof *p);
    dw_status st = DW_OK;
    size_t n = 0, rows = 0;
    for (size_t i = b->next; i <= end && st == DW_OK; i++) {
        prompt *more = i < end ? &b->prompt[b->prompt_of[i]] : NULL;
        bool known = more && more->page[0];
        for (size_t k = 0; k < n; k++)
            known |= p[k] == more;
        if (known)
            continue;
        if (n && (!more || rows + more->n > PREFILL_ROWS)) {
            st = compute_prompts(b, p, n, err);
            n = rows = 0;
        }
        if (more) {
            p[n++] = more;
            rows += more->n;
        }
    }
    dw_free(p);
    while (b->next < end && st == DW_OK)
        st = join(b, err);
    return st;
}

/* ---- steps ---- */

/* A page for the position that comes next. */
static dw_status make_room(batch *b, sequence *q, size_t pos, dw_err *err)
{
    if (pos / DW_KV_PAGE < q->n_page)
        return DW_OK;
    q->n_page++;
    for (size_t v = 0; v < b->n_voice; v++)
        if (!(q->page[v][q->n_page - 1] = dw_kv_take(&b->voice[v].kv, err)))
            return DW_E_LIMIT;
    return DW_OK;
}

static void advance_voice(batch *b, size_t which)
{
    voice *v = &b->voice[which];
    const size_t d = v->g->m->desc.d;
    size_t n = 0;
    for (size_t i = 0; i < b->n_live; i++) {
        const sequence *q = &b->live[i];
        if (!q->fresh)
            b->row[n++] = (dw_decode_row){.id = q->item->id[q->item->n - 1],
                                          .pos = (uint32_t)(q->item->n_prompt + q->item->n - 1),
                                          .page = q->page[which]};
    }
    const dw_real *h = n ? dw_decoder_step(&v->decoder, &v->kv, b->row, n) : NULL;
    for (size_t i = 0; i < b->n_live; i++) {
        const sequence *q = &b->live[i];
        memcpy(v->hidden + i * d, q->fresh ? b->prompt[q->prompt].hidden[which] : h, d * sizeof *h);
        if (!q->fresh)
            h += d;
    }
    dw_head_logits(v->g->m->x, &v->head, v->hidden, d, b->n_live, v->logits);
}

/* Feeds the last token of every sequence that has one; the others start from their prompt. */
static dw_status advance(batch *b, dw_err *err)
{
    for (size_t i = 0; i < b->n_live; i++) {
        sequence *q = &b->live[i];
        if (!q->fresh)
            DW_TRY(make_room(b, q, q->item->n_prompt + q->item->n - 1, err));
    }
    for (size_t v = 0; v < b->n_voice; v++)
        advance_voice(b, v);
    for (size_t i = 0; i < b->n_live; i++)
        b->live[i].fresh = false;
    return DW_OK;
}

/* In place: (1 - c) z + c z'. At c = 0 and c = 1 the bits are those of one of the two. */
static void mix_logits(const batch *b, dw_real *logits, size_t i, size_t vocab)
{
    const dw_real *with = b->voice[1].logits + i * vocab;
    const double c = b->s->mixture;
    for (size_t k = 0; k < vocab; k++)
        logits[k] = (dw_real)((1 - c) * (double)logits[k] + c * (double)with[k]);
}

static void choose_one(void *ctx, size_t i, int thread)
{
    batch *b = ctx;
    const size_t vocab = b->g->m->desc.vocab;
    dw_real *logits = b->voice[0].logits + i * vocab;
    const dw_gen_item *it = b->live[i].item;
    double lse, entropy;
    if (b->n_voice > 1)
        mix_logits(b, logits, i, vocab);
    dw_head_row_stats(&b->voice[0].head, b->g->m->x, logits, &lse, &entropy);
    choice *c = &b->choice[i];
    *c = (choice){.id = -1};
    if (!isfinite(lse))
        return;
    const double u = dw_random_unit(b->s->seed, DW_RNG_SAMPLE, it->key, it->n_prompt + it->n);
    c->id = dw_sample_choose(b->s, logits, vocab, u, b->cand[thread]);
    c->logp = dw_head_row_logp(&b->voice[0].head, logits, c->id, lse);
}

/* Whether the token that was just appended completes a stop string. Only as much text as a match
 * can reach back is kept. */
static dw_status stop_string(batch *b, sequence *q, int32_t id, bool *stop, dw_err *err)
{
    *stop = false;
    if (!b->s->n_stop_string)
        return DW_OK;
    DW_TRY(dw_tokenizer_piece(b->g->m->tokenizer, id, &q->text, err));
    for (size_t i = 0; i < b->s->n_stop_string && !*stop; i++)
        *stop = q->text.len && memmem(q->text.ptr, q->text.len, b->s->stop_string[i],
                                      strlen(b->s->stop_string[i])) != NULL;
    if (q->text.len >= b->longest_stop) {
        const size_t drop = q->text.len - (b->longest_stop - 1);
        memmove(q->text.ptr, q->text.ptr + drop, q->text.len - drop);
        q->text.len -= drop;
        q->text.ptr[q->text.len] = '\0';
    }
    return DW_OK;
}

static dw_status append(batch *b, sequence *q, const choice *c, dw_err *err)
{
    dw_gen_item *it = q->item;
    if (c->id < 0)
        return dw_fail(err, DW_E_NUMERIC,
                       "the model's logits after %zu tokens are not finite numbers",
                       it->n_prompt + it->n);
    if (it->n == q->cap) {
        q->cap = q->cap ? 2 * q->cap : 32;
        it->id = dw_realloc(it->id, q->cap * sizeof *it->id);
        it->logp = dw_realloc(it->logp, q->cap * sizeof *it->logp);
    }
    it->id[it->n] = c->id;
    it->logp[it->n++] = c->logp;
    bool string;
    DW_TRY(stop_string(b, q, c->id, &string, err));
    for (size_t i = 0; i < b->s->n_stop && !it->finish; i++)
        if (b->s->stop[i] == c->id)
            it->finish = DW_FINISH_STOP;
    if (!it->finish && string)
        it->finish = DW_FINISH_STRING;
    if (!it->finish &&
        (it->n == b->s->max_new || it->n_prompt + it->n == max_positions(b->g->m, b->s)))
        it->finish = DW_FINISH_LENGTH;
    return DW_OK;
}

static dw_status step(batch *b, dw_gen_progress progress, void *ctx, dw_err *err)
{
    DW_TRY(admit(b, err));
    DW_TRY(advance(b, err));
    dw_pool_run(b->g->m->x->pool, b->n_live, choose_one, b);
    size_t kept = 0, n = b->n_live;
    dw_status st = DW_OK;
    for (size_t i = 0; i < n; i++) {
        sequence *q = &b->live[i];
        if (st == DW_OK)
            st = append(b, q, &b->choice[i], err);
        if (st == DW_OK && progress && !progress(ctx, q->item, q->index))
            st = dw_fail(err, DW_E_SIGINT, "generation was stopped");
        if (q->item->finish)
            sequence_drop(b, q);
        else
            b->live[kept++] = *q;
    }
    b->n_live = kept;
    return st;
}

dw_status dw_generate(dw_generator *g, const dw_sampling *s, dw_gen_item *item, size_t n,
                      dw_gen_progress progress, void *ctx, dw_err *err)
{
    for (size_t i = 0; i < n; i++) {
        item[i].id = NULL;
        item[i].logp = NULL;
        item[i].n = 0;
        item[i].finish = 0;
    }
    DW_TRY(check(g->m, s, item, n, err));
    if (!n)
        return DW_OK;
    batch b = {.g = g, .s = s, .item = item, .n = n};
    dw_status st = batch_make(&b, err);
    while (st == DW_OK && (b.n_live || b.next < n))
        st = step(&b, progress, ctx, err);
    batch_finish(&b);
    return st;
}

size_t dw_generate_bytes(const dw_model *m, size_t n_prompts, size_t prompt_len, size_t n,
                         size_t max_new)
{
    dw_kv kv;
    dw_kv_init(&kv, m);
    const size_t page = kv.page_reals * sizeof(dw_real);
    const size_t full = prompt_len / DW_KV_PAGE;
    const size_t own = (prompt_len + max_new + DW_KV_PAGE - 1) / DW_KV_PAGE - full;
    const size_t shared = (prompt_len + DW_KV_PAGE - 1) / DW_KV_PAGE;
    size_t rows = n_prompts * prompt_len;
    rows = rows > PREFILL_ROWS ? PREFILL_ROWS : rows;
    rows = rows < prompt_len ? prompt_len : rows;
    dw_act_plan prefill_plan, decode_plan;
    dw_act_plan_make(m, rows, false, NULL, NULL, &prefill_plan);
    dw_act_plan_make(m, n, false, NULL, NULL, &decode_plan);
    return page * (n_prompts * shared + n * own) + prefill_plan.bytes + decode_plan.bytes +
           n * m->desc.vocab * sizeof(dw_real);
}
