/* Recipes: every broken one gets exactly its message, every good one exactly its plan.
 *
 * The first line of broken/NAME.lua is "-- expect CODE: MESSAGE", where {DIR} stands for the
 * folder; lines "-- set: KEY=VALUE" after it are given as --set. good/NAME.lua has its plan beside
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "script/script.h"

typedef struct recipes {
    dw_arena arena;
    char **name;
    size_t n;
    char dir[4096];
} recipes;

static int enter(void **state, const char *folder)
{
    recipes *r = calloc(1, sizeof *r);
    dw_err err;
    char path[4096];
    snprintf(path, sizeof path, "%s/recipes/%s", getenv("DOWEL_TESTS"), folder);
    if (chdir(path) != 0 || !getcwd(r->dir, sizeof r->dir) ||
        dw_dir_list(&r->arena, ".", &r->name, &r->n, &err) < 0)
        return -1;
    *state = r;
    return 0;
}

static int enter_broken(void **state)
{
    return enter(state, "broken");
}

static int enter_good(void **state)
{
    return enter(state, "good");
}

static int leave(void **state)
{
    recipes *r = *state;
    dw_arena_finish(&r->arena);
    free(r);
    return 0;
}

static bool is_recipe(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".lua");
}

/* Every `dir` in text becomes `as`. */
static char *mask(dw_arena *a, const char *text, const char *dir, const char *as)
{
    dw_buf b = {0};
    dw_buf_adds(&b, "");
    const char *at;
    for (; (at = strstr(text, dir)); text = at + strlen(dir)) {
        dw_buf_add(&b, text, (size_t)(at - text));
        dw_buf_adds(&b, as);
    }
    dw_buf_adds(&b, text);
    char *out = dw_arena_strndup(a, b.ptr, b.len);
    dw_buf_finish(&b);
    return out;
}

static char *read_all(dw_arena *a, const char *path)
{
    dw_buf b = {0};
    dw_err err;
    if (dw_file_read(path, 1 << 20, &b, &err) < 0)
        fail_msg("%s", err.text);
    char *text = dw_arena_strndup(a, b.ptr ? b.ptr : "", b.len);
    dw_buf_finish(&b);
    return text;
}

/* "-- expect 3: ..." and "-- set: ..." at the head of a file; text is cut up. */
static void read_head(char *text, int *code, const char **message, const char **set, size_t *n_set)
{
    *code = 0;
    *message = NULL;
    *n_set = 0;
    for (char *line = strtok(text, "\n"); line && !strncmp(line, "-- ", 3);
         line = strtok(NULL, "\n")) {
        int used = 0;
        if (sscanf(line, "-- expect %d: %n", code, &used) == 1 && used)
            *message = line + used;
        else if (!strncmp(line, "-- set: ", 8))
            set[(*n_set)++] = line + 8;
    }
}

static void test_broken(void **state)
{
    recipes *r = *state;
    int failed = 0, n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (!is_recipe(r->name[i]))
            continue;
        int code;
        const char *want, *set[8];
        dw_script_options o = {.recipe = r->name[i], .set = set};
        read_head(read_all(&r->arena, r->name[i]), &code, &want, set, &o.n_set);
        dw_script *s;
        dw_program *p;
        dw_err err = {{0}};
        dw_status st = dw_script_plan(&o, NULL, &s, &p, &err);
        const char *got = "(it was accepted)";
        if (st < 0)
            got = mask(&r->arena, mask(&r->arena, err.text, r->dir, "{DIR}"),
                       getenv("DOWEL_PLUGIN_PATH"), "{PLUGINS}");
        n++;
        if (!want || strcmp(got, want) != 0 || -(int)st != code) {
            print_message("%s\n  wanted %d: %s\n  got    %d: %s\n", r->name[i], code,
                          want ? want : "?", -(int)st, got);
            failed++;
        }
        dw_program_free(p);
        dw_script_free(s);
    }
    assert_int_equal(failed, 0);
    assert_true(n >= 25);
}

static void test_good(void **state)
{
    recipes *r = *state;
    int n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (!is_recipe(r->name[i]))
            continue;
        int code;
        const char *unused, *set[8];
        dw_script_options o = {.recipe = r->name[i], .set = set};
        read_head(read_all(&r->arena, r->name[i]), &code, &unused, set, &o.n_set);
        dw_script *s;
        dw_program *p;
        dw_err err = {{0}};
        if (dw_script_plan(&o, NULL, &s, &p, &err) < 0)
            fail_msg("%s: %s", r->name[i], err.text);
        dw_buf out = {0};
        dw_program_print(p, &out);
        dw_buf_addc(&out, '\n');
        char *parent = dw_path_dir(&r->arena, r->dir);
        const char *file =
            dw_arena_printf(&r->arena, "%.*s.json", (int)strlen(r->name[i]) - 4, r->name[i]);
        assert_string_equal(mask(&r->arena, out.ptr, parent, "{DIR}"), read_all(&r->arena, file));
        dw_buf_finish(&out);
        dw_program_free(p);
        dw_script_free(s);
        n++;
    }
    assert_true(n >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_broken, enter_broken, leave),
        cmocka_unit_test_setup_teardown(test_good, enter_good, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
