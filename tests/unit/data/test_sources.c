/* Files that can be read, in every form and encoding: the same rows come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/jsonl.h"
#include "data/unpack.h"
#include "datafile.h"

#define IN(literal) (literal), sizeof(literal) - 1

/* Packed ones were made by gzip and zstd. */
static const struct {
    const char *name, *in;
    size_t n;
    const char *want;
    size_t n_want;
} files[] = {
    {"rows.jsonl", IN("{\"text\":\"one\"}\n{\"text\":\"two\"}\n"), IN("one|two|")},
    {"rows.jsonl", IN("{\"text\":\"one\"}\n{\"text\":\"two\"}"), IN("one|two|")},
    {"rows.jsonl", IN("{\"text\":\"one\"}\r\n{\"text\":\"two\"}\r\n"), IN("one|two|")},
    {"rows.jsonl", IN("\n\n{\"text\":\"one\"}\n{\"text\":\"two\"}\n\n \t\n"), IN("one|two|")},
    {"rows.jsonl", IN("\357\273\277{\"text\":\"one\"}\n{\"text\":\"two\"}\n"), IN("one|two|")},
    {"rows.jsonl", IN("\357\273\277\r\n{\"text\":\"one\"}\n{\"text\":\"two\"}\n"), IN("one|two|")},
    {"rows.jsonl", IN("  {\"text\" : \"one\" }  \n\t{\"text\":\"two\"}"), IN("one|two|")},
    {"rows.json", IN("[{\"text\":\"one\"},{\"text\":\"two\"}]"), IN("one|two|")},
    {"rows.json", IN("\357\273\277[{\"text\":\"one\"},\r\n {\"text\":\"two\"}]\r\n"),
     IN("one|two|")},
    {"rows.json", IN("[\n  {\n    \"text\": \"one\"\n  },\n  {\n    \"text\": \"two\"\n  }\n]\n"),
     IN("one|two|")},
    {"rows.csv", IN("text\none\ntwo\n"), IN("one|two|")},
    {"rows.csv", IN("text\r\none\r\ntwo"), IN("one|two|")},
    {"rows.csv", IN("\357\273\277text\none\ntwo\n"), IN("one|two|")},
    {"rows.csv", IN("\"text\"\r\n\"one\"\r\n\"two\"\r\n"), IN("one|two|")},
    {"rows.csv", IN("id,text,n\n1,one,2\n\n2,two,3\n"), IN("one|two|")},
    {"rows.csv", IN(",text\n0,one\n1,two\n"), IN("one|two|")},
    {"rows.tsv", IN("id\ttext\n1\tone\n2\t\"two\"\n"), IN("one|two|")},
    {"rows.CSV", IN("text\none\ntwo\n"), IN("one|two|")},
    {"rows.jsonl.txt", IN("{\"text\":\"one\"}\n{\"text\":\"two\"}\n"), IN("one|two|")},
    {"rows.csv", IN("text,b\none,\"x\ny, \"\"z\"\"\"\ntwo,\n"), IN("one|two|")},
    {"rows.jsonl", IN("{\"text\":\"a\\u0085b\\u2028c\"}"), IN("a\302\205b\342\200\250c|")},
    {"rows.jsonl", IN("{\"text\":\"a\302\205b\342\200\250c\"}\n{\"text\":\"d\"}"),
     IN("a\302\205b\342\200\250c|d|")},
    {"rows.jsonl", IN("{\"text\":\"\\ud83d\\ude00\"}"), IN("\360\237\230\200|")},
    {"rows.jsonl", IN("{\"text\":\"\\u0000\"}\n"), IN("\000|")},
    {"rows.jsonl", IN("{\"text\":\"\303\251\314\201 \342\200\215 \357\273\277 x\"}"),
     IN("\303\251\314\201 \342\200\215 \357\273\277 x|")},
    {"rows.csv", IN("text\n\"\303\251, \"\"\303\274\"\"\"\n\346\227\245\346\234\254\n"),
     IN("\303\251, \"\303\274\"|\346\227\245\346\234\254|")},
    {"rows.csv", IN("text\na\302\205b\342\200\250c\n"), IN("a\302\205b\342\200\250c|")},
    {"rows.csv", IN("text\n\"a\r\nb\n\nc\"\n"), IN("a\r\nb\n\nc|")},
    {"rows.csv", IN("text\n\"tab\there\"\n\001x\n"), IN("tab\there|\001x|")},
    {"rows.tsv", IN("text\nit is, said he\n"), IN("it is, said he|")},
    {"rows.jsonl", IN("{\"text\":\"a\\/b\\b\\f\\n\\r\\t\\\"\\\\\"}"), IN("a/b\010\014\n\r\t\"\\|")},
    {"rows.jsonl", IN("{\"text\":\"\364\217\277\277\355\237\277\356\200\200\"}"),
     IN("\364\217\277\277\355\237\277\356\200\200|")},
    {"rows.jsonl.gz",
     IN("\037\213\010\000\000\000\000\000\002\377\253V*I\255("
        "Q\262R\312\317KU\252\345\252\206qK\312\363\201\\\000\373\016P\313\036\000\000\000"),
     IN("one|two|")},
    {"rows",
     IN("\037\213\010\000\000\000\000\000\002\377\253V*I\255("
        "Q\262R\312\317KU\252\345\252\206qK\312\363\201\\\000\373\016P\313\036\000\000\000"),
     IN("one|two|")},
    {"rows.gz",
     IN("\037\213\010\000\000\000\000\000\002\377\253V*I\255("
        "Q\262R\312\317KU\252\345\002\000\002\232s "
        "\017\000\000\000\037\213\010\000\000\000\000\000\002\377\253V*I\255(Q\262R*)"
        "\317W\252\345\002\000\315}/K\017\000\000\000"),
     IN("one|two|")},
    {"rows.gz",
     IN("\037\213\010\000\000\000\000\000\002\377\253V*I\255("
        "Q\262R\312\317KU\252\345\252\206qK\312\363\201\\\000\373\016P\313\036\000\000\000\000\000"
        "\000\000\000\000\000\000\000"),
     IN("one|two|")},
    {"rows.csv.gz",
     IN("\037\213\010\000\000\000\000\000\002\377{\277{\177IjE\tW~^*WIy>"
        "\027\000gaA\266\020\000\000\000"),
     IN("one|two|")},
    {"rows.json.gz",
     IN("\037\213\010\000\000\000\000\000\002\377\213\256V*I\255("
        "Q\262R\312\317KU\252\325\201sK\312\363\225jc\001\031\200\215\226\037\000\000\000"),
     IN("one|two|")},
    {"rows.jsonl.zst",
     IN("(\265/"
        "\375\004X\335\000\000\250{\"text\":\"one\"}\ntwo\"}\n\001\000R\314:\220\342\337\356"),
     IN("one|two|")},
    {"rows",
     IN("(\265/"
        "\375\004X\335\000\000\250{\"text\":\"one\"}\ntwo\"}\n\001\000R\314:\220\342\337\356"),
     IN("one|two|")},
    {"rows.zst",
     IN("(\265/\375\004Xy\000\000{\"text\":\"one\"}\n\255T\003\365(\265/"
        "\375\004Xy\000\000{\"text\":\"two\"}\n\312\347\"U"),
     IN("one|two|")},
    {"rows.tsv.zst", IN("(\265/\375\004X\231\000\000text\tx\none\t1\ntwo\t2\n>E,\367"),
     IN("one|two|")},
    {"rows.json.zst",
     IN("(\265/\375\004X\345\000\000\260[{\"text\":\"one\"},two\"}]\001\000\244\230K\260x\371\254"),
     IN("one|two|")},
};

