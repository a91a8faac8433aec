/* Encodes a file of texts (each with its length in front, 4 bytes, little endian) and prints how
 * much of the processor's time it took; bench_tokenizers.py runs it beside Hugging Face tokenizers.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "text/tokenizer.h"

static dw_status encode_all(const dw_tokenizer *t, dw_text file, size_t *tokens, dw_err *err)
{
    dw_ids ids = {0};
    dw_status st = DW_OK;
    for (size_t at = 0; at + 4 <= file.len && !st;) {
        uint32_t n;
        memcpy(&n, file.ptr + at, 4);
        at += 4;
        if (n > file.len - at)
            break;
        ids.n = 0;
        st = dw_tokenizer_encode(t, (dw_text){file.ptr + at, n}, 0, &ids, err);
        *tokens += ids.n;
        at += n;
    }
    dw_ids_finish(&ids);
    return st;
}

int main(int argc, char **argv)
{
    dw_err err = {{0}};
    dw_tokenizer *t = NULL;
    dw_buf file = {0};
    size_t tokens = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_tokenizers MODEL TEXTS\n");
        return 2;
    }
    double start = dw_now();
    dw_status st = dw_tokenizer_load(argv[1], &t, &err);
    double loaded = dw_now() - start;
    if (!st)
        st = dw_file_read(argv[2], (size_t)1 << 30, &file, &err);
    clock_t before = clock();
    if (!st)
        st = encode_all(t, dw_buf_text(&file), &tokens, &err);
    double took = (double)(clock() - before) / CLOCKS_PER_SEC;
    if (st)
        fprintf(stderr, "%s\n", err.text);
    else
        printf("{\"seconds\":%.6f,\"tokens\":%zu,\"load\":%.3f,\"bytes\":%zu}\n", took, tokens,
               loaded, file.len);
    dw_buf_finish(&file);
    dw_tokenizer_free(t);
    return -st;
}
