/* A GGUF file as a checkpoint: the tensors under Hugging Face's names. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/gguf.h"
#include "model/hub.h"
#include "model/safetensors_internal.h"
#include "model/source.h"

dw_status dw_gguf_architecture(const dw_gguf *g, dw_gguf_arch *out, dw_err *err)
{
    dw_text name = {"", 0};
    bool there;
    char word[64];
    DW_TRY(dw_gguf_str(g, "general.architecture", &there, &name, err));
    if (!there)
        return dw_fail(err, DW_E_INPUT, "general.architecture is missing");
    size_t n = name.len < sizeof word ? name.len : sizeof word - 1;
    memcpy(word, name.ptr, n);
    word[n] = 0;
    *out = dw_gguf_arch_of(word);
    if (!*out)
        return dw_fail(err, DW_E_INPUT,
                       "general.architecture is \"%s\"; wanted llama, qwen2, qwen3, gpt2, gemma, "
                       "gemma2, gemma3 or phi3",
                       word);
    return DW_OK;
}

static bool is_gguf_name(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && !strcmp(name + n - 5, ".gguf");
}

const char *dw_gguf_path(dw_arena *a, const char *dir)
{
    char **name = NULL;
    const char *only = NULL;
    dw_err err;
    size_t n = 0;
    if (dw_file_exists(dir) && !dw_dir_exists(dir)) {
        dw_mapping m;
        bool magic = is_gguf_name(dir);
        if (!magic && dw_map_open(dir, &m, &err) >= 0) {
            magic = m.len >= 4 && !memcmp(m.ptr, "GGUF", 4);
            dw_map_close(&m);
        }
        return magic ? dir : NULL;
    }
    if (!dw_dir_exists(dir) || dw_dir_list(a, dir, &name, &n, &err) < 0)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(name[i]);
        if (len > 12 && !strcmp(name[i] + len - 12, ".safetensors"))
            return NULL;
        if (is_gguf_name(name[i])) {
            if (only)
                return NULL;
            only = name[i];
        }
    }
    return only ? dw_path_join(a, dir, only) : NULL;
}

/* What the description says already, in another form (see gguf_config.c). */
static bool is_buffer(const char *name)
{
    return !strcmp(name, "rope_freqs.weight");
}

static dw_status heads_of(const dw_gguf *g, dw_gguf_arch arch, bool k, uint32_t *out, dw_err *err)
{
    char key[64];
    bool there;
    int64_t n = 0;
    for (int i = k ? 0 : 1; i < 2 && !n; i++) {
        snprintf(key, sizeof key, "%s.attention.head_count%s", dw_gguf_arch_name(arch),
                 i == 0 ? "_kv" : "");
        DW_TRY(dw_gguf_int(g, key, 1, 1 << 16, &there, &n, err));
    }
    *out = (uint32_t)n;
    return DW_OK;
}

static dw_status add(dw_checkpoint *c, const dw_gguf *g, dw_gguf_arch arch, const dw_gguf_tensor *t,
                     dw_err *err)
{
    dw_tensor_entry e = {.dtype = t->dtype, .n = t->n, .data = t->data, .bytes = t->bytes};
    e.name = dw_gguf_to_hf(&c->arena, arch, t->name, &e.stored);
    if (!e.name)
        return dw_fail(err, DW_E_INPUT, "tensor \"%s\" is no part of %s", t->name,
                       dw_gguf_arch_name(arch));
    e.n_dim = t->n_dim;
    for (uint32_t i = 0; i < t->n_dim; i++)
        e.dim[i] = t->dim[t->n_dim - 1 - i];
    if (e.stored == DW_STORED_TRANSPOSED) {
        if (t->n_dim != 2)
            return dw_fail(err, DW_E_INPUT, "tensor \"%s\" has %u dimensions, wanted 2", t->name,
                           t->n_dim);
        e.dim[0] = t->dim[0];
        e.dim[1] = t->dim[1];
    }
    if (e.stored == DW_STORED_PAIRS) {
        DW_TRY(heads_of(g, arch, strstr(t->name, "attn_k") != NULL, &e.heads, err));
        if (e.n_dim > 2 || e.heads == 0 || e.dim[0] % (2 * (uint64_t)e.heads))
            return dw_fail(err, DW_E_INPUT, "tensor \"%s\" has %llu rows, no pairs in %u heads",
                           t->name, (unsigned long long)e.dim[0], e.heads);
    }
    DW_GROW(c->entry, c->n_entry, c->cap_entry);
    dw_map_put(&c->by_name, dw_text_of(e.name), (int64_t)c->n_entry);
    c->entry[c->n_entry++] = e;
    return DW_OK;
}