/* "text" of every row, with a bar behind. */
static dw_status texts_of(const char *path, dw_buf *out, dw_err *err)
{
    dw_rows *r;
    dw_text row;
    uint32_t line;
    bool more = true;
    dw_buf_clear(out);
    dw_status st = dw_rows_open(path, &r, err);
    while (!st && more) {
        dw_json *v = NULL;
        st = dw_rows_next(r, &row, &line, &more, err);
        if (!st && more)
            st = dw_rows_parse(r, row, &v, err);
        if (st || !more)
            break;
        dw_text t = dw_json_str(dw_json_get(v, "text"));
        dw_buf_add(out, t.ptr, t.len);
        dw_buf_addc(out, '|');
        dw_json_free(v);
    }
    dw_rows_close(r);
    return st;
}

static bool is_absent(const dw_err *err)
{
    return strstr(err->text, "this build has no") != NULL;
}

static void every_form_gives_its_rows(void **state)
{
    (void)state;
    dw_buf got = {0};
    dw_err err = {{0}};
    assert_true(sizeof files / sizeof *files >= 40);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = test_file(files[i].name, files[i].in, files[i].n);
        if (texts_of(path, &got, &err)) {
            if (!is_absent(&err))
                fail_msg("%zu: %s", i, err.text);
            continue;
        }
        assert_int_equal(got.len, files[i].n_want);
        assert_memory_equal(got.ptr, files[i].want, got.len);
    }
    dw_buf_finish(&got);
}

/* A packed file cut anywhere is refused, and one with a changed byte too, or it gives other rows;
 * neither ever ends the program. */
static void damaged_packed_files_are_refused(void **state)
{
    (void)state;
    dw_buf got = {0};
    size_t tried = 0, damaged = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const dw_text all = {files[i].in, files[i].n};
        if (dw_unpack_kind(all) == DW_PACK_NONE || files[i].n > 120)
            continue;
        for (size_t n = 4; n < all.len; n++) {
            dw_err err = {{0}};
            char copy[128];
            memcpy(copy, all.ptr, all.len);
            dw_status cut = texts_of(test_file(files[i].name, copy, n), &got, &err);
            copy[n] = (char)(copy[n] ^ 0x10);
            dw_status flipped = texts_of(test_file(files[i].name, copy, all.len), &got, &err);
            tried++;
            damaged += cut < 0 && flipped < 0;
        }
    }
    assert_true(tried > 400);
    assert_true(damaged * 10 > tried * 7);
    dw_buf_finish(&got);
}

/* Rows longer than any block that is read at once. */
static void long_rows_come_whole(void **state)
{
    (void)state;
    enum { LEN = 64 << 20 };
    dw_buf b = {0}, got = {0};
    dw_err err = {{0}};
    dw_buf_adds(&b, "{\"text\":\"a\"}\n{\"text\":\"");
    const size_t from = b.len;
    for (size_t i = 0; i < LEN; i += 16)
        dw_buf_add(&b, "0123456789abcdef", 16);
    dw_buf_adds(&b, "\"}\n{\"text\":\"b\"}");
    assert_int_equal(texts_of(test_file("long", b.ptr, b.len), &got, &err), 0);
    assert_int_equal(got.len, LEN + 5);
    assert_memory_equal(got.ptr, "a|", 2);
    assert_memory_equal(got.ptr + 2, b.ptr + from, LEN);
    assert_memory_equal(got.ptr + 2 + LEN, "|b|", 3);
    dw_buf_finish(&b);
    dw_buf_finish(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_its_rows),
        cmocka_unit_test(damaged_packed_files_are_refused),
        cmocka_unit_test(long_rows_come_whole),
    };
    (void)test_tokenizer;
    return cmocka_run_group_tests(tests, test_root_make, test_root_remove);
}
