/* Added tokens: leftmost-longest search, as Hugging Face tokenizers does it. */
#include "text/added.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/unicode.h"

/* ---- reading ---- */

static int by_content(const void *a, const void *b)
{
    const dw_added_token *x = a, *y = b;
    size_t n = x->content.len < y->content.len ? x->content.len : y->content.len;
    int c = memcmp(x->content.ptr, y->content.ptr, n);
    return c ? c : x->content.len < y->content.len ? -1 : x->content.len > y->content.len;
}

static void build_set(dw_added_set *s, const dw_added_token *all, size_t n,
                      bool (*takes)(const dw_added_token *t))
{
    s->token = dw_zalloc(n + 1, sizeof *s->token);
    for (size_t i = 0; i < n; i++)
        if (takes(&all[i])) {
            s->n_plain += !all[i].special;
            s->token[s->n++] = all[i];
        }
    qsort(s->token, s->n, sizeof *s->token, by_content);
    size_t at = 0;
    for (unsigned c = 0; c <= 256; c++) {
        while (at < s->n && (unsigned char)s->token[at].content.ptr[0] < c)
            at++;
        s->first[c] = (uint32_t)at;
    }
}

static bool is_raw(const dw_added_token *t)
{
    return !t->normalized;
}

static bool is_normal(const dw_added_token *t)
{
    return t->normalized;
}

static bool is_literal(const dw_added_token *t)
{
    return t->special || !t->normalized;
}

static dw_status read_flags(const dw_json *o, dw_added_token *t, dw_err *err)
{
    DW_TRY(dw_json_get_bool(o, "special", false, &t->special, err));
    DW_TRY(dw_json_get_bool(o, "lstrip", false, &t->lstrip, err));
    DW_TRY(dw_json_get_bool(o, "rstrip", false, &t->rstrip, err));
    DW_TRY(dw_json_get_bool(o, "single_word", false, &t->single_word, err));
    return dw_json_get_bool(o, "normalized", !t->special, &t->normalized, err);
}

static dw_status read_token(dw_vocab *v, const dw_json *o, size_t i, dw_added_token *t, dw_err *err)
{
    char where[48];
    snprintf(where, sizeof where, "added_tokens[%zu]", i);
    const dw_json *content = dw_json_get(o, "content"), *id = dw_json_get(o, "id");
    int64_t n;
    if (dw_json_kind(o) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "%s: wanted an object, found %s", where,
                       dw_json_kind_name(o));
    if (!content || dw_json_kind(content) != DW_JSON_STRING || !dw_json_str(content).len)
        return dw_fail(err, DW_E_INPUT,
                       "%s: content: wanted a string of at least one character, "
                       "found %s",
                       where,
                       content && dw_json_kind(content) == DW_JSON_STRING
                           ? "an empty one"
                           : dw_json_kind_name(content));
    if (!dw_json_int(id, &n))
        return dw_fail(err, DW_E_INPUT, "%s: id: wanted an integer, found %s", where,
                       id && dw_json_kind(id) == DW_JSON_NUMBER ? "a fraction"
                                                                : dw_json_kind_name(id));
    dw_status st = read_flags(o, t, err);
    if (st) {
        dw_err_prefix(err, "%s", where);
        return st;
    }
    DW_TRY(dw_vocab_add(v, dw_json_str(content), n, where, err));
    t->id = (int32_t)n;
    t->content = v->entry[t->id].token;
    return DW_OK;
}

/* What a normalized token looks like in a text that was brought into normal form. */
static dw_status normalize_all(dw_vocab *v, dw_added_token *all, size_t n, const dw_normalize *z,
                               dw_err *err)
{
    dw_normalize_scratch scratch = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < n && !st; i++) {
        dw_text to;
        if (!all[i].normalized)
            continue;
        st = dw_normalize_run(z, &scratch, all[i].content, &to, err);
        if (!st && !to.len)
            st = dw_fail(err, DW_E_INPUT, "added_tokens[%zu]: the normalizer leaves nothing of %s",
                         i, dw_vocab_quoted(all[i].content).text);
        if (!st && !dw_text_eq(to, all[i].content)) {
            all[i].content = (dw_text){dw_arena_strndup(&v->arena, to.ptr, to.len), to.len};
            dw_vocab_show(v, all[i].id, all[i].content);
        }
    }
    dw_normalize_scratch_finish(&scratch);
    return st;
}

static dw_status read_all(dw_added *a, dw_vocab *v, const dw_json *array, const dw_normalize *z,
                          dw_added_token *all, dw_err *err)
{
    size_t n = 0;
    dw_map seen = {0};
    dw_status st = DW_OK;
    v->limit += (int64_t)dw_json_len(array) * 2;
    for (const dw_json *e = dw_json_first(array); e && !st; e = dw_json_next(e), n++) {
        st = read_token(v, e, n, &all[n], err);
        if (!st && !dw_map_put(&seen, v->entry[all[n].id].token, 0))
            st = dw_fail(err, DW_E_INPUT, "added_tokens[%zu]: %s is there already", n,
                         dw_vocab_quoted(v->entry[all[n].id].token).text);
    }
    dw_map_finish(&seen);
    if (st)
        return st;
    a->n_special = v->n;
    a->special = dw_zalloc((size_t)v->n + 1, 1);
    for (size_t i = 0; i < n; i++)
        a->special[all[i].id] = v->entry[all[i].id].special = all[i].special;
    /* Literal parts are searched before anything normalises them. */
    build_set(&a->literal, all, n, is_literal);
    DW_TRY(normalize_all(v, all, n, z, err));
    build_set(&a->raw, all, n, is_raw);
    build_set(&a->normal, all, n, is_normal);
    return DW_OK;
}

