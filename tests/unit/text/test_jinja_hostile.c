/* Templates that want time, memory or secrets: each ends in an error, soon and small. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "text/chat.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLOWER 10
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SLOWER 10
#endif
#endif
#ifndef SLOWER
#define SLOWER 1
#endif

enum { MOST_BYTES = 64 << 20, MOST_MS = 1000 * SLOWER };

/* ---- what is held, byte by byte ---- */

static size_t live, peak;

static void count(void *p, int sign)
{
    live += sign > 0 ? malloc_usable_size(p) : 0 - malloc_usable_size(p);
    peak = live > peak ? live : peak;
}

static void *counted_alloc(size_t n)
{
    void *p = malloc(n);
    if (p)
        count(p, 1);
    return p;
}

static void *counted_resize(void *p, size_t n)
{
    if (p)
        count(p, -1);
    void *q = realloc(p, n);
    if (q)
        count(q, 1);
    return q;
}

static void counted_release(void *p)
{
    if (p)
        count(p, -1);
    free(p);
}

static const dw_alloc_seam counted = {counted_alloc, counted_resize, counted_release};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- the templates ---- */

#define BIG  "{% set b = 'x' * 1000000 %}"
#define LOOP "{% for i in range(100000) %}"
static const struct {
    const char *what, *source, *says; /* says: a part of the message */
} hostile[] = {
    {"a long range", "{{ range(1000000000)|list }}", "Range too big"},
    {"loops in loops", LOOP LOOP LOOP "{% endfor %}{% endfor %}{% endfor %}", "steps"},
    {"a loop that writes", LOOP "{{ 'x' * 10000 }}{% endfor %}", "writes more than 8 MiB"},
    {"one string", "{{ 'x' * 1000000000000 }}", "memory"},
    {"strings of strings", BIG "{{ b * 1000000 }}", "memory"},
    {"one list", "{{ [1] * 1000000000000 }}", "memory"},
    {"lists of lists", "{{ ([1] * 100000) * 100000 }}", "memory"},
    {"a tower of powers", "{{ 9 ** 9 ** 9 ** 9 }}", "64 bits"},
    {"a product", "{{ 9223372036854775807 * 2 }}", "64 bits"},
    {"a string that doubles",
     "{% set ns = namespace(s='x') %}" LOOP "{% set ns.s = ns.s + ns.s %}{% endfor %}", "memory"},
    {"a list that doubles",
     "{% set ns = namespace(l=[1]) %}" LOOP "{% set ns.l = ns.l + ns.l %}{% endfor %}", "memory"},
    {"pairs of pairs, printed",
     "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
     "{% endfor %}{{ ns.l }}",
     "steps"},
    {"pairs of pairs, compared",
     "{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(60) %}"
     "{% set a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}",
     "steps"},
    {"a list in itself",
     "{% set ns = namespace(l=[]) %}{% for i in range(9000) %}{% set ns.l = [ns.l] %}{% endfor %}"
     "{{ ns.l }}",
     "nested deeper"},
    {"a mapping in itself, as JSON",
     "{% set ns = namespace(d={}) %}{% for i in range(9000) %}{% set ns.d = {'a': ns.d} %}"
     "{% endfor %}{{ ns.d|tojson(indent=4) }}",
     "nested deeper"},
    {"a namespace in itself", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
     "nested deeper"},
    {"a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "deeper"},
    {"macros that call each other",
     "{% macro f() %}{{ g() }}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% endmacro "
     "%}"
     "{{ f() }}",
     "deeper"},
    {"a tree of calls",
     "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
     "steps"},
    {"a loop that calls itself", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
     "deeper"},
    {"a wide field", "{{ '%1000000000d' % 1 }}", "a field of more than"},
    {"a wide field in braces", "{{ '{:1000000000}'.format(1) }}", "not supported"},
    {"a wide centre", "{{ 'x'.center(1000000000000) }}", "memory"},
    {"a wide indent", "{{ 'x'|indent(1000000000000, true) }}", "memory"},
    {"replacement by more", "{% set a = 'a' * 100000 %}{{ a|replace('a', a) }}", "memory"},
    {"a long separator", "{% set a = 'a' * 100000 %}{{ range(100000)|join(a) }}", "memory"},
    {"indented JSON", "{% set a = 'a' * 100000 %}{{ ([[1]] * 10000)|tojson(indent=a) }}", "memory"},
    {"sorting over and over",
     "{% set l = range(100000)|list %}" LOOP "{{ l|sort(reverse=true)|first }}{% endfor %}",
     "steps"},
    {"splitting over and over",
     "{% set s = 'a ' * 100000 %}" LOOP "{{ s.split()|length }}{% endfor %}", "memory"},
    {"counting characters over and over",
     "{% set s = '\xc3\xa9' * 100000 %}" LOOP "{{ s[i] }}{% endfor %}", "steps"},
    {"searching over and over", BIG LOOP "{{ 'y' in b }}{% endfor %}", "steps"},
    {"a large mapping",
     "{% set l = range(50000)|map('string')|list %}{% set d = dict(l|map('center', 2)|batch(2)) %}"
     "{% for k in l %}{{ d[k] }}{% endfor %}",
     ""},
    {"all of the class", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"},
    {"a way through a function", "{{ range.__globals__['os'].system('true') }}", "unsafe"},
    {"a way through format", "{{ '{0.__class__.__init__}'.format(messages) }}", "unsafe"},
    {"changing the messages", "{{ messages.append(1) }}", "unsafe"},
    {"changing a message", "{{ messages[0].update({'role': 'system'}) }}", "unsafe"},
    {"another file", "{% include '/etc/passwd' %}", "not supported"},
    {"another module", "{% import 'os' as os %}{{ os.environ }}", "not supported"},
    {"the template's own context", "{{ self.__init__.__globals__ }}", "undefined"},
};

static char *repeated(const char *head, const char *part, size_t n, const char *tail)
{
    dw_buf b = {0};
    dw_buf_adds(&b, head);
    for (size_t i = 0; i < n; i++)
        dw_buf_adds(&b, part);
    dw_buf_adds(&b, tail);
    return b.ptr;
}

static void refused(const char *what, const char *source, const char *says, const dw_json *messages)
{
    dw_err err = {{0}};
    dw_chat *c = NULL;
    dw_chat_out out = {0};
    const dw_chat_request r = {.messages = messages};
    live = peak = 0;
    dw_alloc_use(&counted);
    const double from = cpu_ms();
    dw_status st = dw_chat_parse(dw_text_of(source), "t", NULL, NULL, &c, &err);
    if (!st)
        st = dw_chat_render(c, &r, &out, &err);
    const double took = cpu_ms() - from;
    dw_chat_free(c);
    dw_chat_out_finish(&out);
    dw_alloc_use(NULL);
    if (!st || !strstr(err.text, says))
        fail_msg("%s: wanted \"%s\", found %s", what, says, st ? err.text : "no error");
    if (took > MOST_MS || peak > MOST_BYTES)
        fail_msg("%s: %.0f ms, %zu bytes", what, took, peak);
    assert_int_equal(live, 0);
    if (getenv("DOWEL_SHOW"))
        print_message("%-34s %6.1f ms %9zu bytes  %s\n", what, took, peak, err.text);
}

static dw_json *one_message(void)
{
    static const char text[] = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
    dw_json *v;
    dw_err err = {{0}};
    assert_int_equal(dw_json_parse(text, sizeof text - 1, 8, 1, &v, &err), DW_OK);
    return v;
}

static void written_down(void **state)
{
    dw_json *messages = one_message();
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        refused(hostile[i].what, hostile[i].source, hostile[i].says, messages);
    print_message("%zu hostile templates\n", sizeof hostile / sizeof *hostile);
    dw_json_free(messages);
}

/* What is long itself. */
static void made(void **state)
{
    static const struct {
        const char *what, *head, *part, *tail, *says;
        size_t n;
    } many[] = {
        {"brackets", "{{ ", "(", "1", "nested deeper", 5000},
        {"lists", "{{ ", "[", "1", "nested deeper", 5000},
        {"signs", "{{ ", "-", "1 }}", "nested deeper", 5000},
        {"nots", "{{ ", "not ", "1 }}", "nested deeper", 5000},
        {"elses", "{{ ", "1 if 0 else ", "1 }}", "nested deeper", 5000},
        {"blocks", "", "{% if 1 %}", "", "nested deeper", 5000},
        {"sums", "{{ 1", " + 1", " }}", "links", 5000},
        {"filters", "{{ 1", "|string", " }}", "links", 5000},
        {"attributes", "{{ a", ".b", " }}", "links", 5000},
        {"calls", "{{ a", "()", " }}", "links", 5000},
        {"tokens", "", "{{ a }}", "", "tokens", 140000},
        {"bytes", "", "aaaaaaaaaaaaaaaa", "", "a template of", 70000},
    };
    dw_json *messages = one_message();
    (void)state;
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        char *source = repeated(many[i].head, many[i].part, many[i].n, many[i].tail);
        refused(many[i].what, source, many[i].says, messages);
        dw_free(source);
    }
    dw_json_free(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(written_down), cmocka_unit_test(made)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
