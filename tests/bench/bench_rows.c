/* Measures rows from disk: bare cJSON, our rows with their columns, and with their ids.
 *   bench_rows TOKENIZER_FOLDER [FILE.jsonl [ROUNDS [WAYS]]]
 * Rows are pairs (prompt, chosen, rejected); without a file one is made: 64 MB of rows of about
 * 1.5 KB. The rounds take turns; printed is the fastest of each,
 * in seconds of the processor.
 * WAYS 2 leaves the ids out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/file.h"
#include "base/rng.h"
#include "data/jsonl.h"
#include "data/row.h"
#include "model/model.h"

enum { MADE_BYTES = 64 << 20, ROUNDS = 5 };

static _Noreturn void die(const dw_err *err)
{
    fprintf(stderr, "bench_rows: %s\n", err->text);
    exit(1);
}

/* Of this process, so that others on the machine do not count. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- a file ---- */

static uint64_t drawn;

static size_t below(size_t n)
{
    return (size_t)dw_random_below(1, DW_RNG_SHUFFLE, 0, drawn++, n);
}

static void put_words(dw_buf *b, size_t n)
{
    static const char *const word[] = {"the",  "answer", "is",  "caf\xc3\xa9", "\\n\\n", "however",
                                       "\\\"", "I",      "you", "understand",  "1999",   "maybe"};
    for (size_t i = 0; i < n; i++)
        dw_buf_printf(b, "%s%s", i ? " " : "",
                      word[below(below(16) ? 4 : sizeof word / sizeof *word)]);
}

static void make(const char *path)
{
    dw_buf b = {0};
    dw_err err = {{0}};
    while (b.len < MADE_BYTES) {
        dw_buf_adds(&b, "{\"prompt\": \"Human: ");
        put_words(&b, 20 + below(200));
        dw_buf_adds(&b, "\\n\\nAssistant:\", \"chosen\": \"");
        put_words(&b, 20 + below(150));
        dw_buf_adds(&b, "\", \"rejected\": \"");
        put_words(&b, 20 + below(150));
        dw_buf_printf(&b, "\", \"id\": %zu, \"score\": 0.%zu}\n", below(1000000), below(1000));
    }
    if (dw_file_write(path, b.ptr, b.len, &err))
        die(&err);
    dw_buf_finish(&b);
}

/* ---- three ways through it ---- */

static size_t bare(const char *path, size_t *bytes)
{
    dw_mapping m;
    dw_err err = {{0}};
    size_t rows = 0;
    if (dw_map_open(path, &m, &err))
        die(&err);
    *bytes = m.len;
    const char *p = (const char *)m.ptr, *end = p + m.len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);
        cJSON *v = cJSON_ParseWithLength(p, n);
        rows += v != NULL;
        cJSON_Delete(v);
        p += n + 1;
    }
    dw_map_close(&m);
    return rows;
}

static size_t ours(const char *path, dw_row_reader *reader, bool ids)
{
    dw_rows *r;
    dw_err err = {{0}};
    dw_text raw;
    uint32_t line;
    bool more = true;
    size_t rows = 0;
    if (dw_rows_open(path, &r, &err))
        die(&err);
    for (;;) {
        dw_json *json;
        dw_draft w;
        size_t at;
        if (dw_rows_next(r, &raw, &line, &more, &err) ||
            (more && dw_rows_parse(r, raw, &json, &err)))
            die(&err);
        if (!more)
            break;
        dw_column_row row = {.raw = raw, .json = json};
        dw_arena_reset(&reader->scratch);
        if (dw_row_read(reader, &row, &w, &at, &err) || (ids && dw_row_encode(reader, &w, &err)))
            die(&err);
        dw_json_free(json);
        rows++;
    }
    dw_rows_close(r);
    return rows;
}

int main(int argc, char **argv)
{
    dw_err err = {{0}};
    dw_tokenizer *t;
    double best[3] = {1e9, 1e9, 1e9};
    size_t n[3] = {0}, bytes = 0;
    char made[64];
    if (argc < 2) {
        fprintf(stderr, "usage: bench_rows TOKENIZER_FOLDER [FILE.jsonl [ROUNDS [WAYS]]]\n");
        return 2;
    }
    snprintf(made, sizeof made, "/tmp/bench_rows.%d.jsonl", (int)getpid());
    const char *path = argc > 2 ? argv[2] : made;
    if (argc < 3)
        make(made);
    if (dw_model_words(argv[1], &t, &err))
        die(&err);
    dw_data_spec s = {.type = DW_PAIRS, .add_eos = true, .add_bos = true};
    dw_row_reader reader = {.s = &s, .t = t, .limit = SIZE_MAX};
    if (dw_row_reader_open(&reader, &err))
        die(&err);
    const int ways = argc > 4 ? atoi(argv[4]) : 3;
    for (int round = 0; round < (argc > 3 ? atoi(argv[3]) : ROUNDS); round++)
        for (int way = 0; way < ways; way++) {
            double start = cpu_seconds();
            n[way] = way ? ours(path, &reader, way == 2) : bare(path, &bytes);
            double took = cpu_seconds() - start;
            best[way] = took < best[way] ? took : best[way];
        }
    const char *const name[] = {"bare cJSON", "rows and columns", "with their ids"};
    for (int way = 0; way < ways; way++)
        printf("%-17s %8zu rows %8.1f MB/s  %.3f of cJSON\n", name[way], n[way],
               (double)bytes / 1e6 / best[way], best[0] / best[way]);
    dw_row_reader_close(&reader);
    dw_tokenizer_free(t);
    if (argc < 3)
        remove(made);
    return 0;
}
