/* Names and patterns of adapter_config.json, resolved for the matrices of a model as PEFT does it,
 * and written again. */
#include "model/adapter_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/regex.h"

bool dw_adapter_is_whole_name(dw_text name)
{
    return name.len > 6 &&
           (memmem(name.ptr, name.len, "layers.", 7) != NULL ||
            !strncmp(name.ptr, "transformer.h.", 14) || !strncmp(name.ptr, "h.", 2));
}

/* ---- patterns ---- */

/* key matches `^<before>(?:pattern)$` from end to end, as re.fullmatch and re.match(... + "$") do.
 */
typedef struct pattern {
    dw_text text;
    dw_regex *regex;
    int64_t rank; /* of rank_pattern */
    double alpha; /* of alpha_pattern */
} pattern;

typedef struct matcher {
    dw_regex_scratch *scratch;
    const dw_json *targets, *layers, *layers_pattern;
    pattern target; /* target_modules as a pattern */
    pattern *rank, *alpha;
    size_t n_rank, n_alpha;
    bool *named; /* [target_modules] this name matched */
} matcher;

static dw_status compile(pattern *p, const char *before, const char *field, dw_err *err)
{
    dw_buf b = {0};
    dw_buf_printf(&b, "^%s(?:", before);
    dw_buf_add(&b, p->text.ptr, p->text.len);
    dw_buf_adds(&b, ")\n"); /* see matches() */
    dw_status st = dw_regex_compile(dw_buf_text(&b), &p->regex, err);
    dw_buf_finish(&b);
    if (st < 0)
        dw_err_prefix(err, "%s: \"%.*s\"", field, (int)(p->text.len < 64 ? p->text.len : 64),
                      p->text.ptr);
    return st;
}

/* The key gets a line's end, which no `.` takes and any `$` stands before: so every pattern has
 * something to match, which the tokenizers' library insists on. */
static dw_status matches(matcher *x, pattern *p, const char *key, bool *yes, dw_err *err)
{
    size_t start = 0, end = 0;
    dw_buf line = {0};
    dw_buf_printf(&line, "%s\n", key);
    dw_status st =
        dw_regex_next(p->regex, x->scratch, dw_buf_text(&line), 0, yes, &start, &end, err);
    dw_buf_finish(&line);
    *yes = st == DW_OK && *yes && start == 0;
    return st;
}

static dw_status read_patterns(dw_arena *a, const dw_json *root, const char *field, bool rank,
                               pattern **out, size_t *n, dw_err *err)
{
    const dw_json *v = dw_json_get(root, field);
    *n = 0;
    if (!v || dw_json_kind(v) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "%s: wanted an object, found %s", field,
                       dw_json_kind_name(v));
    *out = dw_arena_alloc(a, (dw_json_len(v) + 1) * sizeof **out);
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e)) {
        pattern *p = &(*out)[*n];
        *p = (pattern){.text = dw_text_of(dw_json_key(e))};
        const bool number = dw_json_kind(e) == DW_JSON_NUMBER;
        if (rank && (!dw_json_int(e, &p->rank) || p->rank < 1 || p->rank > 4096))
            return dw_fail(err, DW_E_INPUT, "%s: \"%.64s\" is not a whole number in 1 .. 4096",
                           field, p->text.ptr);
        if (!rank && number)
            p->alpha = dw_json_num(e);
        if (!rank && !(p->alpha >= 1e-9 && p->alpha <= 1e9))
            return dw_fail(err, DW_E_INPUT, "%s: \"%.64s\" is not a number in 1e-09 .. 1e+09",
                           field, p->text.ptr);
        ++*n;
        DW_TRY(compile(p, "(?:.*\\.)?", field, err));
    }
    return DW_OK;
}

/* The first that matches wins, in the order of the file. */
static dw_status first_match(matcher *x, pattern *p, size_t n, const char *key, const pattern **out,
                             dw_err *err)
{
    *out = NULL;
    for (size_t i = 0; i < n && !*out; i++) {
        bool yes = false;
        DW_TRY(matches(x, &p[i], key, &yes, err));
        *out = yes ? &p[i] : NULL;
    }
    return DW_OK;
}

