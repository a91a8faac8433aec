/* Opens a Hugging Face or PEFT folder as a model, or makes a random one from its config.json. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "model/config_internal.h"
#include "model/gguf.h"
#include "model/hub.h"
#include "model/safetensors_internal.h"
#include "model/source.h"

enum { CONFIG_BYTES = 16 << 20, LISTED = 5 };

static void put_dims(dw_buf *b, const uint64_t *dim, uint32_t n)
{
    dw_buf_addc(b, '[');
    for (uint32_t i = 0; i < n; i++)
        dw_buf_printf(b, "%s%llu", i ? ", " : "", (unsigned long long)dim[i]);
    dw_buf_addc(b, ']');
}

static bool fits(const dw_tensor_entry *e, const dw_slice *s)
{
    uint64_t dim[2];
    dw_slice_dims(s, dim);
    return e->n_dim == s->n_dim && e->dim[0] == dim[0] && (s->n_dim == 1 || e->dim[1] == dim[1]);
}

dw_status dw_weights_check(const dw_checkpoint *c, const dw_slice *slice, size_t n,
                           const char *what, dw_tensor_ignore ignore, void *ctx, dw_err *err)
{
    dw_buf list = {0};
    dw_map known = {0};
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        const dw_slice *s = &slice[i];
        dw_map_put(&known, dw_text_of(s->name), 0);
        const dw_tensor_entry *e = dw_checkpoint_find(c, s->name);
        if (e && fits(e, s))
            continue;
        if (++bad > LISTED)
            continue;
        dw_buf_printf(&list, "; %s is ", s->name);
        if (!e) {
            dw_buf_adds(&list, "missing");
            continue;
        }
        put_dims(&list, e->dim, e->n_dim);
        dw_buf_adds(&list, ", wanted ");
        uint64_t dim[8] = {0};
        dw_slice_dims(s, dim);
        put_dims(&list, dim, s->n_dim);
    }
    for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(c, i);
        if (dw_map_get(&known, dw_text_of(e->name), NULL) || (ignore && ignore(e, ctx)))
            continue;
        if (++bad <= LISTED)
            dw_buf_printf(&list, "; %.128s is not part of it", e->name);
    }
    dw_map_finish(&known);
    dw_status st = DW_OK;
    if (bad)
        st = dw_fail(err, DW_E_INPUT, "%zu tensor%s not fit %s%s%s", bad,
                     bad == 1 ? " does" : "s do", what, list.ptr, bad > LISTED ? "; ..." : "");
    dw_buf_finish(&list);
    return st;
}

dw_status dw_weights_read(const dw_checkpoint *c, const dw_slice *slice, size_t n,
                          const dw_params *p, dw_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (p->weight[slice[i].weight].mapped)
            continue;
        const dw_tensor_entry *e = dw_checkpoint_find(c, slice[i].name);
        dw_real *v = dw_slice_values(p, &slice[i]), sum = 0;
        DW_TRY(dw_slice_read(&slice[i], e, v, err));
        for (size_t k = 0; k < (size_t)e->n; k++)
            sum += v[k] - v[k]; /* 0, or NaN from the first bad value on */
        if (sum == 0)
            continue;
        size_t at = 0;
        while (isfinite(v[at]))
            at++;
        const size_t cols = slice[i].cols; /* the element of the file */
        return dw_fail(err, DW_E_INPUT, "tensor \"%s\" holds %g at element %zu", e->name,
                       (double)v[at],
                       slice[i].transposed ? at % cols * slice[i].rows + at / cols : at);
    }
    return DW_OK;
}

/* Buffers that old versions of transformers stored, and the second copy of a tied head. */
typedef struct leftovers {
    const dw_checkpoint *c;
    bool no_lm_head; /* tied, or left out knowingly */
} leftovers;

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), k = strlen(tail);
    return n > k && !strcmp(name + n - k, tail);
}

static bool is_buffer(const char *name)
{
    /* a mask and what it puts into hidden scores; c_attn.bias is a parameter */
    return ends_with(name, ".rotary_emb.inv_freq") || ends_with(name, ".attn.bias") ||
           ends_with(name, ".attn.masked_bias");
}

