/* Sharded checkpoints: the index and its shards must agree exactly, and nothing leads out of the
 * folder; folders that hold another kind of weights say so. */
#include "folder.h"

#include <sys/stat.h>

#include "base/buf.h"
#include "model/safetensors.h"

static void put_shard(folder *f, const char *name, const char *tensor, char fill)
{
    char head[128];
    int n = snprintf(head, sizeof head,
                     "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", tensor);
    dw_buf b = {0};
    dw_buf_addc(&b, (char)n);
    for (int i = 1; i < 8; i++)
        dw_buf_addc(&b, 0);
    dw_buf_add(&b, head, (size_t)n);
    for (int i = 0; i < 8; i++)
        dw_buf_addc(&b, fill);
    folder_put(f, name, b.ptr, b.len);
    dw_buf_finish(&b);
}

#define MAP(a, b) "{\"weight_map\":{\"x\":\"" a "\",\"y\":\"" b "\"}}"
#define OUT       "leads out of the model's folder (if its files are links, copy them with cp -rL)"

static const struct {
    const char *index, *message;
} bads[] = {
    {"[]", "wanted an object, found an array"},
    {"{}", "weight_map: wanted an object, found nothing"},
    {"{\"weight_map\":[]}", "weight_map: wanted an object, found an array"},
    {"{\"weight_map\":{}}", "weight_map is empty"},
    {"{\"weight_map\":{\"x\":1}}", "weight_map.x: wanted a string, found a number"},
    {"{\"weight_map\":{\"x\":\"\"}}", "weight_map.x: not a file name"},
    {"{\"weight_map\":{\"x\":\"s1\\u0000.safetensors\"}}", "weight_map.x: not a file name"},
    {MAP("s1", "nope"), "shard \"nope\": cannot open: No such file or directory"},
    {MAP("s1", "s1"), "tensor \"y\" is not in shard \"s1\""},
    {MAP("s2", "s2"), "tensor \"x\" is not in shard \"s2\""},
    {MAP("s2", "s1"), "tensor \"x\" is not in shard \"s2\""},
    {"{\"weight_map\":{\"x\":\"s1\",\"y\":\"s2\",\"z\":\"s2\"}}",
     "tensor \"z\" is not in shard \"s2\""},
    {"{\"weight_map\":{\"x\":\"s1\",\"y\":\"s2\",\"y\":\"s2\"}}",
     "line 1, column 34: key \"y\" appears twice in one object"},
    {"{\"weight_map\":{\"x\":\"s1\"}}", ""},
    {MAP("s1", "../s2"), "shard \"../s2\": " OUT},
    {MAP("s1", "inner/../../s2"), "shard \"inner/../../s2\": " OUT},
    {MAP("s1", "/etc/hostname"), "shard \"/etc/hostname\": " OUT},
    {MAP("s1", "//s2"), "shard \"//s2\": " OUT},
    {MAP("s1", ".."), "shard \"..\": " OUT},
    {MAP("s1", "link-out"), "shard \"link-out\": " OUT},
    {MAP("s1", "link-up"), "shard \"link-up\": " OUT},
    {MAP("s1", "link-loop"), "shard \"link-loop\": " OUT},
    {MAP("s1", "dir-out/s2"), "shard \"dir-out/s2\": " OUT},
    {MAP("s1", "inner"), "shard \"inner\": not a regular file"},
    {MAP("s1", "pipe"), "shard \"pipe\": not a regular file"},
    {MAP("s1", "empty"), "shard \"empty\": 0 bytes long, a safetensors file has at least 8"},
    {MAP("s1", "again"), "shard \"again\": tensor \"x\" is in two shards"},
    {MAP("s1", "two"), "tensor \"y\" is not in shard \"two\""},
    {"{\"metadata\":{\"total_size\":17},\"weight_map\":{\"x\":\"s1\",\"y\":\"s2\"}}",
     "metadata.total_size is 17, the shards hold 16 bytes"},
    {"{\"metadata\":{\"total_size\":\"16\"},\"weight_map\":{\"x\":\"s1\",\"y\":\"s2\"}}",
     "metadata: total_size: wanted an integer, found a string"},
    {"{\"metadata\":[],\"weight_map\":{\"x\":\"s1\",\"y\":\"s2\"}}",
     "metadata: wanted an object, found an array"},
    {"{\"weight_map\":{\"x\":\"s1\",\"y\":\"s2\"}} x",
     "line 1, column 36: found 'x', wanted nothing after the value"},
};

static void fill(folder *f)
{
    put_shard(f, "s1", "x", 1);
    put_shard(f, "s2", "y", 2);
    put_shard(f, "again", "x", 3);
    put_shard(f, "two", "z", 4);
    folder_puts(f, "empty", "");
    assert_int_equal(mkdir(folder_file(f, "inner"), 0755), 0);
    put_shard(f, "inner/s2", "y", 2);
    assert_int_equal(mkfifo(folder_file(f, "pipe"), 0644), 0);
    assert_int_equal(symlink("/etc/hostname", folder_file(f, "link-out")), 0);
    assert_int_equal(symlink("../s2", folder_file(f, "link-up")), 0);
    assert_int_equal(symlink("link-loop", folder_file(f, "link-loop")), 0);
    assert_int_equal(symlink("/tmp", folder_file(f, "dir-out")), 0);
    assert_int_equal(symlink("inner/s2", folder_file(f, "link-in")), 0);
}