/* ---- targets ---- */

static bool ends_in(const char *key, dw_text name)
{
    const size_t n = strlen(key);
    return n > name.len && key[n - name.len - 1] == '.' &&
           !memcmp(key + n - name.len, name.ptr, name.len);
}

/* layers_pattern: the word before the layer's number. */
static bool layer_word(const matcher *x, const char *key)
{
    const dw_json *v = x->layers_pattern;
    const char *digit = strpbrk(key, "0123456789");
    if (!v || !digit || digit == key)
        return true;
    const dw_text before = {key, (size_t)(digit - 1 - key)};
    const bool list = dw_json_kind(v) == DW_JSON_ARRAY;
    if (list ? !dw_json_first(v) : dw_json_kind(v) != DW_JSON_STRING || !dw_json_str(v).len)
        return true;
    for (const dw_json *e = list ? dw_json_first(v) : v; e; e = list ? dw_json_next(e) : NULL) {
        const dw_text w = dw_json_kind(e) == DW_JSON_STRING ? dw_json_str(e) : DW_TEXT("");
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)before.len, before.ptr);
        if (dw_text_is(w, word) || ends_in(word, w))
            return true;
    }
    return false;
}

static bool layer_wanted(const matcher *x, uint32_t layer, const char *key)
{
    const dw_json *v = x->layers;
    int64_t n = -1;
    if (!v || dw_json_kind(v) == DW_JSON_NULL ||
        (dw_json_kind(v) == DW_JSON_ARRAY && !dw_json_first(v)))
        return true;
    if (!layer_word(x, key))
        return false;
    if (dw_json_kind(v) != DW_JSON_ARRAY)
        return dw_json_int(v, &n) && n == layer;
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e))
        if (dw_json_int(e, &n) && n == layer)
            return true;
    return false;
}

static dw_status check_layers(const matcher *x, const dw_description *d, dw_err *err)
{
    const dw_json *v = x->layers;
    if (!v || dw_json_kind(v) == DW_JSON_NULL)
        return DW_OK;
    const bool list = dw_json_kind(v) == DW_JSON_ARRAY;
    for (const dw_json *e = list ? dw_json_first(v) : v; e; e = list ? dw_json_next(e) : NULL) {
        int64_t n = -1;
        if (!dw_json_int(e, &n) || n < 0 || n >= d->layers)
            return dw_fail(err, DW_E_INPUT,
                           "layers_to_transform: wanted numbers of layers, 0 .. %u", d->layers - 1);
    }
    if (dw_json_kind(x->targets) == DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT,
                       "layers_to_transform is set, but target_modules is a pattern");
    return DW_OK;
}

static dw_status wanted(matcher *x, uint32_t layer, const char *key, bool *yes, dw_err *err)
{
    const dw_json *v = x->targets;
    *yes = true;
    if (dw_json_kind(v) == DW_JSON_STRING)
        return x->target.regex ? matches(x, &x->target, key, yes, err) : DW_OK;
    *yes = false;
    size_t i = 0;
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e), i++) {
        const dw_text name = dw_json_str(e);
        const bool whole = dw_text_is(name, key);
        x->named[i] = x->named[i] || whole || ends_in(key, name);
        if (whole || (ends_in(key, name) && layer_wanted(x, layer, key)))
            *yes = true;
    }
    return DW_OK;
}

static bool set(const dw_json *root, const char *field)
{
    const dw_json *v = dw_json_get(root, field);
    if (!v || dw_json_kind(v) == DW_JSON_NULL)
        return false;
    const bool many = dw_json_kind(v) == DW_JSON_ARRAY || dw_json_kind(v) == DW_JSON_OBJECT;
    return !many || dw_json_first(v) != NULL;
}