static bool is_second_head(const char *name)
{
    return !strcmp(name, "lm_head.weight") || ends_with(name, ".lm_head.weight");
}

static bool ignored(const dw_tensor_entry *e, void *ctx)
{
    const leftovers *l = ctx;
    return is_buffer(e->name) || (l->no_lm_head && is_second_head(e->name));
}

static dw_status check_tied_head(const dw_checkpoint *c, const char *embed, dw_err *err)
{
    const dw_tensor_entry *e = dw_checkpoint_find(c, embed);
    for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
        const dw_tensor_entry *h = dw_checkpoint_at(c, i);
        if (is_second_head(h->name) &&
            (h->bytes != e->bytes || memcmp(h->data, e->data, (size_t)e->bytes) != 0))
            return dw_fail(err, DW_E_INPUT, "tie_word_embeddings is true, but %s differs from %s",
                           h->name, embed);
    }
    return DW_OK;
}

/* Of a model of several parts only the decoder is understood. */
static dw_status check_parts(const dw_checkpoint *c, dw_err *err)
{
    for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
        const char *name = dw_checkpoint_at(c, i)->name;
        if (strstr(name, "vision_tower.") || strstr(name, "audio_tower."))
            return dw_fail(err, DW_E_INPUT,
                           "\"%.128s\": models of several parts are not supported; save the "
                           "decoder alone",
                           name);
    }
    return DW_OK;
}

/* All shapes are compared with the file before anything is allocated by the config's numbers. */
static dw_status check_shapes(const dw_checkpoint *c, const dw_description *d, bool fresh,
                              dw_err *err)
{
    dw_arena a = {0};
    dw_params p;
    dw_slice *slice = NULL;
    leftovers l = {c, fresh || (d->tied && d->top == DW_TOP_LM)};
    dw_status st = check_parts(c, err);
    if (st == DW_OK)
        st = dw_weights_base(&a, d, &p, err);
    if (st == DW_OK) {
        size_t n = dw_weights_slices(&a, d, &p, &slice);
        st = dw_weights_check(c, slice, dw_heads_stored(slice, n, fresh), "config.json", ignored,
                              &l, err);
    }
    if (st == DW_OK && d->tied && d->top == DW_TOP_LM)
        st = check_tied_head(c, slice[0].name, err);
    dw_arena_finish(&a);
    return st;
}

static void keep_extra(dw_model *m, const dw_checkpoint *c)
{
    dw_source *s = m->source;
    s->extra = dw_arena_alloc(&m->arena, dw_checkpoint_count(c) * sizeof *s->extra + 1);
    for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(c, i);
        if (!is_buffer(e->name) || e->dtype == DW_DT_OTHER)
            continue;
        void *raw = dw_arena_alloc(&m->arena, (size_t)e->bytes + 1);
        if (e->bytes)
            memcpy(raw, e->data, (size_t)e->bytes);
        dw_tensor_out *t = &s->extra[s->n_extra++];
        *t = (dw_tensor_out){.name = dw_arena_strdup(&m->arena, e->name),
                             .dtype = e->dtype,
                             .n_dim = e->n_dim,
                             .raw = raw};
        memcpy(t->dim, e->dim, sizeof t->dim);
    }
}

static dw_dtype config_dtype(const dw_description *d)
{
    return !strcmp(d->dtype, "bfloat16")  ? DW_DT_BF16
           : !strcmp(d->dtype, "float16") ? DW_DT_F16
                                          : DW_DT_F32;
}

static void note_source(dw_model *m, const dw_checkpoint *c)
{
    dw_source *s = m->source;
    s->n_slice = dw_weights_slices(&m->arena, &m->desc, &m->base, &s->slice);
    s->dtype = dw_arena_alloc(&m->arena, s->n_slice * sizeof *s->dtype);
    for (size_t i = 0; i < s->n_slice; i++) {
        const dw_tensor_entry *e = c ? dw_checkpoint_find(c, s->slice[i].name) : NULL;
        s->dtype[i] = e ? e->dtype : config_dtype(&m->desc);
    }
    if (c)
        keep_extra(m, c);
}