static void test_bad(void **state)
{
    folder f;
    folder_begin(&f);
    fill(&f);
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        dw_checkpoint *c = NULL;
        dw_err err = {{0}};
        char *path = folder_puts(&f, "model.safetensors.index.json", bads[i].index);
        dw_status st = dw_checkpoint_open(f.path, &c, &err);
        if (!bads[i].message[0]) { /* agrees: the other file is nobody's shard */
            assert_int_equal(st, DW_OK);
            dw_checkpoint_close(c);
            continue;
        }
        assert_int_equal(st, DW_E_INPUT);
        assert_string_equal(after_path(&err, path), bads[i].message);
    }
    folder_end(&f);
}

static void test_good(void **state)
{
    static const char *const second[] = {"s2", "inner/s2", "link-in", "./inner/../s2"};
    folder f;
    folder_begin(&f);
    fill(&f);
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        dw_checkpoint *c = NULL;
        dw_err err = {{0}};
        char *text = dw_arena_printf(&f.arena,
                                     "{\"metadata\":{\"total_size\":16,\"other\":1},"
                                     "\"weight_map\":{\"y\":\"%s\",\"x\":\"s1\"}}",
                                     second[i]);
        folder_puts(&f, "model.safetensors.index.json", text);
        assert_int_equal(dw_checkpoint_open(f.path, &c, &err), DW_OK);
        assert_int_equal(dw_checkpoint_count(c), 2);
        assert_int_equal(dw_checkpoint_find(c, "x")->data[7], 1);
        assert_int_equal(dw_checkpoint_find(c, "y")->data[0], 2);
        assert_int_equal(dw_checkpoint_find(c, "y")->shard, 0);
        dw_checkpoint_close(c);
    }
    folder_end(&f);
}

/* A tensor of a shard that the index leaves out. */
static void test_unlisted(void **state)
{
    static const char both[] = "\x70\0\0\0\0\0\0\0"
                               "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                               "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}";
    folder f;
    folder_begin(&f);
    char bytes[8 + 0x70 + 8] = {0};
    memset(bytes, ' ', sizeof bytes);
    memcpy(bytes, both, sizeof both - 1);
    folder_put(&f, "s", bytes, sizeof bytes);
    char *path = folder_puts(&f, "model.safetensors.index.json", "{\"weight_map\":{\"x\":\"s\"}}");
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    assert_int_equal(dw_checkpoint_open(f.path, &c, &err), DW_E_INPUT);
    assert_string_equal(after_path(&err, path), "tensor \"w\" of shard \"s\" is not in weight_map");
    folder_end(&f);
}

/* Weights of another kind, by name and by content. */
static void test_other_kinds(void **state)
{
    static const char how[] =
        "a pickle can run code when it is read; convert it once with transformers: "
        "AutoModelForCausalLM.from_pretrained(IN).save_pretrained(OUT)";
    static const struct {
        const char *name, *bytes;
        size_t n;
    } pickles[] = {
        {"pytorch_model.bin", "x", 1},
        {"pytorch_model-00001-of-00002.bin", "x", 1},
        {"model.pt", "x", 1},
        {"consolidated.00.pth", "x", 1},
        {"last.ckpt", "x", 1},
        {"weights.pkl", "x", 1},
        {"weights", "PK\3\4\24\0\0\0", 8},
        {"weights.dat", "\x80\2}q\0", 5},
        {"weights.v4", "\x80\4\x95\1\0\0\0\0\0\0\0", 11},
        {"renamed.safetensors", "PK\3\4\24\0\0\0", 8},
    };
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        folder f;
        dw_checkpoint *c = NULL;
        dw_err err = {{0}};
        folder_begin(&f);
        folder_put(&f, pickles[i].name, pickles[i].bytes, pickles[i].n);
        assert_int_equal(dw_checkpoint_open(f.path, &c, &err), DW_E_INPUT);
        assert_string_equal(after_path(&err, f.path),
                            dw_arena_printf(&f.arena, "the weights are a PyTorch pickle (%s): %s",
                                            pickles[i].name, how));
        folder_end(&f);
    }
    folder f;
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    folder_begin(&f);
    assert_int_equal(dw_checkpoint_open(f.path, &c, &err), DW_E_INPUT);
    assert_string_equal(after_path(&err, f.path),
                        "no model.safetensors or model.safetensors.index.json in the folder");
    folder_puts(&f, "model.gguf", "GGUF");
    assert_int_equal(dw_checkpoint_open(f.path, &c, &err), DW_E_INPUT);
    assert_string_equal(after_path(&err, folder_file(&f, "model.gguf")),
                        "4 bytes are too few for a GGUF header");
    folder_puts(&f, "other.gguf", "GGUF"); /* which of the two? */
    assert_int_equal(dw_checkpoint_open(f.path, &c, &err), DW_E_INPUT);
    assert_string_equal(after_path(&err, f.path),
                        "no model.safetensors or model.safetensors.index.json in the folder (found "
                        "model.gguf)");
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_unlisted),
        cmocka_unit_test(test_other_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