/* The rest of the file says it all. */
static bool is_plain(const dw_json *root)
{
    const dw_json *v = dw_json_get(root, "target_modules");
    if (set(root, "rank_pattern") || set(root, "alpha_pattern") || set(root, "layers_to_transform"))
        return false;
    if (dw_json_kind(v) == DW_JSON_STRING)
        return dw_text_is(dw_json_str(v), "all-linear");
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e))
        if (!dw_lora_named(dw_json_str(e)))
            return false;
    return true;
}

static dw_status prepare(dw_arena *a, const dw_json *root, const dw_description *d, matcher *x,
                         dw_err *err)
{
    x->targets = dw_json_get(root, "target_modules");
    x->layers = dw_json_get(root, "layers_to_transform");
    x->layers_pattern = dw_json_get(root, "layers_pattern");
    x->named = dw_arena_alloc(a, dw_json_len(x->targets) + 1);
    memset(x->named, 0, dw_json_len(x->targets) + 1);
    DW_TRY(check_layers(x, d, err));
    if (dw_json_kind(x->targets) == DW_JSON_STRING &&
        !dw_text_is(dw_json_str(x->targets), "all-linear")) {
        x->target.text = dw_json_str(x->targets);
        DW_TRY(compile(&x->target, "", "target_modules", err));
    }
    DW_TRY(read_patterns(a, root, "rank_pattern", true, &x->rank, &x->n_rank, err));
    return read_patterns(a, root, "alpha_pattern", false, &x->alpha, &x->n_alpha, err);
}

static dw_status fill(dw_arena *a, const dw_description *d, matcher *x, dw_lora_spec *spec,
                      dw_err *err)
{
    const uint32_t family = dw_lora_family(d);
    dw_lora_part *part = dw_arena_alloc(a, (size_t)d->layers * DW_N_LORA_TARGET * sizeof *part);
    memset(part, 0, (size_t)d->layers * DW_N_LORA_TARGET * sizeof *part);
    uint32_t targets = 0;
    for (uint32_t i = 0; i < d->layers; i++)
        for (int t = 0; t < DW_N_LORA_TARGET; t++) {
            const uint32_t bit = dw_lora_targets[t].bit;
            bool yes = false;
            const pattern *r, *alpha;
            if (!(family & bit))
                continue;
            const char *key = dw_lora_module(a, d, i, bit);
            DW_TRY(wanted(x, i, key, &yes, err));
            if (!yes)
                continue;
            DW_TRY(first_match(x, x->rank, x->n_rank, key, &r, err));
            DW_TRY(first_match(x, x->alpha, x->n_alpha, key, &alpha, err));
            part[(size_t)i * DW_N_LORA_TARGET + (size_t)t] = (dw_lora_part){
                r ? (uint32_t)r->rank : spec->rank, alpha ? alpha->alpha : spec->alpha};
            targets |= bit;
        }
    if (!targets)
        return dw_fail(err, DW_E_INPUT, "target_modules: no matrix of the base is meant");
    spec->targets = targets;
    spec->part = part;
    return DW_OK;
}

/* A pattern that also means a matrix outside of the layers would be half an adapter. */
static dw_status check_outside(matcher *x, dw_err *err)
{
    static const char *const names[] = {"lm_head", "model.embed_tokens", "transformer.wte",
                                        "score"};
    for (size_t i = 0; i < sizeof names / sizeof *names && x->target.regex; i++) {
        bool yes = false;
        DW_TRY(matches(x, &x->target, names[i], &yes, err));
        if (yes)
            return dw_fail(err, DW_E_INPUT,
                           "target_modules: \"%.*s\" means \"%s\" too, which is not supported",
                           (int)(x->target.text.len < 64 ? x->target.text.len : 64),
                           x->target.text.ptr, names[i]);
    }
    size_t i = 0;
    const dw_json *first =
        dw_json_kind(x->targets) == DW_JSON_ARRAY ? dw_json_first(x->targets) : NULL;
    for (const dw_json *e = first; e; e = dw_json_next(e), i++)
        if (!x->named[i])
            return dw_fail(err, DW_E_INPUT, "target_modules: \"%.*s\" is no matrix of the base",
                           (int)(dw_json_str(e).len < 64 ? dw_json_str(e).len : 64),
                           dw_json_str(e).ptr);
    return DW_OK;
}

