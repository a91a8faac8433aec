/* Every rule of the safetensors format, broken one at a time; truncation at every length, every
 * flipped bit of length and header; conversions; and bytes equal to the reference writer's. */
#include "folder.h"

#include <math.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"
#include "model/safetensors.h"

typedef struct bad {
    const char *header;
    size_t n_data;
    const char *message;
} bad;

#define T(dtype, shape, at) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" at "}"

static const bad bads[] = {
    {"", 0, "the header does not begin with {"},
    {"[]", 0, "the header does not begin with {"},
    {" {}", 0, "the header does not begin with {"},
    {"{}\n", 0, "the header ends with byte 0x0a, wanted } and then only spaces"},
    {"{} x", 0, "the header ends with byte 0x78, wanted } and then only spaces"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",}", 4,
     "header: line 1, column 55: found '}', wanted a key after ','"},
    {"{\"a\":1}", 0, "tensor \"a\": wanted an object, found a number"},
    {"{\"a\":{}}", 0, "tensor \"a\": dtype: wanted a string, found nothing"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor \"a\": dtype: wanted a string, found a number"},
    {"{\"a\":" T("F31", "[1]", "[0,4]") "}", 4, "tensor \"a\": dtype \"F31\" is unknown"},
    {"{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, "tensor \"a\": dtype \"f32\" is unknown"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
     "tensor \"a\": shape: wanted an array, found nothing"},
    {"{\"a\":" T("F32", "4", "[0,4]") "}", 4,
     "tensor \"a\": shape: wanted an array, found a number"},
    {"{\"a\":" T("F32", "[\"1\"]", "[0,4]") "}", 4,
     "tensor \"a\": shape: wanted integers, found a string"},
    {"{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, "tensor \"a\": shape: -1 is not a size"},
    {"{\"a\":" T("F32", "[1.5]", "[0,4]") "}", 4, "tensor \"a\": shape: 1.5 is not a size"},
    {"{\"a\":" T("F32", "[1e20]", "[0,4]") "}", 4, "tensor \"a\": shape: 1e+20 is not a size"},
    {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,4]") "}", 4,
     "tensor \"a\": shape: the number of elements overflows"},
    {"{\"a\":" T("F32", "[4503599627370496,4095]", "[0,4]") "}", 4,
     "tensor \"a\": shape: the number of bytes overflows"},
    {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4,
     "tensor \"a\": shape: more than 8 dimensions"},
    {"{\"a\":" T("F4", "[3]", "[0,1]") "}", 1,
     "tensor \"a\": shape: 3 elements of F4 do not fill whole bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
     "tensor \"a\": data_offsets: wanted two integers"},
    {"{\"a\":" T("F32", "[1]", "[0]") "}", 4, "tensor \"a\": data_offsets: wanted two integers"},
    {"{\"a\":" T("F32", "[1]", "[0,4,8]") "}", 4,
     "tensor \"a\": data_offsets: wanted two integers"},
    {"{\"a\":" T("F32", "[1]", "[4,0]") "}", 4,
     "tensor \"a\": data_offsets: begin 4 is above end 0"},
    {"{\"a\":" T("F32", "[1]", "[0,null]") "}", 4,
     "tensor \"a\": data_offsets: wanted integers, found null"},
    {"{\"a\":" T("F32", "[2]", "[0,4]") "}", 4,
     "tensor \"a\": data_offsets: 4 bytes, but the shape needs 8 bytes of F32"},
    {"{\"a\":" T("F32", "[]", "[0,8]") "}", 8,
     "tensor \"a\": data_offsets: 8 bytes, but the shape needs 4 bytes of F32"},
    {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 4,
     "tensor \"a\": data_offsets: end 8 is behind the file's 4 bytes of data (is it cut off?)"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, "1 bytes behind the last tensor"},
    {"{\"a\":" T("F32", "[1]", "[4,8]") "}", 8, "a hole of 4 bytes before tensor \"a\""},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[8,12]") "}", 12,
     "a hole of 4 bytes before tensor \"b\""},
    {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[4,12]") "}", 12,
     "tensor \"b\" overlaps \"a\""},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4,
     "tensor \"b\" overlaps \"a\""},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8,
     "header: line 1, column 55: key \"a\" appears twice in one object"},
    {"{\"a\\u0000b\":" T("F32", "[1]", "[0,4]") "}", 4,
     "header: line 1, column 2: key with U+0000"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
     "tensor \"a\": unknown key \"x\""},
    {"{\"__metadata__\":[]}", 0, "__metadata__: wanted an object, found an array"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__.a: wanted a string, found a number"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, "__metadata__.a: wanted a string, found an object"},
    {"{}", 3, "3 bytes behind the last tensor"},
};

