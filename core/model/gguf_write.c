/* Puts a GGUF file together: metadata, the table of tensors, padding. */
#include <string.h>

#include "model/gguf.h"

enum { ALIGN = 32, VERSION = 3 };

static void put_u32(dw_buf *b, uint32_t x)
{
    dw_buf_add(b, &x, sizeof x);
}

static void put_u64(dw_buf *b, uint64_t x)
{
    dw_buf_add(b, &x, sizeof x);
}

static void put_text(dw_buf *b, dw_text s)
{
    put_u64(b, s.len);
    dw_buf_add(b, s.ptr, s.len);
}

static void put_key(dw_gguf_out *o, const char *key, dw_gguf_type type)
{
    o->n_field++;
    put_text(&o->fields, dw_text_of(key));
    put_u32(&o->fields, type);
}

void dw_gguf_put_u32(dw_gguf_out *o, const char *key, uint32_t x)
{
    put_key(o, key, DW_GGUF_U32);
    put_u32(&o->fields, x);
}

void dw_gguf_put_f32(dw_gguf_out *o, const char *key, double x)
{
    const float f = (float)x;
    put_key(o, key, DW_GGUF_F32);
    dw_buf_add(&o->fields, &f, sizeof f);
}

void dw_gguf_put_bool(dw_gguf_out *o, const char *key, bool x)
{
    put_key(o, key, DW_GGUF_BOOL);
    dw_buf_addc(&o->fields, (char)x);
}

void dw_gguf_put_str(dw_gguf_out *o, const char *key, dw_text s)
{
    put_key(o, key, DW_GGUF_STRING);
    put_text(&o->fields, s);
}

static void put_array(dw_gguf_out *o, const char *key, dw_gguf_type type, size_t n)
{
    put_key(o, key, DW_GGUF_ARRAY);
    put_u32(&o->fields, type);
    put_u64(&o->fields, n);
}

void dw_gguf_put_strings(dw_gguf_out *o, const char *key, const dw_text *s, size_t n)
{
    put_array(o, key, DW_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_text(&o->fields, s[i]);
}

void dw_gguf_put_i32s(dw_gguf_out *o, const char *key, const int32_t *x, size_t n)
{
    put_array(o, key, DW_GGUF_I32, n);
    dw_buf_add(&o->fields, x, n * sizeof *x);
}

void dw_gguf_put_f32s(dw_gguf_out *o, const char *key, const float *x, size_t n)
{
    put_array(o, key, DW_GGUF_F32, n);
    dw_buf_add(&o->fields, x, n * sizeof *x);
}

size_t dw_gguf_padding(uint64_t bytes)
{
    return (size_t)((ALIGN - bytes % ALIGN) % ALIGN);
}

void dw_gguf_put_tensor(dw_gguf_out *o, const char *name, dw_dtype dtype, const uint64_t *dim,
                        uint32_t n_dim)
{
    uint64_t bytes = dw_quant_bytes(dtype);
    o->n_tensor++;
    put_text(&o->infos, dw_text_of(name));
    put_u32(&o->infos, n_dim);
    for (uint32_t i = 0; i < n_dim; i++) {
        put_u64(&o->infos, dim[i]);
        bytes *= i == 0 ? dim[0] / dw_quant_block(dtype) : dim[i];
    }
    put_u32(&o->infos, dw_gguf_dtype_number(dtype));
    put_u64(&o->infos, o->end);
    o->end += bytes + dw_gguf_padding(bytes);
}

void dw_gguf_head(const dw_gguf_out *o, dw_buf *out)
{
    static const char zero[ALIGN] = {0};
    dw_buf_adds(out, "GGUF");
    put_u32(out, VERSION);
    put_u64(out, o->n_tensor);
    put_u64(out, o->n_field);
    dw_buf_add(out, o->fields.ptr, o->fields.len);
    dw_buf_add(out, o->infos.ptr, o->infos.len);
    dw_buf_add(out, zero, dw_gguf_padding(out->len));
}

void dw_gguf_out_finish(dw_gguf_out *o)
{
    dw_buf_finish(&o->fields);
    dw_buf_finish(&o->infos);
}