dw_status dw_adapter_parts(dw_arena *a, const dw_json *root, const dw_description *d,
                           dw_lora_spec *spec, dw_err *err)
{
    matcher x = {0};
    if (is_plain(root))
        return DW_OK;
    x.scratch = dw_regex_scratch_create();
    dw_status st = prepare(a, root, d, &x, err);
    if (st == DW_OK)
        st = fill(a, d, &x, spec, err);
    if (st == DW_OK)
        st = check_outside(&x, err);
    dw_regex_free(x.target.regex);
    for (size_t i = 0; i < x.n_rank; i++)
        dw_regex_free(x.rank[i].regex);
    for (size_t i = 0; i < x.n_alpha; i++)
        dw_regex_free(x.alpha[i].regex);
    dw_regex_scratch_free(x.scratch);
    return st;
}

/* ---- out ---- */

/* Every layer has the same targets: their names alone say it. */
static bool same_everywhere(const dw_description *d, const dw_lora_spec *s)
{
    for (uint32_t i = 0; i < d->layers; i++)
        for (int t = 0; t < DW_N_LORA_TARGET; t++)
            if ((s->targets & dw_lora_targets[t].bit) && !dw_lora_at(s, i, t).rank)
                return false;
    return true;
}

static void put_targets(dw_arena *a, dw_buf *b, const dw_description *d, const dw_lora_spec *s)
{
    const char *name[DW_N_LORA_TARGET], *comma = "";
    dw_buf_adds(b, ",\n  \"target_modules\": [");
    if (same_everywhere(d, s)) {
        const size_t n = dw_lora_modules(d, s->targets, name);
        for (size_t i = 0; i < n; i++, comma = ",")
            dw_buf_printf(b, "%s\n    \"%s\"", comma, name[i]);
    } else {
        for (uint32_t i = 0; i < d->layers; i++)
            for (int t = 0; t < DW_N_LORA_TARGET; t++)
                if (dw_lora_at(s, i, t).rank) {
                    dw_buf_printf(b, "%s\n    \"%s\"", comma,
                                  dw_lora_module(a, d, i, dw_lora_targets[t].bit));
                    comma = ",";
                }
    }
    dw_buf_adds(b, "\n  ]");
}

/* Keys are patterns to PEFT: dots are written as such. */
static void put_key(dw_buf *b, const char *comma, const char *module)
{
    dw_buf_printf(b, "%s\n    \"", comma);
    for (; *module; module++)
        dw_buf_printf(b, *module == '.' ? "\\\\." : "%c", *module);
    dw_buf_adds(b, "\": ");
}

static void put_pattern(dw_arena *a, dw_buf *b, const dw_description *d, const dw_lora_spec *s,
                        bool rank)
{
    const char *comma = "";
    dw_buf_printf(b, ",\n  \"%s\": {", rank ? "rank_pattern" : "alpha_pattern");
    for (uint32_t i = 0; i < d->layers; i++)
        for (int t = 0; t < DW_N_LORA_TARGET; t++) {
            const dw_lora_part p = dw_lora_at(s, i, t);
            if (!p.rank || (rank ? p.rank == s->rank : p.alpha == s->alpha))
                continue;
            put_key(b, comma, dw_lora_module(a, d, i, dw_lora_targets[t].bit));
            dw_json_put_num(b, rank ? (double)p.rank : p.alpha);
            comma = ",";
        }
    dw_buf_adds(b, *comma ? "\n  }" : "}");
}

void dw_adapter_put_parts(dw_arena *a, dw_buf *b, const dw_description *d, const dw_lora_spec *spec)
{
    if (spec->part) {
        put_pattern(a, b, d, spec, true);
        put_pattern(a, b, d, spec, false);
    }
    put_targets(a, b, d, spec);
}