static char *put(folder *f, const char *header, size_t n_header, uint64_t length, size_t n_data)
{
    dw_buf b = {0};
    for (int i = 0; i < 8; i++)
        dw_buf_addc(&b, (char)(length >> (8 * i)));
    dw_buf_add(&b, header, n_header);
    for (size_t i = 0; i < n_data; i++)
        dw_buf_addc(&b, (char)i);
    char *path = folder_put(f, "a.safetensors", b.ptr, b.len);
    dw_buf_finish(&b);
    return path;
}

static void expect(const char *path, const char *message)
{
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    assert_int_equal(dw_checkpoint_open_file(path, &c, &err), DW_E_INPUT);
    assert_null(c);
    assert_string_equal(after_path(&err, path), message);
}

static void test_bad_headers(void **state)
{
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        size_t n = strlen(bads[i].header);
        expect(put(&f, bads[i].header, n, n, bads[i].n_data), bads[i].message);
    }
    folder_end(&f);
}

static void test_bad_frames(void **state)
{
    folder f;
    folder_begin(&f);
    expect(folder_puts(&f, "e", ""), "0 bytes long, a safetensors file has at least 8");
    expect(folder_put(&f, "s", "\2\0\0\0\0\0\0", 7),
           "7 bytes long, a safetensors file has at least 8");
    expect(put(&f, "{}", 2, 3, 0), "header length 3, but only 2 bytes follow (is it cut off?)");
    expect(put(&f, "{}", 2, 100000001, 0),
           "header length 100000001 is above the limit of 100000000");
    expect(put(&f, "{}", 2, UINT64_MAX, 0),
           "header length 18446744073709551615 is above the limit of 100000000");
    expect(put(&f, "{}", 2, 0, 0), "the header does not begin with {");
    static const char pickle[] =
        "this is a PyTorch pickle, not safetensors: a pickle can run code when it is read; convert "
        "it once with transformers: AutoModelForCausalLM.from_pretrained(IN).save_pretrained(OUT)";
    expect(folder_put(&f, "z", "PK\3\4\0\0\0\0\0\0\0\0archive/data.pkl", 28), pickle);
    expect(folder_put(&f, "p", "\x80\2}q\0(X\5\0\0\0", 11), pickle);
    expect(folder_put(&f, "p5", "\x80\5\x95\x10\0\0\0\0\0\0\0}", 12), pickle);
    expect(folder_put(&f, "g", "GGUF\3\0\0\0\0\0", 10), "this is a GGUF file, not safetensors");
    expect(folder_puts(&f, "l", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
           "this is a Git LFS pointer, not the weights: fetch them with git lfs pull");
    folder_end(&f);
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":" T("F32", "[2,2]", "[0,16]") ","
                                         "\"b\":" T("BF16", "[3]",
                                                    "[16,22]") ","
                                                               "\"c\":" T("I64", "[0]",
                                                                          "[22,22]") "}   ";

/* Reference reading of what a header says, from one that was accepted: all must be consistent. */
static void check_consistent(const dw_checkpoint *c, size_t n_data)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(c, i);
        uint64_t n = 1;
        for (uint32_t k = 0; k < e->n_dim; k++)
            n *= e->dim[k];
        assert_int_equal(n, e->n);
        if (e->dtype != DW_DT_OTHER)
            assert_int_equal(e->bytes, n * dw_dtype_bytes(e->dtype));
        sum += e->bytes;
        for (size_t k = 0; k < e->bytes; k++) /* the sanitizer checks the reads */
            assert_int_equal(e->data[k], (unsigned char)(sum - e->bytes + k));
    }
    assert_int_equal(sum, n_data);
}

