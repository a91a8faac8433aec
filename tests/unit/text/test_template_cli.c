/* `dowel template` as a program: rows in, rows out, exit codes, what a person sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "folder.h"

#define HI "{\"id\":7,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static folder f;

static int setup(void **state)
{
    dw_err err = {{0}};
    (void)state;
    folder_begin(&f);
    folder_puts(&f, "t.jinja",
                "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
                "{% if x %}{{ x }}{% endif %}{% if add_generation_prompt %}>{% endif %}");
    folder_puts(
        &f, "g.jinja",
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}"
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% endif %}{% endfor %}");
    return dw_copy_file(golden(&f, "text/smollm2.json"), folder_file(&f, "tokenizer.json"), &err);
}

static int teardown(void **state)
{
    (void)state;
    folder_end(&f);
    return 0;
}

/* Both outputs, in the order in which they came. */
static int run(const char *input, const char *words, dw_buf *out)
{
    char chunk[4096];
    folder_puts(&f, "in", input);
    FILE *p = popen(dw_arena_printf(&f.arena, "cd %s && %s template %s 2>&1", f.path,
                                    getenv("DOWEL_BIN"), words),
                    "r");
    assert_non_null(p);
    dw_buf_clear(out);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, p)) > 0;)
        dw_buf_add(out, chunk, n);
    const int status = pclose(p);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void rows(void **state)
{
    static const struct {
        const char *words, *in, *out;
        int exit;
    } row[] = {
        {"--template t.jinja in", HI "}\n", HI ",\"text\":\"user:Hi\\n\"}\n", 0},
        {"- in --template t.jinja",
         HI ",\"add_generation_prompt\":true,\"variables\":{\"x\":1.0}}\n",
         HI
         ",\"add_generation_prompt\":true,\"variables\":{\"x\":1.0},\"text\":\"user:Hi\\n1.0>\"}\n",
         0},
        {"--template t.jinja in", "{\"messages\":3}\n",
         "dowel: in:1: \"messages\": wanted an array, found a number\n", 4},
        {"--template t.jinja in", "\n{}\n",
         "dowel: in:2: \"messages\": wanted an array, found nothing\n", 4},
        {"--template t.jinja in --on-bad-row skip", "{\"messages\":[]}\n",
         "{\"messages\":[],\"error\":\"no messages: a template needs at least one\"}\n", 0},
        {"in", HI "}\n", "dowel: a template without a model: give --template FILE\n", 2},
        {". in", HI "}\n",
         "dowel: .: no chat template (chat_template.jinja, or \"chat_template\" in "
         "tokenizer_config.json); --template FILE gives one\n",
         4},
        {"--template t.jinja in --show",
         "{\"messages\":[{\"role\":\"a\",\"content\":\"\\u001b[1m\\tx\"}]}\n",
         "row 1: 9 bytes\na:\xe2\x90\x9b[1m\xe2\x87\xa5x\xe2\x8f\x8e\n\n\n", 0},
    };
    dw_buf out = {0};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_int_equal(run(row[i].in, row[i].words, &out), row[i].exit);
        assert_string_equal(out.ptr, row[i].out);
    }
    dw_buf_finish(&out);
}

static void tokens(void **state)
{
    dw_buf out = {0};
    (void)state;
    static const char in[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
                             "{\"role\":\"assistant\",\"content\":\"b\"}]}\n";
    assert_int_equal(run(in, ". in --template g.jinja", &out), 0);
    assert_non_null(strstr(out.ptr, "\"text\":\"ab<|im_end|>\""));
    const char *mask = strstr(out.ptr, "\"mask\":[");
    assert_non_null(mask);
    assert_non_null(strstr(mask, "1]}\n"));
    assert_int_equal(run(in, ". in --template g.jinja --no-mask", &out), 0);
    assert_null(strstr(out.ptr, "mask"));
    assert_int_equal(run(in, ". in --template g.jinja --show", &out), 0);
    assert_non_null(strstr(out.ptr, "<|im_end|>\xe2\x97\x80"));
    /* Without generation, and with a text that every further message changes. */
    folder_puts(&f, "n.jinja",
                "{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}");
    assert_int_equal(run(in, ". in --template n.jinja", &out), 0);
    assert_non_null(strstr(out.ptr, "\"mask\":null,\"mask_error\":\"which tokens"));
    dw_buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows), cmocka_unit_test(tokens)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
