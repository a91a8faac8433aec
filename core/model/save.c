/* Writes a model as a Hugging Face folder: weights (merged with the adapter) and every other file
 * of the source as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "model/frozen.h"
#include "model/safetensors_internal.h"
#include "model/source.h"

static const uint64_t shard_limit = 5000000000u; /* transformers' "5GB" */

/* ---- other files ---- */

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static bool is_weights(const char *name)
{
    static const char *const tails[] = {".safetensors", ".safetensors.index.json",
                                        ".bin",         ".bin.index.json",
                                        ".pt",          ".pth",
                                        ".ckpt",        ".pkl",
                                        ".pickle",      ".gguf",
                                        ".h5",          ".msgpack",
                                        ".onnx"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (ends_with(name, tails[i]))
            return true;
    return false;
}

static bool is_tokenizer(const char *name)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

dw_status dw_source_copy_files(const char *from, const char *to, bool tokenizer_only, dw_err *err)
{
    dw_arena a = {0};
    char **names = NULL;
    size_t n = 0;
    dw_status st = dw_dir_list(&a, from, &names, &n, err);
    for (size_t i = 0; i < n && st == DW_OK; i++) {
        char *path = dw_path_join(&a, from, names[i]);
        struct stat sb;
        bool wanted = tokenizer_only ? is_tokenizer(names[i])
                                     : !is_weights(names[i]) && strcmp(names[i], "config.json") &&
                                           strcmp(names[i], "adapter_config.json");
        if (wanted && !stat(path, &sb) && S_ISREG(sb.st_mode))
            st = dw_copy_file(path, dw_path_join(&a, to, names[i]), err);
    }
    dw_arena_finish(&a);
    return st;
}

/* ---- merging ---- */

/* One tensor that is not in memory as the file will have it: in the checkpoint still, with its
 * adapter added, turned, or all of it. Shared buffer, filled when the writer asks. */
typedef struct merge {
    const dw_model *m;
    const dw_slice *slice;
    const dw_lora_site *site; /* NULL: no adapter */
    uint32_t nth;             /* target within the site */
    dw_real **buffer;         /* [rows + 1][cols], then [cols][rows] where it is turned */
} merge;

/* out = w plus the adapter; out may be w, and has room for a row more. */
static const dw_real *add_adapter(const merge *g, const dw_real *w, dw_real *out)
{
    const uint32_t rank = g->site->rank[g->nth], cols = g->slice->cols;
    const dw_real *a = g->site->a.w + (size_t)g->site->row0[g->nth] * cols;
    const dw_real *b = g->site->b[g->nth].w, scale = g->site->scale[g->nth];
    dw_real *delta = out + (size_t)g->slice->rows * cols;
    for (uint32_t i = 0; i < g->slice->rows; i++) {
        memset(delta, 0, cols * sizeof *delta);
        for (uint32_t r = 0; r < rank; r++) {
            dw_real x = b[(size_t)i * rank + r];
            for (uint32_t k = 0; k < cols; k++)
                delta[k] += x * a[(size_t)r * cols + k];
        }
        for (uint32_t k = 0; k < cols; k++)
            out[(size_t)i * cols + k] = w[(size_t)i * cols + k] + scale * delta[k];
    }
    return out;
}

static const dw_real *fetch_merged(void *ctx, const dw_tensor_out *t)
{
    const merge *g = ctx;
    const dw_slice *s = g->slice;
    const dw_mapped *mapped = g->m->base.weight[s->weight].mapped;
    dw_real *own = *g->buffer;
    const dw_real *w = own;
    if (mapped)
        dw_frozen_slice(mapped, s, own);
    else
        w = dw_slice_values(&g->m->base, s);
    if (g->site)
        w = add_adapter(g, w, own);
    if (!s->transposed)
        return w;
    dw_real *turned = own + ((size_t)s->rows + 1) * s->cols;
    dw_slice_turn(w, s->rows, s->cols, turned);
    return turned;
}

static size_t merge_room(const merge *g)
{
    size_t n = (size_t)g->slice->rows * g->slice->cols;
    return n + g->slice->cols + (g->slice->transposed ? n : 0);
}

/* The adapter of a matrix: the target whose rows of the fused parameter these are. */
static bool find_site(const dw_model *m, const dw_slice *s, merge *out)
{
    static const char *const sites[DW_N_SITE] = {"qkv", "o", "gate_up", "down"};
    const char *name = m->base.weight[s->weight].name;
    unsigned layer = 0;
    int at = 0;
    if (!m->has_adapter || sscanf(name, "layers.%u.%n", &layer, &at) < 1 || !at)
        return false;
    for (int i = 0; i < DW_N_SITE; i++) {
        const dw_lora_site *site = &m->layer[layer].lora[i];
        for (uint32_t k = 0; k < site->n_target && !strcmp(name + at, sites[i]); k++)
            if (site->out0[k] == s->row0) {
                out->site = site;
                out->nth = k;
                return true;
            }
    }
    return false;
}

/* ---- weights ---- */

static dw_dtype wanted_dtype(dw_save_dtype want, dw_dtype source)
{
    switch (want) {
    case DW_SAVE_F32:
        return DW_DT_F32;
    case DW_SAVE_BF16:
        return DW_DT_BF16;
    case DW_SAVE_F16:
        return DW_DT_F16;
    default:
        return source > DW_DT_OTHER ? DW_DT_F32 : source; /* quantised: float32 once read */
    }
}

static uint64_t bytes_of(const dw_tensor_out *t)
{
    uint64_t n = dw_dtype_bytes(t->dtype);
    for (uint32_t i = 0; i < t->n_dim; i++)
        n *= t->dim[i];
    return n;
}

/* What nothing changes is written from the mapped file, byte for byte. */
static void take_raw(const dw_model *m, const dw_slice *s, dw_tensor_out *t)
{
    const dw_tensor_entry *e = m->frozen ? dw_checkpoint_find(m->frozen->c, s->name) : NULL;
    if (e && e->dtype == t->dtype && e->stored == DW_STORED_PLAIN)
        t->raw = e->data;
}

/* All tensors of the folder, in the order of transformers, then what the computation ignored. */
size_t dw_source_tensors(dw_arena *a, const dw_model *m, dw_save_dtype want, dw_real **buffer,
                         dw_tensor_out **out)
{
    const dw_source *s = m->source;
    dw_tensor_out *t = dw_arena_alloc(a, (s->n_slice + s->n_extra) * sizeof *t + 1);
    size_t merged = 0;
    for (size_t i = 0; i < s->n_slice; i++) {
        const dw_slice *x = &s->slice[i];
        const bool own_score = m->has_adapter && dw_names_is_score(x->name);
        merge g = {.m = m, .slice = x, .buffer = buffer};
        t[i] = (dw_tensor_out){
            .name = x->name, .dtype = wanted_dtype(want, s->dtype[i]), .n_dim = x->n_dim};
        dw_slice_dims(x, t[i].dim);
        const bool merged_too = find_site(m, x, &g);
        if (merged_too || x->transposed || m->base.weight[x->weight].mapped) {
            merged = merge_room(&g) > merged ? merge_room(&g) : merged;
            t[i].ctx = memcpy(dw_arena_alloc(a, sizeof g), &g, sizeof g);
            t[i].fetch = fetch_merged;
        } else {
            t[i].values = dw_slice_values(&m->base, x);
            if (own_score) /* the adapter's own */
                t[i].values = x->n_dim == 2 ? m->adapter_score.w.w : m->adapter_score.bias.w;
        }
        if (!merged_too && !own_score)
            take_raw(m, x, &t[i]);
    }
    if (s->n_extra)
        memcpy(t + s->n_slice, s->extra, s->n_extra * sizeof *t);
    *buffer = merged ? dw_alloc(merged * sizeof **buffer) : NULL;
    *out = t;
    return s->n_slice + s->n_extra;
}

typedef struct shard_plan {
    size_t *first; /* [n + 1] */
    size_t n;
} shard_plan;

static shard_plan cut_shards(dw_arena *a, const dw_tensor_out *t, size_t n, uint64_t limit)
{
    shard_plan p = {dw_arena_alloc(a, (n + 2) * sizeof(size_t)), 1};
    uint64_t used = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t b = bytes_of(&t[i]);
        if (i > p.first[p.n - 1] && used + b > limit) {
            p.first[p.n++] = i;
            used = 0;
        }
        used += b;
    }
    p.first[p.n] = n;
    return p;
}