static void test_good(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    dw_checkpoint *c = NULL;
    char *path = put(&f, good, sizeof good - 1, sizeof good - 1, 22);
    assert_int_equal(dw_checkpoint_open_file(path, &c, &err), DW_OK);
    assert_int_equal(dw_checkpoint_count(c), 3);
    check_consistent(c, 22);
    assert_string_equal(dw_checkpoint_meta(c, "format"), "pt");
    assert_null(dw_checkpoint_meta(c, "x"));
    assert_null(dw_checkpoint_find(c, "x"));
    assert_int_equal(dw_checkpoint_find(c, "b")->dtype, DW_DT_BF16);
    dw_real x;
    assert_int_equal(dw_tensor_read(dw_checkpoint_find(c, "c"), &x, &err), DW_E_INPUT);
    assert_string_equal(err.text, "tensor \"c\" is I64, wanted F32, F16, BF16 or F64");
    dw_checkpoint_close(c);
    folder_end(&f);
}

static void test_truncated(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *path = put(&f, good, sizeof good - 1, sizeof good - 1, 22);
    dw_buf all = {0};
    assert_int_equal(dw_file_read(path, 1 << 20, &all, &err), DW_OK);
    for (size_t n = 0; n < all.len; n++) {
        dw_checkpoint *c = NULL;
        char *cut = folder_put(&f, "cut", all.ptr, n);
        assert_int_equal(dw_checkpoint_open_file(cut, &c, &err), DW_E_INPUT);
        after_path(&err, cut);
    }
    dw_buf_finish(&all);
    folder_end(&f);
}

static void test_flipped(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *path = put(&f, good, sizeof good - 1, sizeof good - 1, 22);
    dw_buf all = {0};
    size_t accepted = 0, n_head = 8 + sizeof good - 1;
    assert_int_equal(dw_file_read(path, 1 << 20, &all, &err), DW_OK);
    for (size_t bit = 0; bit < 8 * n_head; bit++) {
        dw_checkpoint *c = NULL;
        all.ptr[bit / 8] = (char)(all.ptr[bit / 8] ^ 1 << bit % 8);
        char *flipped = folder_put(&f, "flip", all.ptr, all.len);
        dw_status st = dw_checkpoint_open_file(flipped, &c, &err);
        if (st == DW_OK) {
            check_consistent(c, 22);
            accepted++;
        } else {
            assert_int_equal(st, DW_E_INPUT);
            after_path(&err, flipped);
        }
        dw_checkpoint_close(c);
        all.ptr[bit / 8] = (char)(all.ptr[bit / 8] ^ 1 << bit % 8);
    }
    /* Letters of names, of metadata, and types of equal size may change; the rest may not. */
    assert_in_range(accepted, 1, 8 * 40);
    dw_buf_finish(&all);
    folder_end(&f);
}

static uint16_t encode16(folder *f, dw_dtype t, dw_real v)
{
    dw_err err = {{0}};
    dw_checkpoint *c = NULL;
    uint16_t h;
    char *path = folder_file(f, "h");
    dw_tensor_out out = {.name = "v", .dtype = t, .n_dim = 0, .values = &v};
    assert_int_equal(dw_safetensors_write(path, &out, 1, NULL, 0, &err), DW_OK);
    assert_int_equal(dw_checkpoint_open_file(path, &c, &err), DW_OK);
    memcpy(&h, dw_checkpoint_at(c, 0)->data, 2);
    dw_checkpoint_close(c);
    return h;
}

