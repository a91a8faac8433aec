/* Models by their names in a cache as huggingface_hub lays it out: links from snapshots to blobs.
 */
#include "model_files.h"

#include <sys/stat.h>

#include "model/hub.h"

#define ROOT   "hub/models--org--tiny"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void make_dirs(folder *f, const char *name)
{
    dw_err err = {{0}};
    assert_int_equal(dw_mkdirs(folder_file(f, name), &err), DW_OK);
}

static void clear_environment(void)
{
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                        "XDG_CACHE_HOME"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void fill(folder *f)
{
    make_dirs(f, ROOT "/blobs");
    make_dirs(f, ROOT "/snapshots/" COMMIT);
    make_dirs(f, ROOT "/refs");
    make_dirs(f, "hub/models--gpt/snapshots/aa");
    make_dirs(f, "hub/models--gpt/refs");
    make_dirs(f, "hub/models--org--half/refs");
    folder_puts(f, ROOT "/refs/main", COMMIT);
    folder_puts(f, ROOT "/refs/v1", COMMIT "\n");
    folder_puts(f, ROOT "/refs/gone", "fedcba");
    folder_puts(f, ROOT "/refs/odd", "../../blobs");
    folder_puts(f, "hub/models--gpt/refs/main", "aa");
    folder_puts(f, "hub/models--org--half/refs/main", "aa");
    clear_environment();
    setenv("HF_HOME", f->path, 1);
}

static const struct {
    const char *name, *place; /* beneath the hub; NULL: not there */
} names[] = {
    {"org/tiny", "models--org--tiny/snapshots/" COMMIT},
    {"org/tiny@main", "models--org--tiny/snapshots/" COMMIT},
    {"org/tiny@v1", "models--org--tiny/snapshots/" COMMIT},
    {"org/tiny@" COMMIT, "models--org--tiny/snapshots/" COMMIT},
    {"gpt", "models--gpt/snapshots/aa"},
    {"org/tiny@gone", NULL},
    {"org/tiny@odd", NULL},
    {"org/tiny@", NULL},
    {"org/tiny@..", NULL},
    {"org/tiny@../snapshots/" COMMIT, NULL},
    {"org/tiny@v2", NULL},
    {"org/half", NULL},
    {"org/none", NULL},
    {"org--tiny", "models--org--tiny/snapshots/" COMMIT},
    {"org/", NULL},
    {"/tiny", NULL},
    {"org/tiny/more", NULL},
    {"org//tiny", NULL},
    {"../org/tiny", NULL},
    {"..", NULL},
    {"./tiny", NULL},
    {"-x/tiny", NULL},
    {"org/ti ny", NULL},
    {"org/tiny\n", NULL},
    {"@main", NULL},
    {"", NULL},
};

static void test_names(void **state)
{
    folder f;
    folder_begin(&f);
    fill(&f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *found = dw_hub_find(&f.arena, names[i].name);
        if (!names[i].place)
            assert_null(found);
        else
            assert_string_equal(found,
                                dw_arena_printf(&f.arena, "%s/hub/%s", f.path, names[i].place));
    }
    /* What exists wins; what nobody has stays what it was. */
    assert_string_equal(dw_hub_place(&f.arena, f.path), f.path);
    assert_string_equal(dw_hub_place(&f.arena, "org/none"), "org/none");
    folder_end(&f);
}

static void test_environment(void **state)
{
    folder f;
    folder_begin(&f);
    fill(&f);
    const char *const want = dw_hub_find(&f.arena, "org/tiny");
    assert_non_null(want);
    setenv("HF_HUB_CACHE", "/nowhere", 1);
    assert_null(dw_hub_find(&f.arena, "org/tiny"));
    clear_environment();
    setenv("HF_HUB_CACHE", folder_file(&f, "hub"), 1);
    assert_string_equal(dw_hub_find(&f.arena, "org/tiny"), want);
    clear_environment();
    assert_int_equal(rename(folder_file(&f, "hub"), folder_file(&f, "kept")), 0);
    make_dirs(&f, ".cache/huggingface");
    assert_int_equal(rename(folder_file(&f, "kept"), folder_file(&f, ".cache/huggingface/hub")), 0);
    setenv("XDG_CACHE_HOME", folder_file(&f, ".cache"), 1);
    assert_non_null(dw_hub_find(&f.arena, "org/tiny"));
    clear_environment();
    setenv("HOME", f.path, 1);
    assert_non_null(dw_hub_find(&f.arena, "org/tiny"));
    folder_end(&f);
}

/* The golden model with its weights in one shard, every file a link to a blob. */
static char *put_model(folder *f, const char *weights)
{
    static const char *const files[] = {"config.json", "model-1.safetensors"};
    char *snapshot = folder_file(f, ROOT "/snapshots/" COMMIT), *base = golden(f, "llama/tied");
    dw_err err = {{0}};
    dw_checkpoint *c = NULL;
    dw_buf index = {0}, bytes = {0};
    for (size_t i = 0; i < 2; i++) {
        const char *from = dw_path_join(&f->arena, base, i ? "model.safetensors" : files[0]);
        dw_buf_clear(&bytes);
        assert_int_equal(dw_file_read(from, 1 << 20, &bytes, &err), DW_OK);
        folder_put(f, dw_arena_printf(&f->arena, ROOT "/blobs/b%zu", i), bytes.ptr, bytes.len);
        const char *to = i ? weights : "../../blobs/b0";
        assert_int_equal(symlink(to, dw_path_join(&f->arena, snapshot, files[i])), 0);
    }
    assert_int_equal(dw_checkpoint_open(base, &c, &err), DW_OK);
    for (size_t i = 0; i < dw_checkpoint_count(c); i++)
        dw_buf_printf(&index, "%s\"%s\":\"%s\"", i ? "," : "{\"weight_map\":{",
                      dw_checkpoint_at(c, i)->name, files[1]);
    dw_buf_adds(&index, "}}");
    dw_checkpoint_close(c);
    folder_put(f, ROOT "/snapshots/" COMMIT "/model.safetensors.index.json", index.ptr, index.len);
    dw_buf_finish(&index);
    dw_buf_finish(&bytes);
    return snapshot;
}

static void same_model(folder *f, dw_model *m)
{
    char a[65], b[65];
    dw_model *base = must_open(golden(f, "llama/tied"), &plain);
    dw_model_hash(m, a);
    dw_model_hash(base, b);
    assert_string_equal(a, b);
    dw_model_free(base);
}

static void test_links(void **state)
{
    folder f;
    folder_begin(&f);
    fill(&f);
    char *snapshot = put_model(&f, "../../blobs/b1");
    assert_int_equal(symlink(snapshot, folder_file(&f, "mine")), 0);
    const char *const ways[] = {"org/tiny", snapshot, folder_file(&f, "mine")};
    for (size_t i = 0; i < 3; i++) {
        dw_model *m = must_open(ways[i], &plain);
        same_model(&f, m);
        dw_model_free(m);
    }
    folder_end(&f);
}

/* Out of the model, though still in the cache; and the same links in a folder that is no cache. */
static void test_escapes(void **state)
{
    static const char *const out[] = {"../../../models--gpt/b1", "/etc/hostname",
                                      "../../../../hub/models--org--tiny/../models--gpt/b1"};
    for (size_t i = 0; i <= sizeof out / sizeof *out; i++) {
        folder f;
        folder_begin(&f);
        fill(&f);
        folder_puts(&f, "hub/models--gpt/b1", "not weights");
        const bool elsewhere = i == sizeof out / sizeof *out;
        char *dir = put_model(&f, elsewhere ? "../../blobs/b1" : out[i]);
        if (elsewhere) {
            make_dirs(&f, "plain/blobs");
            assert_int_equal(
                rename(folder_file(&f, ROOT "/snapshots"), folder_file(&f, "plain/snapshots")), 0);
            assert_int_equal(
                rename(folder_file(&f, ROOT "/blobs/b0"), folder_file(&f, "plain/blobs/b0")), 0);
            dir = folder_file(&f, "plain/snapshots/" COMMIT);
        }
        dw_checkpoint *c = NULL;
        dw_err err = {{0}};
        assert_int_equal(dw_checkpoint_open(dir, &c, &err), DW_E_INPUT);
        assert_non_null(strstr(err.text, "leads out of the model's folder"));
        folder_end(&f);
    }
}

/* PEFT writes the base's name, not its folder. */
static void test_adapter(void **state)
{
    folder f;
    folder_begin(&f);
    fill(&f);
    put_model(&f, "../../blobs/b1");
    dw_err err = {{0}};
    char *own = golden(&f, "llama/lora"), *mine = subdir(&f, "adapter");
    copy(&f, own, mine, "adapter_model.safetensors");
    put_edited(&f, dw_path_join(&f.arena, own, "adapter_config.json"),
               "adapter/adapter_config.json", "\"../tied\"", "\"org/tiny\"");
    dw_model *m = must_open(mine, &plain);
    assert_true(dw_model_has_adapter(m));
    dw_model_free(m);
    setenv("HF_HOME", "/nowhere", 1);
    assert_int_equal(dw_model_open(&exec, mine, &plain, &m, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "no folder \"org/tiny\" (looked beside the adapter, in the "
                                     "working directory and in Hugging Face's cache; nothing is "
                                     "downloaded)"));
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),   cmocka_unit_test(test_environment),
        cmocka_unit_test(test_links),   cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_adapter),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
