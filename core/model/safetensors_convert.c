/* Number types of checkpoints to and from the engine's: exact on the way in, nearest even on the
 * way out, and NaN payloads survive a round trip. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "model/gguf.h"
#include "model/safetensors_internal.h"
#include "tensor/bf16.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are read and written as little-endian memory"
#endif

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float dw_st_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;
    if (exp == 31)
        return from_bits(sign | 0x7f800000 | man << 13);
    if (exp)
        return from_bits(sign | (exp + 112) << 23 | man << 13);
    float f = (float)man * 0x1p-24f; /* subnormals are exact */
    return sign ? -f : f;
}

/* Drops `drop` low bits, to nearest even. */
static uint32_t round_bits(uint32_t u, uint32_t drop)
{
    uint32_t half = 1u << (drop - 1), odd = u >> drop & 1;
    return (u + half - 1 + odd) >> drop;
}

static uint16_t float_to_half(float f)
{
    uint32_t u = to_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) {
        uint32_t man = a >> 13 & 0x3ff;
        return (uint16_t)(sign | 0x7c00 | (man ? man : 0x200));
    }
    if (a >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (a >= 0x38800000) /* 2^-14: normal */
        return (uint16_t)(sign | round_bits(a - (112u << 23), 13));
    if (a < 0x33000000) /* below 2^-25 */
        return (uint16_t)sign;
    uint32_t shift = 126 - (a >> 23), man = (a & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | round_bits(man, shift));
}

static dw_status read_stored(const dw_tensor_entry *e, dw_real *out, dw_err *err)
{
    const unsigned char *p = e->data;
    size_t n = (size_t)e->n;
    switch (e->dtype) {
    case DW_DT_F32:
        if (sizeof(dw_real) == 4) {
            if (n)
                memcpy(out, p, n * 4);
            return DW_OK;
        }
        for (size_t i = 0; i < n; i++) {
            float f;
            memcpy(&f, p + 4 * i, 4);
            out[i] = f;
        }
        return DW_OK;
    case DW_DT_F64:
        for (size_t i = 0; i < n; i++) {
            double f;
            memcpy(&f, p + 8 * i, 8);
            out[i] = (dw_real)f;
        }
        return DW_OK;
    case DW_DT_F16:
    case DW_DT_BF16:
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, p + 2 * i, 2);
            out[i] = e->dtype == DW_DT_F16 ? dw_st_half(h) : dw_bf16_widen(h);
        }
        return DW_OK;
    case DW_DT_Q8_0:
    case DW_DT_Q4_0:
    case DW_DT_Q4_1:
    case DW_DT_Q5_0:
    case DW_DT_Q5_1:
    case DW_DT_Q4_K:
    case DW_DT_Q5_K:
    case DW_DT_Q6_K:
        dw_quant_read(e->dtype, p, n, out);
        return DW_OK;
    default:
        return dw_fail(err, DW_E_INPUT, "tensor \"%.128s\" is %s, wanted F32, F16, BF16 or F64",
                       e->name, dw_dtype_name(e->dtype));
    }
}

/* Row 2 i + k of a head, where k is 0 or 1, belongs in row i of its half k. */
static void from_pairs(const dw_tensor_entry *e, const dw_real *in, dw_real *out)
{
    size_t cols = (size_t)(e->n_dim > 1 ? e->dim[1] : 1), rows = (size_t)e->dim[0] / e->heads;
    for (size_t h = 0; h < e->heads; h++)
        for (size_t i = 0; i < rows; i++)
            memcpy(out + (h * rows + i % 2 * (rows / 2) + i / 2) * cols, in + (h * rows + i) * cols,
                   cols * sizeof *out);
}

dw_status dw_tensor_read(const dw_tensor_entry *e, dw_real *out, dw_err *err)
{
    size_t n = (size_t)e->n;
    bool moved = e->stored == DW_STORED_PAIRS || e->stored == DW_STORED_TRANSPOSED;
    dw_real *raw = moved ? dw_alloc((n + 1) * sizeof *raw) : out;
    dw_status st = read_stored(e, raw, err);
    if (st >= 0 && e->stored == DW_STORED_PAIRS)
        from_pairs(e, raw, out);
    for (size_t r = 0; st >= 0 && e->stored == DW_STORED_TRANSPOSED && r < e->dim[0]; r++)
        for (size_t k = 0; k < e->dim[1]; k++)
            out[r * e->dim[1] + k] = raw[k * e->dim[0] + r];
    for (size_t i = 0; st >= 0 && e->stored == DW_STORED_PLUS_ONE && i < n; i++)
        out[i] -= 1;
    if (moved)
        dw_free(raw);
    return st;
}

dw_status dw_tensor_readable(const dw_tensor_entry *e, dw_err *err)
{
    dw_tensor_entry none = *e;
    dw_real nothing;
    none.n = 0;
    return read_stored(&none, &nothing, err);
}

bool dw_tensor_by_rows(const dw_tensor_entry *e)
{
    if (e->n_dim != 2 || e->stored == DW_STORED_TRANSPOSED)
        return false;
    return e->dtype < DW_DT_OTHER || e->dim[1] % dw_quant_block(e->dtype) == 0;
}

dw_status dw_tensor_read_rows(const dw_tensor_entry *e, size_t row0, size_t n, dw_real *out,
                              dw_err *err)
{
    const size_t cols = (size_t)e->dim[1], bytes = (size_t)(e->bytes / e->dim[0]);
    dw_tensor_entry some = *e;
    dw_assert(dw_tensor_by_rows(e) && row0 + n <= e->dim[0]);
    if (e->stored != DW_STORED_PAIRS) {
        some.data += row0 * bytes;
        some.n = (uint64_t)n * cols;
        DW_TRY(read_stored(&some, out, err));
        for (size_t i = 0; e->stored == DW_STORED_PLUS_ONE && i < some.n; i++)
            out[i] -= 1;
        return DW_OK;
    }
    const size_t head = (size_t)e->dim[0] / e->heads, half = head / 2;
    for (size_t r = row0; r < row0 + n; r++, out += cols) {
        const size_t in = r % head; /* row i of half k is stored as row 2 i + k */
        some.data = e->data + (r - in + in % half * 2 + in / half) * bytes;
        some.n = cols;
        DW_TRY(read_stored(&some, out, err));
    }
    return DW_OK;
}

void dw_tensor_advise(const dw_tensor_entry *e, bool soon)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)e->data;
    const uintptr_t first = soon ? at / page * page : (at + page - 1) / page * page;
    const uintptr_t end = (at + e->bytes) / page * page;
    if (first < end) /* only advice: what fails changes nothing */
        (void)madvise((void *)first, end - first, soon ? MADV_WILLNEED : MADV_DONTNEED);
}

void dw_st_encode(dw_dtype dtype, const dw_real *in, size_t n, unsigned char *out)
{
    for (size_t i = 0; i < n; i++) {
        if (dtype == DW_DT_F32) {
            float f = (float)in[i];
            memcpy(out + 4 * i, &f, 4);
        } else if (dtype == DW_DT_F64) {
            double f = (double)in[i];
            memcpy(out + 8 * i, &f, 8);
        } else {
            uint16_t h =
                dtype == DW_DT_F16 ? float_to_half((float)in[i]) : dw_bf16_round((float)in[i]);
            memcpy(out + 2 * i, &h, 2);
        }
    }
}