static void test_rounding(void **state)
{
    static const struct {
        dw_dtype t;
        double v;
        uint16_t bits;
    } rows[] = {
        {DW_DT_F16, 0.0, 0},
        {DW_DT_F16, -0.0, 0x8000},
        {DW_DT_F16, 1.0, 0x3c00},
        {DW_DT_F16, 65504, 0x7bff},
        {DW_DT_F16, 65519, 0x7bff},
        {DW_DT_F16, 65520, 0x7c00},
        {DW_DT_F16, -1e9, 0xfc00},
        {DW_DT_F16, 0x1p-24, 1},
        {DW_DT_F16, 0x1p-25, 0},
        {DW_DT_F16, 0x1.8p-25, 1},
        {DW_DT_F16, 0x1.8p-24, 2},
        {DW_DT_F16, 0x1p-14, 0x400},
        {DW_DT_F16, 2049, 0x6800},
        {DW_DT_F16, 2051, 0x6802},
        {DW_DT_F16, 0x1.ff8p-15, 0x3ff},
        {DW_DT_F16, INFINITY, 0x7c00},
        {DW_DT_F16, 0x1.ffcp-15, 0x400},
        {DW_DT_BF16, 1.0, 0x3f80},
        {DW_DT_BF16, 0x1.01p0, 0x3f80},
        {DW_DT_BF16, 0x1.03p0, 0x3f82},
        {DW_DT_BF16, 0x1.011p0, 0x3f81},
        {DW_DT_BF16, 3.4e38, 0x7f80},
        {DW_DT_BF16, -INFINITY, 0xff80},
    };
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(encode16(&f, rows[i].t, (dw_real)rows[i].v), rows[i].bits);
    assert_int_equal(encode16(&f, DW_DT_F16, (dw_real)NAN) & 0x7e00, 0x7e00);
    assert_int_equal(encode16(&f, DW_DT_BF16, (dw_real)NAN) & 0x7fc0, 0x7fc0);
    folder_end(&f);
}

/* All 65536 values of both half types survive reading and writing. */
static void test_halves(void **state)
{
    folder f;
    folder_begin(&f);
    static uint16_t bits[65536];
    static dw_real values[65536];
    for (uint32_t i = 0; i < 65536; i++)
        bits[i] = (uint16_t)i;
    for (int k = 0; k < 2; k++) {
        dw_err err = {{0}};
        dw_checkpoint *c = NULL;
        dw_dtype t = k ? DW_DT_BF16 : DW_DT_F16;
        dw_tensor_out out = {.name = "v", .dtype = t, .n_dim = 1, .dim = {65536}, .raw = bits};
        char *path = folder_file(&f, "all");
        assert_int_equal(dw_safetensors_write(path, &out, 1, NULL, 0, &err), DW_OK);
        assert_int_equal(dw_checkpoint_open_file(path, &c, &err), DW_OK);
        assert_int_equal(dw_tensor_read(dw_checkpoint_at(c, 0), values, &err), DW_OK);
        dw_checkpoint_close(c);
        assert_true(values[k ? 0x3fc0 : 0x3e00] == (dw_real)1.5);
        out.raw = NULL;
        out.values = values;
        assert_int_equal(dw_safetensors_write(path, &out, 1, NULL, 0, &err), DW_OK);
        assert_int_equal(dw_checkpoint_open_file(path, &c, &err), DW_OK);
        assert_memory_equal(dw_checkpoint_at(c, 0)->data, bits, sizeof bits);
        dw_checkpoint_close(c);
    }
    folder_end(&f);
}

/* The reference implementation wrote the golden file; writing its tensors in any order gives the
 * same bytes. */
static void test_upstream_bytes(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    dw_checkpoint *c = NULL;
    char *path = golden(&f, "llama/tied/expected.safetensors");
    assert_int_equal(dw_checkpoint_open_file(path, &c, &err), DW_OK);
    size_t n = dw_checkpoint_count(c);
    dw_tensor_out *t = dw_zalloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(c, n - 1 - i);
        t[i] =
            (dw_tensor_out){.name = e->name, .dtype = e->dtype, .n_dim = e->n_dim, .raw = e->data};
        memcpy(t[i].dim, e->dim, sizeof e->dim);
    }
    char *copy = folder_file(&f, "copy.safetensors");
    dw_meta_pair meta = {"format", "pt"};
    assert_int_equal(dw_safetensors_write(copy, t, n, &meta, 1, &err), DW_OK);
    char a[65], b[65];
    assert_int_equal(dw_sha256_file(path, a, &err), DW_OK);
    assert_int_equal(dw_sha256_file(copy, b, &err), DW_OK);
    assert_string_equal(a, b);
    dw_free(t);
    dw_checkpoint_close(c);
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_headers), cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_good),        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),     cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_halves),      cmocka_unit_test(test_upstream_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