static void add_stop(dw_model *m, int32_t id)
{
    if (id < 0 || id >= (int32_t)m->desc.vocab)
        return;
    for (size_t i = 0; i < m->n_stop; i++)
        if (m->stop[i] == id)
            return;
    m->stop[m->n_stop++] = id;
}

static dw_status read_stops(dw_model *m, dw_err *err)
{
    int32_t eos[16];
    uint32_t n = 0;
    m->stop = dw_arena_alloc(&m->arena, 33 * sizeof *m->stop);
    for (uint32_t i = 0; i < m->desc.n_eos; i++)
        add_stop(m, m->desc.eos[i]);
    char *path = dw_path_join(&m->arena, m->dir, "generation_config.json");
    if (dw_file_exists(path)) {
        dw_json *root = NULL;
        DW_TRY(dw_json_read(path, CONFIG_BYTES, &root, err));
        dw_status st =
            dw_json_kind(root) == DW_JSON_OBJECT
                ? dw_config_eos(root, m->desc.vocab, eos, &n, err)
                : dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
        dw_json_free(root);
        if (st < 0) {
            dw_err_prefix(err, "%s", path);
            return st;
        }
        for (uint32_t i = 0; i < n; i++)
            add_stop(m, eos[i]);
    }
    if (m->tokenizer)
        add_stop(m, dw_tokenizer_eos(m->tokenizer));
    return DW_OK;
}

/* A GGUF file brings its own; an adapter's folder may bring another. */
static dw_status read_words(dw_model *m, const char *dir, struct dw_gguf *g, dw_err *err)
{
    if (!g || strcmp(dir, m->dir) != 0)
        return dw_tokenizer_load(dir, &m->tokenizer, err);
    dw_source *s = m->source;
    dw_status st = dw_gguf_tokenizer(g, &s->tokenizer, &s->tokenizer_config, err);
    if (st < 0) {
        dw_err_prefix(err, "%s", dir);
        return st;
    }
    return dw_tokenizer_parse(dw_buf_text(&s->tokenizer), dw_buf_text(&s->tokenizer_config), dir,
                              &m->tokenizer, err);
}

static dw_status read_tokenizer(dw_model *m, const dw_model_options *o, struct dw_gguf *g,
                                dw_err *err)
{
    const char *dir = m->dir;
    if (m->adapter_dir && dw_file_exists(dw_path_join(&m->arena, m->adapter_dir, "tokenizer.json")))
        dir = m->adapter_dir;
    m->source->tokenizer_dir = dw_arena_strdup(&m->arena, dir);
    char *path = dw_path_join(&m->arena, dir, "tokenizer.json");
    if (!dw_file_exists(path) && !g)
        return o->no_tokenizer
                   ? DW_OK
                   : dw_fail(err, DW_E_INPUT, "%s: no tokenizer.json in the folder", dir);
    DW_TRY(read_words(m, dir, g, err));
    int32_t n = dw_tokenizer_size(m->tokenizer);
    if (n > (int32_t)m->desc.vocab)
        return dw_fail(err, DW_E_INPUT, "%s: ids reach %d, the model's vocabulary has %u", path,
                       n - 1, m->desc.vocab);
    return DW_OK;
}

typedef struct plan {
    const dw_exec *x;
    dw_arena *arena;         /* of the call */
    dw_lora_spec spec;       /* of an adapter that is read */
    const char *dir;         /* of the base */
    const char *adapter_dir; /* NULL without */
    dw_model_options o;
    dw_checkpoint *c; /* NULL: random weights */
    bool outline;
    dw_description d;
    bool fresh;         /* the score head is not the checkpoint's */
    dw_top adapter_top; /* what an adapter was made for */
    dw_buf config;
    double std;
} plan;

