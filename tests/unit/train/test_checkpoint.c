/* A checkpoint or an input that changed is found and named before anything is used. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "tiny.h"
#include "train/checkpoint.h"

typedef struct stopped {
    tiny t;
    dw_run_options o;
} stopped;

static stopped make(const char *tasks, const char *weights)
{
    stopped s = {.t = tiny_make()};
    dw_err err = {{0}};
    s.o = tiny_options(&s.t, "run", 3);
    dw_plan *p = tiny_plan(&s.t, tasks, weights, ",\"save_every\":1,\"keep\":2");
    assert_int_equal(dw_run(p, NULL, &s.o, &err), DW_E_SIGINT);
    dw_plan_free(p);
    s.o.stop_at = 4;
    return s;
}

static dw_status resume(stopped *s, dw_err *err)
{
    dw_plan *p = NULL;
    err->text[0] = 0;
    tiny_must(dw_plan_read(dw_path_join(&s->t.arena, s->o.out, "plan.json"), &p, err), err);
    dw_status st = dw_run_resume(p, NULL, &s->o, err);
    dw_plan_free(p);
    return st;
}

static void expect(stopped *s, const char *words)
{
    dw_err err = {{0}};
    dw_status st = resume(s, &err);
    if (st != DW_E_INPUT || !strstr(err.text, words))
        fail_msg("status %d, '%s', expected '%s'", (int)st, err.text, words);
}

static void flip(const char *path, off_t at)
{
    unsigned char c;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_true(pread(fd, &c, 1, at) == 1);
    c ^= 1;
    assert_true(pwrite(fd, &c, 1, at) == 1);
    close(fd);
}

static off_t size_of(const char *path)
{
    struct stat sb;
    assert_true(stat(path, &sb) == 0);
    return sb.st_size;
}

static void every_flipped_byte_is_named(void **state)
{
    stopped s = make(TINY_DPO, "\"dpo\":1");
    dw_err err = {{0}};
    char **name;
    size_t n, checked = 0;
    const char *dir = dw_path_join(&s.t.arena, s.o.out, "checkpoint-3");
    tiny_must(dw_dir_list(&s.t.arena, dir, &name, &n, &err), &err);
    assert_true(n >= 4);
    for (size_t i = 0; i < n; i++) {
        const char *path = dw_path_join(&s.t.arena, dir, name[i]);
        off_t size = size_of(path);
        const off_t at[] = {0, size / 2, size - 1};
        for (int k = 0; k < 3 && size > 0; k++, checked++) {
            flip(path, at[k]);
            expect(&s, name[i]);
            flip(path, at[k]);
        }
    }
    assert_true(checked >= 9);
    assert_int_equal(resume(&s, &err), DW_E_SIGINT); /* whole again, and it goes on */
    tiny_finish(&s.t);
}

static void short_and_missing_files_are_named(void **state)
{
    stopped s = make(TINY_DPO, "\"dpo\":1");
    const char *path = dw_path_join(&s.t.arena, s.o.out, "checkpoint-3/optimizer.safetensors");
    assert_true(truncate(path, size_of(path) - 4) == 0);
    expect(&s, "optimizer.safetensors");
    assert_true(unlink(path) == 0);
    expect(&s, "optimizer.safetensors is missing");
    tiny_finish(&s.t);
}

static void the_reference_cache_is_checked(void **state)
{
    stopped s = make(TINY_DPO, "\"dpo\":1");
    dw_err err = {{0}};
    const char *path = dw_path_join(&s.t.arena, s.o.out, "reference.cache");
    flip(path, 60);
    expect(&s, "reference.cache is damaged");
    assert_true(unlink(path) == 0);
    assert_int_equal(resume(&s, &err), DW_E_SIGINT); /* scored again by a frozen copy */
    tiny_finish(&s.t);
}

static void changed_inputs_are_named(void **state)
{
    stopped s = make(TINY_SFT "," TINY_DPO, "\"sft\":1,\"dpo\":1");
    const char *plan = dw_path_join(&s.t.arena, s.o.out, "plan.json");
    const char *data = dw_path_join(&s.t.arena, s.t.dir, "pairs.jsonl");
    const char *model = dw_path_join(&s.t.arena, s.t.dir, "saved/model.safetensors");
    dw_buf text = {0};
    dw_err err = {{0}};
    flip(data, 13); /* a letter of a prompt */
    expect(&s, "the data of dpo.data is not what the run was started with");
    flip(data, 13);
    flip(model, size_of(model) - 1);
    expect(&s, "the model is not what the run was started with");
    flip(model, size_of(model) - 1);
    tiny_must(dw_file_read(plan, 1 << 20, &text, &err), &err);
    char *seed = strstr(text.ptr, "\"seed\": 17");
    assert_non_null(seed);
    seed[8] = '2';
    tiny_must(dw_file_write(plan, text.ptr, text.len, &err), &err);
    expect(&s, "the plan is not what the run was started with");
    seed[8] = '1';
    tiny_must(dw_file_write(plan, text.ptr, text.len, &err), &err);
    assert_int_equal(resume(&s, &err), DW_E_SIGINT);
    dw_buf_finish(&text);
    tiny_finish(&s.t);
}