static dw_status read(dw_checkpoint *c, dw_mapping map, dw_err *err)
{
    dw_gguf *g = c->gguf;
    dw_gguf_arch arch;
    DW_TRY(dw_gguf_read(g, map, err));
    DW_TRY(dw_gguf_architecture(g, &arch, err));
    for (size_t i = 0; i < g->n_tensor; i++)
        if (!is_buffer(g->tensor[i].name))
            DW_TRY(add(c, g, arch, &g->tensor[i], err));
    return DW_OK;
}

dw_status dw_gguf_checkpoint(const char *path, dw_checkpoint **out, dw_err *err)
{
    dw_mapping map = {0};
    *out = NULL;
    DW_TRY(dw_map_open(path, &map, err));
    dw_checkpoint *c = dw_zalloc(1, sizeof *c);
    c->gguf = dw_zalloc(1, sizeof *c->gguf);
    dw_status st = read(c, map, err);
    if (st < 0) {
        dw_err_prefix(err, "%s", path);
        dw_checkpoint_close(c);
        return st;
    }
    *out = c;
    return DW_OK;
}

struct dw_gguf *dw_checkpoint_gguf(const dw_checkpoint *c)
{
    return c->gguf;
}

dw_status dw_model_words(const char *dir, dw_tokenizer **out, dw_err *err)
{
    dw_arena a = {0};
    dw_checkpoint *c = NULL;
    dw_buf json = {0}, config = {0};
    dir = dw_hub_place(&a, dir);
    const char *file = dw_gguf_path(&a, dir);
    dw_status st = DW_OK;
    *out = NULL;
    if (!file || dw_file_exists(dw_path_join(&a, dir, "tokenizer.json"))) {
        st = dw_tokenizer_load(dir, out, err);
    } else {
        st = dw_gguf_checkpoint(file, &c, err);
        if (st >= 0)
            st = dw_gguf_tokenizer(c->gguf, &json, &config, err);
        if (st >= 0)
            st = dw_tokenizer_parse(dw_buf_text(&json), dw_buf_text(&config), file, out, err);
    }
    dw_checkpoint_close(c);
    dw_buf_finish(&json);
    dw_buf_finish(&config);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_model_sidecar(const dw_model *m, const char *name, bool *there, dw_buf *out,
                           dw_err *err)
{
    enum { MOST = 256 << 20 };
    const dw_source *s = m->source;
    dw_arena a = {0};
    dw_status st = DW_OK;
    const bool config = !strcmp(name, "tokenizer_config.json");
    if (config || !strcmp(name, "tokenizer.json")) {
        const dw_buf *made = config ? &s->tokenizer_config : &s->tokenizer;
        dw_buf_add(out, made->ptr, made->len);
        *there = made->len > 0;
        if (*there)
            return DW_OK;
    }
    const char *path = dw_path_join(&a, s->tokenizer_dir, name);
    if (!dw_file_exists(path))
        path = dw_path_join(&a, m->dir, name);
    *there = dw_file_exists(path);
    if (*there)
        st = dw_file_read(path, MOST, out, err);
    dw_arena_finish(&a);
    return st;
}
