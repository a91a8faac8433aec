/* The number types of ggml: blocks of quantised values to float32, as the reference does it. */
#include <math.h>
#include <string.h>

#include "model/gguf.h"
#include "model/safetensors_internal.h"

enum { K = 256 }; /* values in a block of the K types */

static const struct {
    uint32_t ggml;
    dw_dtype dtype;
    const char *name;
    uint32_t block, bytes;
} types[] = {
    {0, DW_DT_F32, "F32", 1, 4},       {1, DW_DT_F16, "F16", 1, 2},
    {30, DW_DT_BF16, "BF16", 1, 2},    {2, DW_DT_Q4_0, "Q4_0", 32, 18},
    {3, DW_DT_Q4_1, "Q4_1", 32, 20},   {6, DW_DT_Q5_0, "Q5_0", 32, 22},
    {7, DW_DT_Q5_1, "Q5_1", 32, 24},   {8, DW_DT_Q8_0, "Q8_0", 32, 34},
    {12, DW_DT_Q4_K, "Q4_K", K, 144},  {13, DW_DT_Q5_K, "Q5_K", K, 176},
    {14, DW_DT_Q6_K, "Q6_K", K, 210},  {9, DW_DT_OTHER, "Q8_1", 0, 0},
    {10, DW_DT_OTHER, "Q2_K", 0, 0},   {11, DW_DT_OTHER, "Q3_K", 0, 0},
    {15, DW_DT_OTHER, "Q8_K", 0, 0},   {16, DW_DT_OTHER, "IQ2_XXS", 0, 0},
    {17, DW_DT_OTHER, "IQ2_XS", 0, 0}, {18, DW_DT_OTHER, "IQ3_XXS", 0, 0},
    {19, DW_DT_OTHER, "IQ1_S", 0, 0},  {20, DW_DT_OTHER, "IQ4_NL", 0, 0},
    {21, DW_DT_OTHER, "IQ3_S", 0, 0},  {22, DW_DT_OTHER, "IQ2_S", 0, 0},
    {23, DW_DT_OTHER, "IQ4_XS", 0, 0}, {24, DW_DT_OTHER, "I8", 0, 0},
    {25, DW_DT_OTHER, "I16", 0, 0},    {26, DW_DT_OTHER, "I32", 0, 0},
    {27, DW_DT_OTHER, "I64", 0, 0},    {28, DW_DT_OTHER, "F64", 0, 0},
    {29, DW_DT_OTHER, "IQ1_M", 0, 0},  {34, DW_DT_OTHER, "TQ1_0", 0, 0},
    {35, DW_DT_OTHER, "TQ2_0", 0, 0},  {39, DW_DT_OTHER, "MXFP4", 0, 0},
};
enum { N_TYPE = sizeof types / sizeof *types };

static int row_of(dw_dtype t)
{
    for (int i = 0; i < N_TYPE; i++)
        if (types[i].dtype == t && t != DW_DT_OTHER)
            return i;
    return 0;
}

dw_dtype dw_gguf_dtype(uint32_t ggml)
{
    for (int i = 0; i < N_TYPE; i++)
        if (types[i].ggml == ggml)
            return types[i].dtype;
    return DW_DT_OTHER;
}

const char *dw_gguf_dtype_name(uint32_t ggml)
{
    for (int i = 0; i < N_TYPE; i++)
        if (types[i].ggml == ggml)
            return types[i].name;
    return NULL;
}

uint32_t dw_gguf_dtype_number(dw_dtype t)
{
    return types[row_of(t)].ggml;
}

uint32_t dw_quant_block(dw_dtype t)
{
    return types[row_of(t)].block;
}

uint32_t dw_quant_bytes(dw_dtype t)
{
    return types[row_of(t)].bytes;
}

static float half_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return dw_st_half(h);
}

static void q8_0(const unsigned char *p, float *out)
{
    float d = half_at(p);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)p[2 + i];
}

/* Sixteen bytes hold values 0 to 15 in their low halves and 16 to 31 in the high ones. */
static int nibble(const unsigned char *q, int i)
{
    return i < 16 ? q[i] & 15 : q[i - 16] >> 4;
}

static void q4_0(const unsigned char *p, float *out)
{
    float d = half_at(p);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(nibble(p + 2, i) - 8);
}