static dw_status read_config(plan *p, dw_err *err)
{
    dw_arena a = {0};
    dw_json *root = NULL;
    struct dw_gguf *g = p->c ? dw_checkpoint_gguf(p->c) : NULL;
    const char *path = g ? p->dir : dw_path_join(&a, p->dir, "config.json");
    dw_status st =
        g ? dw_gguf_config(g, &p->config, err) : dw_file_read(path, CONFIG_BYTES, &p->config, err);
    if (g && st < 0)
        dw_err_prefix(err, "%s", path);
    if (st == DW_OK) {
        st = dw_json_parse(p->config.ptr, p->config.len, DW_JSON_DEPTH_HEADER, 1, &root, err);
        if (st == DW_OK)
            st = dw_config_parse(root, &p->d, err);
        if (st == DW_OK)
            st = dw_json_get_num(root, "initializer_range", 0.02, 0, 10, &p->std, err);
        if (st == DW_OK)
            st = dw_heads_choose(&p->o, &p->d, &p->fresh, err);
        if (st < 0)
            dw_err_prefix(err, "%s", path);
    }
    dw_json_free(root);
    dw_arena_finish(&a);
    return st;
}

static dw_status fill_base(dw_model *m, const plan *p, dw_err *err)
{
    const dw_source *s = m->source;
    if (p->c && !p->outline) {
        size_t n = dw_heads_stored(s->slice, s->n_slice, p->fresh);
        dw_status st = dw_weights_read(p->c, s->slice, n, &m->base, err);
        if (st < 0) {
            dw_err_prefix(err, "%s", p->dir);
            return st;
        }
    } else if (!p->outline) {
        dw_model_fill(m, p->o.seed, p->std);
    }
    /* an adapter that was read brings its own */
    if (p->fresh && !p->outline && p->adapter_top == DW_TOP_LM)
        dw_model_fill_score(m, p->o.seed, dw_heads_std(&m->desc));
    return p->c ? dw_heads_read_value(m, &m->base, p->dir, err) : DW_OK;
}

static dw_status fill_adapter(dw_model *m, const plan *p, dw_err *err)
{
    if (!m->has_adapter)
        return DW_OK;
    if (!p->outline)
        dw_model_fill_adapter(m, p->o.seed);
    if (!p->adapter_dir)
        return DW_OK;
    m->adapter_dir = dw_arena_strdup(&m->arena, p->adapter_dir);
    DW_TRY(dw_adapter_read(m, p->adapter_dir, p->adapter_top != DW_TOP_LM, err));
    return dw_heads_read_value(m, &m->adapter, p->adapter_dir, err);
}

static dw_status fill(dw_model *m, plan *p, dw_err *err)
{
    m->dir = dw_arena_strdup(&m->arena, p->dir);
    m->source = dw_arena_alloc(&m->arena, sizeof *m->source);
    m->source->config = p->config;
    m->source->fresh_score = p->fresh;
    p->config = (dw_buf){0};
    note_source(m, p->c);
    DW_TRY(fill_base(m, p, err));
    DW_TRY(fill_adapter(m, p, err));
    DW_TRY(read_tokenizer(m, &p->o, p->c ? dw_checkpoint_gguf(p->c) : NULL, err));
    DW_TRY(read_stops(m, err));
    if (!p->outline)
        dw_model_changed(m);
    return DW_OK;
}

/* The modules that an adapter names are modules of its base. */
static dw_status check_targets(const plan *p, dw_err *err)
{
    if (!p->adapter_dir)
        return DW_OK;
    uint32_t targets = p->o.lora->targets;
    dw_status st = dw_lora_fit(&p->d, &targets, err);
    if (st < 0)
        dw_err_prefix(err, "%s/adapter_config.json", p->adapter_dir);
    return st;
}

static dw_status make(plan *p, dw_model **out, dw_err *err)
{
    DW_TRY(read_config(p, err));
    if (p->adapter_dir)
        DW_TRY(dw_adapter_fit(p->arena, p->adapter_dir, &p->d, &p->spec, err));
    DW_TRY(check_targets(p, err));
    if (p->c) {
        dw_names_find_prefix(p->c, &p->d);
        dw_status st = check_shapes(p->c, &p->d, p->fresh, err);
        if (st < 0) {
            dw_err_prefix(err, "%s", p->dir);
            return st;
        }
    }
    dw_model *m = NULL;
    const bool frozen = p->c && !p->o.writable && (!p->o.trainable || p->o.lora);
    dw_status st =
        dw_model_build_from(p->x, &p->d, &p->o, frozen ? p->c : NULL, p->outline, &m, err);
    if (st < 0) {
        dw_err_prefix(err, "%s", p->dir);
        return st;
    }
    st = fill(m, p, err);
    if (frozen)
        p->c = NULL; /* the model's */
    if (st < 0)
        dw_model_free(m);
    else
        *out = m;
    return st;
}