static void folders_are_guarded(void **state)
{
    stopped s = make(TINY_SFT, "\"sft\":1");
    dw_err err = {{0}};
    dw_plan *p = tiny_plan(&s.t, TINY_SFT, "\"sft\":1", "");
    assert_int_equal(dw_run(p, NULL, &s.o, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "exists and is not empty"));
    dw_plan_free(p);
    int fd = open(dw_path_join(&s.t.arena, s.o.out, ".lock"), O_RDWR);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    expect(&s, "is being trained by another process, pid ");
    close(fd);
    s.o.stop_at = 0;
    assert_int_equal(resume(&s, &err), DW_OK);
    expect(&s, "is finished");
    tiny_finish(&s.t);
}

static void another_kernel_is_a_warning(void **state)
{
    stopped s = make(TINY_SFT, "\"sft\":1");
    dw_err err = {{0}};
    unsigned before = dw_log_warnings();
    s.o.kernel = "plain";
    assert_int_equal(resume(&s, &err), DW_E_SIGINT);
    assert_int_equal(dw_log_warnings(), before + 1);
    tiny_finish(&s.t);
}

/* ---- disks that are full ---- */

static int refusals, refused;

static int full_rename(const char *from, const char *to)
{
    const char *base = strrchr(to, '/') ? strrchr(to, '/') + 1 : to;
    if (strncmp(base, "checkpoint-", 11) == 0 && refused < refusals) {
        refused++;
        errno = ENOSPC;
        return -1;
    }
    return rename(from, to);
}

static dw_status run_on_full_disk(tiny *t, int times, dw_err *err)
{
    dw_vfs vfs = *dw_vfs_get();
    dw_run_options o = tiny_options(t, "full", 0);
    dw_plan *p = tiny_plan(t, TINY_SFT, "\"sft\":1", ",\"save_every\":2");
    vfs.rename = full_rename;
    refusals = times;
    refused = 0;
    dw_vfs_use(&vfs);
    dw_status st = dw_run(p, NULL, &o, err);
    dw_vfs_use(NULL);
    dw_plan_free(p);
    return st;
}

static void one_failed_save_is_survived_two_are_not(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    const char *run = dw_path_join(&t.arena, t.dir, "full");
    assert_int_equal(run_on_full_disk(&t, 1, &err), DW_OK);
    assert_int_equal(refused, 1);
    assert_false(dw_dir_exists(dw_path_join(&t.arena, run, "checkpoint-2")));
    assert_true(dw_dir_exists(dw_path_join(&t.arena, run, "checkpoint-4")));
    tiny_must(dw_remove_tree(run, &err), &err);
    assert_int_equal(run_on_full_disk(&t, 9, &err), DW_E_IO);
    assert_int_equal(refused, 2);
    assert_false(dw_dir_exists(dw_path_join(&t.arena, run, "final")));
    tiny_finish(&t);
}

static void old_checkpoints_go(void **state)
{
    stopped s = make(TINY_SFT, "\"sft\":1");
    dw_arena *a = &s.t.arena;
    assert_false(dw_dir_exists(dw_path_join(a, s.o.out, "checkpoint-1")));
    assert_true(dw_dir_exists(dw_path_join(a, s.o.out, "checkpoint-2")));
    assert_true(dw_dir_exists(dw_path_join(a, s.o.out, "checkpoint-3")));
    tiny_finish(&s.t);
}

/* Killed before the first save: the run starts again from its first step and ends the same. */
static void without_a_checkpoint_it_starts_again(void **state)
{
    stopped s = make(TINY_DPO, "\"dpo\":1");
    char one[65], two[65];
    dw_err err = {{0}};
    dw_arena *a = &s.t.arena;
    tiny_must(dw_remove_tree(dw_path_join(a, s.o.out, "checkpoint-2"), &err), &err);
    tiny_must(dw_remove_tree(dw_path_join(a, s.o.out, "checkpoint-3"), &err), &err);
    s.o.stop_at = 0;
    tiny_must(resume(&s, &err), &err);
    dw_plan *p = tiny_plan(&s.t, TINY_DPO, "\"dpo\":1", ",\"save_every\":1,\"keep\":2");
    dw_run_options o = tiny_options(&s.t, "other", 0);
    tiny_must(dw_run(p, NULL, &o, &err), &err);
    dw_plan_free(p);
    tiny_must(dw_sha256_file(dw_path_join(a, s.o.out, "final/model.safetensors"), one, &err), &err);
    tiny_must(dw_sha256_file(dw_path_join(a, o.out, "final/model.safetensors"), two, &err), &err);
    assert_string_equal(one, two);
    tiny_finish(&s.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_flipped_byte_is_named),
                                       cmocka_unit_test(short_and_missing_files_are_named),
                                       cmocka_unit_test(the_reference_cache_is_checked),
                                       cmocka_unit_test(changed_inputs_are_named),
                                       cmocka_unit_test(folders_are_guarded),
                                       cmocka_unit_test(another_kernel_is_a_warning),
                                       cmocka_unit_test(one_failed_save_is_survived_two_are_not),
                                       cmocka_unit_test(old_checkpoints_go),
                                       cmocka_unit_test(without_a_checkpoint_it_starts_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