typedef struct index_row {
    const char *name, *file;
} index_row;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const index_row *)a)->name, ((const index_row *)b)->name);
}

static dw_status write_index(const char *path, const dw_tensor_out *t, index_row *row, size_t n,
                             dw_err *err)
{
    dw_buf b = {0};
    uint64_t total = 0, params = 0;
    for (size_t i = 0; i < n; i++) {
        total += bytes_of(&t[i]);
        params += bytes_of(&t[i]) / dw_dtype_bytes(t[i].dtype);
    }
    qsort(row, n, sizeof *row, by_name);
    dw_buf_printf(&b,
                  "{\n  \"metadata\": {\n    \"total_parameters\": %llu,\n    \"total_size\": "
                  "%llu\n  },\n  \"weight_map\": {",
                  (unsigned long long)params, (unsigned long long)total);
    for (size_t i = 0; i < n; i++) {
        dw_buf_adds(&b, i ? ",\n    " : "\n    ");
        dw_json_put_cstr(&b, row[i].name);
        dw_buf_adds(&b, ": ");
        dw_json_put_cstr(&b, row[i].file);
    }
    dw_buf_adds(&b, "\n  }\n}\n");
    dw_status st = dw_file_write(path, b.ptr, b.len, err);
    dw_buf_finish(&b);
    return st;
}