dw_status dw_added_read(dw_added *a, dw_vocab *v, const dw_json *array, const dw_normalize *z,
                        dw_err *err)
{
    if (array && dw_json_kind(array) != DW_JSON_ARRAY && dw_json_kind(array) != DW_JSON_NULL)
        return dw_fail(err, DW_E_INPUT, "added_tokens: wanted an array, found %s",
                       dw_json_kind_name(array));
    dw_added_token *all = dw_zalloc(dw_json_len(array) + 1, sizeof *all);
    dw_status st = read_all(a, v, array, z, all, err);
    dw_free(all);
    return st;
}

void dw_added_finish(dw_added *a)
{
    dw_free(a->raw.token);
    dw_free(a->normal.token);
    dw_free(a->literal.token);
    dw_free(a->special);
    *a = (dw_added){0};
}

/* ---- searching ---- */

/* Narrows [*lo, *hi), whose tokens share `depth` bytes, to those that go on with byte c. */
static void narrow(const dw_added_set *s, size_t *lo, size_t *hi, size_t depth, unsigned char c)
{
    size_t a = *lo, b = *hi;
    while (a < b) {
        size_t mid = a + (b - a) / 2;
        dw_text t = s->token[mid].content;
        if (t.len <= depth || (unsigned char)t.ptr[depth] < c)
            a = mid + 1;
        else
            b = mid;
    }
    *lo = a;
    b = *hi;
    while (a < b) {
        size_t mid = a + (b - a) / 2;
        if ((unsigned char)s->token[mid].content.ptr[depth] > c)
            b = mid;
        else
            a = mid + 1;
    }
    *hi = a;
}

/* The longest token at text[at] that may match there; special ones end at or before special_end. */
static const dw_added_token *longest(const dw_added_set *s, dw_text text, size_t at,
                                     size_t special_end)
{
    unsigned char c = (unsigned char)text.ptr[at];
    size_t lo = s->first[c], hi = s->first[c + 1];
    const dw_added_token *best = NULL;
    for (size_t depth = 1; lo < hi; depth++) {
        /* A token that ends here sorts before those it is a prefix of. */
        const dw_added_token *t = &s->token[lo];
        if (t->content.len == depth && (!t->special || at + depth <= special_end))
            best = t;
        if (at + depth >= text.len)
            break;
        narrow(s, &lo, &hi, depth, (unsigned char)text.ptr[at + depth]);
    }
    return best;
}

static bool stands_alone(dw_text text, size_t start, size_t end)
{
    int len;
    if (start > 0) {
        size_t b = dw_unicode_before(text.ptr, start);
        if (dw_unicode_is_word(dw_unicode_at(text.ptr + b, start - b, &len)))
            return false;
    }
    return end >= text.len ||
           !dw_unicode_is_word(dw_unicode_at(text.ptr + end, text.len - end, &len));
}

static void strip(const dw_added_token *t, dw_text text, size_t floor, dw_added_match *m)
{
    int len;
    while (t->lstrip && m->start > floor) {
        size_t b = dw_unicode_before(text.ptr, m->start);
        if (!dw_unicode_is_space(dw_unicode_at(text.ptr + b, m->start - b, &len)))
            break;
        m->start = b;
    }
    while (t->rstrip && m->end < text.len &&
           dw_unicode_is_space(dw_unicode_at(text.ptr + m->end, text.len - m->end, &len)))
        m->end += (size_t)len;
}

/* Where special tokens that start at f->at have to end; 0: none may start here. */
static size_t special_end(dw_added_finder *f)
{
    if (f->mode != DW_ADDED_SPANS)
        return f->text.len;
    while (f->in_span < f->n_span && f->span[f->in_span].end <= f->at)
        f->in_span++;
    if (f->in_span == f->n_span)
        return 0; /* f->span may be NULL */
    const dw_added_span *s = &f->span[f->in_span];
    return s->start <= f->at ? s->end : 0;
}

bool dw_added_next(dw_added_finder *f, dw_added_match *out)
{
    const dw_added_set *s = f->set;
    if (!s->n || (f->mode == DW_ADDED_PLAIN && !s->n_plain))
        return false;
    while (f->at < f->text.len) {
        unsigned char c = (unsigned char)f->text.ptr[f->at];
        const dw_added_token *t = NULL;
        if (s->first[c] < s->first[c + 1])
            t = longest(s, f->text, f->at, special_end(f));
        if (!t) {
            f->at++;
            continue;
        }
        dw_added_match m = {f->at, f->at + t->content.len, t->id};
        /* A match that does not count is stepped over whole, so what it overlaps is not found:
         * that is what Hugging Face tokenizers does. */
        f->at = m.end;
        if ((t->special && f->mode == DW_ADDED_PLAIN) ||
            (t->single_word && !stands_alone(f->text, m.start, m.end)))
            continue;
        /* White space that an earlier rstrip took is gone, but a token that begins in it counts,
         * unless lstrip leaves nothing of it. */
        strip(t, f->text, f->done, &m);
        if (m.start < f->done)
            m.start = f->done;
        if (t->lstrip && m.start >= m.end)
            continue;
        f->done = m.end;
        *out = m;
        return true;
    }
    return false;
}
