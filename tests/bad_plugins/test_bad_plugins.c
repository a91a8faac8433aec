/* Every broken plugin is refused, at loading or at its first use, with exactly the message that
 * stands beside it; and the process is as it was. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/file.h"
#include "plug/internal.h"

static const char *sources, *built;
static char scratch[] = "/tmp/dowel-bad-XXXXXX";

/* ---- files that no compiler makes ---- */

static void write_file(const char *path, const void *bytes, size_t n, mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* A copy of a good plugin's bytes with one of the header's 16-bit fields changed, or cut. */
static void write_copy(const char *path, size_t at, uint16_t value, size_t keep, mode_t mode)
{
    dw_err err;
    dw_buf b = {0};
    dw_arena a = {0};
    char *from = dw_arena_printf(&a, "%s/score_outside.so", built);
    assert_int_equal(dw_file_read(from, 1 << 24, &b, &err), 0);
    if (at)
        memcpy(b.ptr + at, &value, sizeof value);
    write_file(path, b.ptr, keep && keep < b.len ? keep : b.len, mode);
    dw_buf_finish(&b);
    dw_arena_finish(&a);
}

static bool make_file(const char *name, const char *path)
{
    if (!strcmp(name, "not_elf"))
        write_file(path, "just a text\n", 12, 0600);
    else if (!strcmp(name, "empty_file"))
        write_file(path, "", 0, 0600);
    else if (!strcmp(name, "truncated"))
        write_copy(path, 0, 0, 20, 0600);
    else if (!strcmp(name, "half_file"))
        write_copy(path, 0, 0, 3000, 0600);
    else if (!strcmp(name, "other_machine"))
        write_copy(path, 18, 243, 0, 0600);
    else if (!strcmp(name, "object_file"))
        write_copy(path, 16, 1, 0, 0600);
    else if (!strcmp(name, "world_writable"))
        write_copy(path, 0, 0, 0, 0666);
    else if (!strcmp(name, "a_folder"))
        assert_int_equal(mkdir(path, 0700), 0);
    else
        return !strcmp(name, "missing_file");
    return true;
}

/* ---- using what loads ---- */

static const uint32_t start[] = {0, 3, 5};
static const uint8_t mask[] = {1, 0, 1, 1, 1}, role[2];
static const int32_t mate[] = {-1, -1}, group[] = {0, 0};

static dw_status use_objective(dw_instance *i, dw_err *err)
{
    const double logp[5] = {-1, -1, -1, -1, -1}, weight[2] = {1, 1};
    double grad[5] = {0}, loss = 0;
    dowel_column col[49] = {
        [DOWEL_LOGP] = {logp, grad, 5, 1}, [DOWEL_WEIGHT] = {weight, NULL, 2, 1}};
    dowel_batch b = {.size = sizeof b,
                     .n_seq = 2,
                     .n_tok = 5,
                     .n_col = 49,
                     .step_seqs = 2,
                     .step_toks = 4,
                     .start = start,
                     .mask = mask,
                     .mate = mate,
                     .group = group,
                     .role = role,
                     .col = col,
                     .host = dw_instance_host(i)};
    dowel_request ask;
    DW_TRY(dw_call_observe(i, false, &ask, err));
    dw_status s = dw_call_loss(i, &b, &loss, err);
    for (int k = 0; s < 0 && k < 5; k++)
        assert_true(grad[k] == 0 && loss == 0); /* a refused call leaves nothing behind */
    return s;
}

static dw_status use_estimator(dw_instance *i, dw_err *err)
{
    double advantage[5] = {0}, weight[2] = {1, 1}, label[2] = {0};
    int32_t mates[2] = {-1, -1};
    uint8_t keep[2] = {1, 1};
    dowel_column col[49] = {{0}};
    dowel_batch b = {.size = sizeof b,
                     .n_seq = 2,
                     .n_tok = 5,
                     .n_col = 49,
                     .start = start,
                     .mask = mask,
                     .role = role,
                     .group = group,
                     .col = col,
                     .host = dw_instance_host(i)};
    dowel_credit c = {.size = sizeof c,
                      .advantage = advantage,
                      .weight = weight,
                      .label = label,
                      .mate = mates,
                      .keep = keep};
    dw_status s = dw_call_estimate(i, &b, &c, err);
    if (s < 0)
        assert_true(mates[0] == -1 && label[1] == 0 && keep[0] == 1);
    return s;
}

static dw_status use_reward(dw_instance *i, dw_err *err)
{
    const dowel_text t = {"text", 4}, meta = {"{}", 2};
    dowel_sample one = {
        .size = sizeof one, .id = 100, .prompt = t, .completion = t, .meta = meta, .n_tok = 1};
    dowel_sample two = one;
    two.id = 101;
    const dowel_sample *in[] = {&one, &two};
    dw_score_result r;
    DW_TRY(dw_call_score(i, in, 2, &r, err));
    dw_score_result_finish(&r);
    return DW_OK;
}

static dw_status use(const dw_plugin_info *p, dw_err *err)
{
    dw_instance *i = NULL;
    dw_instance_spec spec = {.info = p, .name = "test"};
    DW_TRY(dw_instance_create(&spec, &i, err));
    dw_status s = DW_OK;
    dw_buf state = {0};
    if (p->plugin.objective)
        s = use_objective(i, err);
    if (s == DW_OK && p->plugin.estimator)
        s = use_estimator(i, err);
    if (s == DW_OK && p->plugin.reward)
        s = use_reward(i, err);
    if (s == DW_OK)
        s = dw_instance_save(i, &state, err);
    if (s == DW_OK)
        s = dw_instance_load(i, state.ptr, state.len, 0, err);
    dw_buf_finish(&state);
    dw_instance_destroy(i);
    return s;
}

/* ---- comparing ---- */

static void expected(const char *name, const char *path, dw_buf *out)
{
    dw_err err;
    dw_buf raw = {0};
    dw_arena a = {0};
    assert_int_equal(
        dw_file_read(dw_arena_printf(&a, "%s/%s.txt", sources, name), 1 << 16, &raw, &err), 0);
    for (const char *s = raw.ptr; *s && *s != '\n'; s++) {
        if (!strncmp(s, "FILE", 4)) {
            dw_buf_adds(out, path);
            s += 3;
        } else {
            dw_buf_addc(out, *s);
        }
    }
    dw_buf_finish(&raw);
    dw_arena_finish(&a);
}

static bool check(const char *name)
{
    dw_arena a = {0};
    dw_err err = {{0}};
    dw_registry *reg = NULL;
    char *path = dw_arena_printf(&a, "%s/%s.so", scratch, name);
    if (!make_file(name, path))
        path = dw_arena_printf(&a, "%s/%s.so", built, name);
    dw_buf want = {0};
    expected(name, path, &want);
    dw_fpmode before = dw_fpmode_get();
    assert_int_equal(dw_registry_create(NULL, 0, &reg, &err), 0);
    bool same = true;
    for (int again = 0; again < 2; again++) { /* the second time from memory */
        err.text[0] = 0;
        dw_status s = dw_registry_load_file(reg, path, &err);
        if (s == DW_OK)
            s = use(dw_registry_at(reg, 0), &err);
        if (s == DW_OK || strcmp(err.text, want.ptr) != 0) {
            fprintf(stderr, "%s:\n   got %s\nwanted %s\n", name, s == DW_OK ? "success" : err.text,
                    want.ptr);
            same = false;
        }
        if (dw_fpmode_restore(&before)) {
            fprintf(stderr, "%s: the floating-point mode stayed changed\n", name);
            same = false;
        }
    }
    dw_registry_destroy(reg);
    dw_buf_finish(&want);
    dw_arena_finish(&a);
    return same;
}

static void test_all(void **state)
{
    dw_arena a = {0};
    dw_err err;
    char **name;
    size_t n, cases = 0, wrong = 0;
    (void)state;
    assert_int_equal(dw_dir_list(&a, sources, &name, &n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(name[i]);
        if (len < 5 || strcmp(name[i] + len - 4, ".txt") != 0)
            continue;
        name[i][len - 4] = 0;
        cases++;
        wrong += !check(name[i]);
    }
    dw_arena_finish(&a);
    printf("# %zu broken plugins\n", cases);
    assert_true(cases >= 60);
    assert_int_equal(wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    dw_err err;
    if (argc != 3 || !mkdtemp(scratch))
        return 2;
    sources = argv[1];
    built = argv[2];
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    dw_remove_tree(scratch, &err);
    return rc;
}