static bool is_gguf(const char *path)
{
    dw_arena a = {0};
    bool yes = dw_gguf_path(&a, path) != NULL;
    dw_arena_finish(&a);
    return yes;
}

static dw_status check_dir(const char *dir, dw_err *err)
{
    if (dw_dir_exists(dir) || is_gguf(dir))
        return DW_OK;
    if (!dw_file_exists(dir))
        return dw_fail(
            err, DW_E_INPUT,
            "%s: no such folder (a model is a Hugging Face folder, a GGUF file, or a name in "
            "Hugging Face's cache; nothing is downloaded)",
            dir);
    dw_checkpoint *c = NULL;
    dw_status st = dw_checkpoint_open_file(dir, &c, err);
    dw_checkpoint_close(c);
    if (st < 0)
        return st;
    return dw_fail(err, DW_E_INPUT, "%s: a file; wanted the folder that holds it", dir);
}

/* An adapter with a score head says what the model is, whatever its base is. */
static dw_status take_adapter_top(dw_arena *a, plan *p, dw_err *err)
{
    uint32_t width = 0;
    if (p->adapter_top == DW_TOP_LM)
        return DW_OK;
    if (p->o.top != DW_TOP_LM && p->o.top != p->adapter_top)
        return dw_fail(err, DW_E_INPUT, "%s: the adapter is for %s, wanted %s", p->adapter_dir,
                       dw_config_top(p->adapter_top), dw_config_top(p->o.top));
    p->o.top = p->adapter_top;
    DW_TRY(dw_adapter_score_width(a, p->adapter_dir, &width, err));
    if (!p->o.score_width)
        p->o.score_width = width;
    return DW_OK;
}

static dw_status open_folder(const dw_exec *x, const char *dir, const dw_model_options *o,
                             bool outline, dw_model **out, dw_err *err)
{
    dw_arena a = {0};
    dir = dw_hub_place(&a, dir);
    plan p = {.x = x, .arena = &a, .dir = dir, .o = *o, .outline = outline};
    char *base = NULL;
    *out = NULL;
    dw_status st = check_dir(dir, err);
    if (st == DW_OK && dw_file_exists(dw_path_join(&a, dir, "adapter_config.json"))) {
        if (o->lora)
            st = dw_fail(err, DW_E_INPUT,
                         "%s: an adapter already; another one on top of it is not supported (merge "
                         "it first)",
                         dir);
        else
            st = dw_adapter_config(&a, dir, &p.spec, &p.adapter_top, &base, err);
        p.adapter_dir = dir;
        p.dir = base;
        p.o.lora = &p.spec;
        if (st == DW_OK)
            st = take_adapter_top(&a, &p, err);
    }
    if (st == DW_OK)
        st = dw_checkpoint_open(p.dir, &p.c, err);
    if (st == DW_OK)
        st = make(&p, out, err);
    dw_checkpoint_close(p.c);
    dw_buf_finish(&p.config);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_model_open(const dw_exec *x, const char *dir, const dw_model_options *o,
                        dw_model **out, dw_err *err)
{
    return open_folder(x, dir, o, false, out, err);
}

dw_status dw_model_outline(const dw_exec *x, const char *dir, const dw_model_options *o,
                           dw_model **out, dw_err *err)
{
    return open_folder(x, dir, o, true, out, err);
}

dw_status dw_model_init(const dw_exec *x, const char *dir, const dw_model_options *o,
                        dw_model **out, dw_err *err)
{
    dw_arena a = {0};
    dir = dw_hub_place(&a, dir);
    plan p = {.x = x, .dir = dir, .o = *o};
    *out = NULL;
    dw_status st = check_dir(dir, err);
    if (st == DW_OK)
        st = make(&p, out, err);
    dw_buf_finish(&p.config);
    dw_arena_finish(&a);
    return st;
}