static void q4_1(const unsigned char *p, float *out)
{
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)nibble(p + 4, i) + m;
}

static void q5_0(const unsigned char *p, float *out)
{
    float d = half_at(p);
    uint32_t high;
    memcpy(&high, p + 2, 4);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)((nibble(p + 6, i) | (int)(high >> i & 1) << 4) - 16);
}

static void q5_1(const unsigned char *p, float *out)
{
    float d = half_at(p), m = half_at(p + 2);
    uint32_t high;
    memcpy(&high, p + 4, 4);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(nibble(p + 8, i) | (int)(high >> i & 1) << 4) + m;
}

/* Six-bit scale and minimum of sub-block j, packed into 12 bytes. */
static void scale_of(const unsigned char *s, int j, float *scale, float *min)
{
    int a = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int b = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    *scale = (float)a;
    *min = (float)b;
}

/* Q4_K, and with `high` (32 bytes, a bit per sub-block) Q5_K. */
static void q45_k(const unsigned char *p, const unsigned char *high, const unsigned char *q,
                  float *out)
{
    float d = half_at(p), m = half_at(p + 2);
    for (int j = 0; j < 8; j++) {
        float scale, min;
        scale_of(p + 4, j, &scale, &min);
        float a = d * scale, b = m * min;
        for (int i = 0; i < 32; i++) {
            unsigned char byte = q[j / 2 * 32 + i];
            int v = j & 1 ? byte >> 4 : byte & 15;
            if (high)
                v |= (high[i] >> j & 1) << 4;
            out[j * 32 + i] = a * (float)v - b;
        }
    }
}

static void q6_k(const unsigned char *p, float *out)
{
    const unsigned char *high = p + 128, *scale = p + 192;
    float d = half_at(p + 208);
    for (int i = 0; i < K; i++) {
        int half = i / 128, j = i % 128;
        unsigned char low = p[half * 64 + j % 64];
        int v = (j < 64 ? low & 15 : low >> 4) | (high[half * 32 + j % 32] >> (j / 32 * 2) & 3)
                                                     << 4;
        float s = d * (float)(int8_t)scale[i / 16];
        out[i] = s * (float)(v - 32);
    }
}

static void block(dw_dtype t, const unsigned char *p, float *out)
{
    switch (t) {
    case DW_DT_Q8_0:
        q8_0(p, out);
        return;
    case DW_DT_Q4_0:
        q4_0(p, out);
        return;
    case DW_DT_Q4_1:
        q4_1(p, out);
        return;
    case DW_DT_Q5_0:
        q5_0(p, out);
        return;
    case DW_DT_Q5_1:
        q5_1(p, out);
        return;
    case DW_DT_Q4_K:
        q45_k(p, NULL, p + 16, out);
        return;
    case DW_DT_Q5_K:
        q45_k(p, p + 16, p + 48, out);
        return;
    default:
        q6_k(p, out);
        return;
    }
}

void dw_quant_read(dw_dtype t, const unsigned char *p, size_t n, dw_real *out)
{
    float x[K];
    uint32_t size = dw_quant_block(t), bytes = dw_quant_bytes(t);
    for (size_t i = 0; i < n; i += size, p += bytes) {
        block(t, p, x);
        for (uint32_t k = 0; k < size; k++)
            out[i + k] = (dw_real)x[k];
    }
}

void dw_quant_write_q8_0(const dw_real *in, size_t n, unsigned char *out)
{
    for (size_t i = 0; i < n; i += 32, out += 34) {
        float most = 0;
        for (int k = 0; k < 32; k++)
            most = fmaxf(most, fabsf((float)in[i + k]));
        float d = most / 127, inverse = d != 0 ? 1 / d : 0;
        const dw_real scale = (dw_real)d;
        dw_st_encode(DW_DT_F16, &scale, 1, out);
        for (int k = 0; k < 32; k++) {
            float x = (float)in[i + k] * inverse, a = fabsf(x), whole = floorf(a);
            whole += floorf(2 * (a - whole)); /* away from zero at halves, as ggml */
            out[2 + k] = (unsigned char)(int8_t)(x < 0 ? -whole : whole);
        }
    }
}
