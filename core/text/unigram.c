/* Unigram models: reading them, and the likeliest cut of a word by Viterbi. */
#include "text/unigram.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "text/trie.h"
#include "text/unicode.h"

/* What an unknown character costs beyond the unlikeliest token. */
#define UNK_PENALTY 10.0

/* The best way to reach a byte of the word. */
typedef struct dw_unigram_best {
    double score;
    int32_t start, id; /* of the last token; start -1: not reached yet */
    int32_t next;      /* where the token ends that begins here, once the best cut is known */
} dw_unigram_best;

dw_status dw_unigram_read(dw_unigram *u, dw_vocab *v, const dw_json *model, dw_err *err)
{
    int64_t unk = -1;
    u->vocab = v;
    DW_TRY(dw_vocab_read_scored(v, dw_json_get(model, "vocab"), &u->score, err));
    u->n = v->n;
    dw_status st = dw_json_get_bool(model, "byte_fallback", false, &u->byte_fallback, err);
    if (!st)
        st = dw_json_get_int(model, "unk_id", -1, 0, v->n - 1, &unk, err);
    if (st) {
        dw_err_prefix(err, "model");
        return st;
    }
    u->unk = (int32_t)unk;
    u->unk_score = INFINITY;
    for (int32_t i = 0; i < u->n; i++)
        u->unk_score = fmin(u->unk_score, u->score[i]);
    u->unk_score -= UNK_PENALTY;
    return DW_OK;
}

void dw_unigram_build(dw_unigram *u)
{
    dw_trie_key *key = dw_alloc((size_t)u->n * sizeof *key);
    size_t n = 0;
    for (int32_t id = 0; id < u->n; id++)
        if (!u->vocab->entry[id].special)
            key[n++] = (dw_trie_key){u->vocab->entry[id].token, id};
    dw_trie_build(&u->trie, key, n);
    dw_free(key);
    dw_chars_build(&u->chars, u->vocab);
}

void dw_unigram_finish(dw_unigram *u)
{
    dw_free(u->score);
    u->score = NULL;
    dw_trie_finish(&u->trie);
    dw_chars_finish(&u->chars);
}

static bool make_room(dw_unigram_scratch *s, size_t n)
{
    if (n <= s->cap)
        return true;
    size_t cap = s->cap ? s->cap : 256;
    while (cap < n)
        cap *= 2;
    dw_free(s->best);
    s->best = dw_try_alloc(cap * sizeof *s->best);
    s->cap = s->best ? cap : 0;
    return s->best != NULL;
}

/* A later equal score does not replace an earlier one. */
static void offer(dw_unigram_best *to, double score, int32_t start, int32_t id)
{
    if (to->start < 0 || score > to->score) {
        to->score = score;
        to->start = start;
        to->id = id;
    }
}

static dw_status viterbi(const dw_unigram *u, dw_unigram_best *best, const char *word, size_t n,
                         dw_err *err)
{
    const dw_trie_node *node = u->trie.node;
    for (size_t i = 0; i <= n; i++)
        best[i].start = -1;
    best[0].score = 0;
    for (size_t at = 0; at < n;) {
        int len;
        uint32_t c = dw_unicode_at(word + at, n - at, &len);
        double here = best[at].score;
        bool whole = false;
        uint32_t from = 0;
        for (size_t i = at; i < n; i++) {
            uint32_t to = node[from].base + (unsigned char)word[i];
            if (node[to].parent != from + 1)
                break;
            from = to;
            int32_t id = node[to].id;
            if (id < 0)
                continue;
            offer(&best[i + 1], u->score[id] + here, (int32_t)at, id);
            whole |= i + 1 - at == (size_t)len;
        }
        if (!whole) {
            dw_unigram_best *to = &best[at + (size_t)len];
            if (u->unk < 0 && (to->start < 0 || u->unk_score + here > to->score))
                return dw_fail(err, DW_E_INPUT,
                               "the character U+%04X has no token and the model has no unk_id", c);
            offer(to, u->unk_score + here, (int32_t)at, u->unk);
        }
        at += (size_t)len;
    }
    return DW_OK;
}

/* Unknown characters side by side are one: their own bytes where all have tokens. */
static void put_unknown(const dw_unigram *u, const char *s, size_t n, dw_ids *out)
{
    int32_t id = dw_vocab_find(u->vocab, (dw_text){s, n});
    if (id >= 0 && id < u->n && !u->vocab->entry[id].special) {
        dw_ids_push(out, id);
    } else if (u->byte_fallback && dw_chars_has_bytes(&u->chars, s, n)) {
        for (size_t i = 0; i < n; i++)
            dw_ids_push(out, u->chars.byte_id[(unsigned char)s[i]]);
    } else {
        dw_ids_push(out, u->unk);
    }
}

static void walk(const dw_unigram *u, dw_unigram_best *best, const char *word, size_t n,
                 dw_ids *out)
{
    for (size_t end = n; end > 0; end = (size_t)best[end].start)
        best[best[end].start].next = (int32_t)end;
    for (size_t at = 0; at < n;) {
        size_t end = (size_t)best[at].next;
        if (best[end].id != u->unk) {
            dw_ids_push(out, best[end].id);
        } else {
            while (end < n && best[best[end].next].id == u->unk)
                end = (size_t)best[end].next;
            put_unknown(u, word + at, end - at, out);
        }
        at = end;
    }
}

dw_status dw_unigram_encode(const dw_unigram *u, dw_unigram_scratch *s, const char *word, size_t n,
                            dw_ids *out, dw_err *err)
{
    dw_cached_word *slot = dw_word_cache_slot(&s->cache, word, n);
    if (!n || dw_word_cache_take(slot, word, n, out))
        return DW_OK;
    if (!make_room(s, n + 1))
        return dw_fail(err, DW_E_LIMIT, "out of memory for a word of %zu bytes", n);
    DW_TRY(viterbi(u, s->best, word, n, err));
    size_t had = out->n;
    walk(u, s->best, word, n, out);
    dw_word_cache_put(slot, word, n, out->id + had, out->n - had);
    return DW_OK;
}

void dw_unigram_scratch_finish(dw_unigram_scratch *s)
{
    dw_word_cache_finish(&s->cache);
    dw_free(s->best);
    *s = (dw_unigram_scratch){0};
}