static dw_status write_weights(dw_arena *a, const char *dir, const dw_tensor_out *t, size_t n,
                               uint64_t limit, dw_err *err)
{
    static const dw_meta_pair meta = {"format", "pt"};
    shard_plan p = cut_shards(a, t, n, limit);
    if (p.n == 1)
        return dw_safetensors_write(dw_path_join(a, dir, "model.safetensors"), t, n, &meta, 1, err);
    index_row *row = dw_arena_alloc(a, n * sizeof *row);
    for (size_t s = 0; s < p.n; s++) {
        char *file = dw_arena_printf(a, "model-%05zu-of-%05zu.safetensors", s + 1, p.n);
        for (size_t i = p.first[s]; i < p.first[s + 1]; i++)
            row[i] = (index_row){t[i].name, file};
        DW_TRY(dw_safetensors_write(dw_path_join(a, dir, file), t + p.first[s],
                                    p.first[s + 1] - p.first[s], &meta, 1, err));
    }
    return write_index(dw_path_join(a, dir, "model.safetensors.index.json"), t, row, n, err);
}

static dw_status check_not_source(const dw_model *m, const char *dir, dw_err *err)
{
    struct stat from, to;
    if (!stat(m->dir, &from) && !stat(dir, &to) && from.st_dev == to.st_dev &&
        from.st_ino == to.st_ino)
        return dw_fail(err, DW_E_USAGE, "%s: is the folder the model was read from; save elsewhere",
                       dir);
    return DW_OK;
}

/* The tokenizer's files that were made of a GGUF file's metadata. */
static dw_status put_made(const dw_source *s, const char *dir, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = DW_OK;
    if (s->tokenizer.len)
        st = dw_file_write(dw_path_join(&a, dir, "tokenizer.json"), s->tokenizer.ptr,
                           s->tokenizer.len, err);
    if (st == DW_OK && s->tokenizer_config.len)
        st = dw_file_write(dw_path_join(&a, dir, "tokenizer_config.json"), s->tokenizer_config.ptr,
                           s->tokenizer_config.len, err);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_source_put_words(const dw_model *m, const char *dir, dw_err *err)
{
    if (dw_dir_exists(m->source->tokenizer_dir))
        DW_TRY(dw_source_copy_files(m->source->tokenizer_dir, dir, true, err));
    return put_made(m->source, dir, err);
}

dw_status dw_model_save_shards(const dw_model *m, const char *dir, dw_save_dtype dtype,
                               uint64_t shard_bytes, dw_err *err)
{
    dw_assert(m->source && !m->outline);
    DW_TRY(check_not_source(m, dir, err));
    DW_TRY(dw_frozen_check(m, err));
    dw_arena a = {0};
    dw_buf config = {0};
    dw_real *buffer = NULL;
    dw_tensor_out *t = NULL;
    size_t n = dw_source_tensors(&a, m, dtype, &buffer, &t);
    dw_status st = write_weights(&a, dir, t, n, shard_bytes, err);
    dw_source_put_config(&a, &config, m, dtype);
    if (st == DW_OK)
        st = dw_file_write(dw_path_join(&a, dir, "config.json"), config.ptr, config.len, err);
    if (st == DW_OK)
        st = dw_heads_save_value(m, dir, err);
    if (st == DW_OK && dw_dir_exists(m->dir))
        st = dw_source_copy_files(m->dir, dir, false, err);
    if (st == DW_OK && strcmp(m->source->tokenizer_dir, m->dir) != 0)
        st = dw_source_put_words(m, dir, err);
    else if (st == DW_OK)
        st = put_made(m->source, dir, err);
    if (st == DW_OK)
        st = dw_model_save_talk(m, dir, true, err);
    dw_free(buffer);
    dw_buf_finish(&config);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_model_save(const dw_model *m, const char *dir, dw_save_dtype dtype, dw_err *err)
{
    return dw_model_save_shards(m, dir, dtype, shard_limit, err);
}
