/* Without libFuzzer: gives a target each file whole, then the same mutations of it on every run. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { MAX_BYTES = 1 << 20, ROOM = 64, TOTAL_BYTES = 24 << 20, MOST = 1500 };

static uint64_t state = 20240607;

static size_t below(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (size_t)(state >> 33) % n : 0;
}

/* One change: a byte, a bit, a cut, a copy of a piece, a word that readers trip over. */
static size_t change(uint8_t *p, size_t n)
{
    static const char *const words[] = {"null", "-1",   "0",   "1e300",   "4294967296", "[]", "{}",
                                        "\"\"", "true", "1.5", "\\u0000", "\xff",       "]",  "}"};
    const size_t at = below(n), kind = below(6);
    size_t len = 1 + below(16);
    if (len > n - at)
        len = n - at;
    switch (kind) {
    case 0:
        p[at] = (uint8_t)below(256);
        return n;
    case 1:
        p[at] ^= (uint8_t)(1u << below(8));
        return n;
    case 2:
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    case 3:
        return below(8) ? n : at;
    case 4:
        memmove(p + at + len, p + at, n - at);
        return n + len;
    default: {
        const char *w = words[below(sizeof words / sizeof *words)];
        const size_t m = strlen(w);
        memmove(p + at + m, p + at, n - at);
        memcpy(p + at, w, m);
        return n + m;
    }
    }
}

static bool replay(const char *path)
{
    static uint8_t whole[MAX_BYTES], bytes[MAX_BYTES + ROOM];
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    const size_t n = fread(whole, 1, sizeof whole, f);
    fclose(f);
    LLVMFuzzerTestOneInput(whole, n);
    LLVMFuzzerTestOneInput(whole, 0);
    for (size_t i = 0; i < MOST && i * n < TOTAL_BYTES && n; i++) {
        size_t m = n;
        memcpy(bytes, whole, n);
        for (size_t k = 1 + below(3); k && m; k--)
            m = change(bytes, m);
        /* A block of exactly this size, so that a read behind it is seen. */
        uint8_t *exact = malloc(m ? m : 1);
        if (!exact)
            return false;
        memcpy(exact, bytes, m);
        LLVMFuzzerTestOneInput(exact, m);
        free(exact);
    }
    return true;
}

int main(int argc, char **argv)
{
    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++)
        printf("%s %d - %s\n", replay(argv[i]) ? "ok" : "not ok", i, strrchr(argv[i], '/') + 1);
    return 0;
}
