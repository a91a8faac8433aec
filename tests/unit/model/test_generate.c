/* Generation: the choice of tokens against transformers, independence of the batch, log-probability
 * bits, and every way to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "model/generate_internal.h"
#include "tiny_model.h"

static dw_exec exec;

static int setup(void **state)
{
    dw_err err = {{0}};
    (void)state;
    return dw_exec_init(&exec, 2, NULL, &err);
}

static int teardown(void **state)
{
    (void)state;
    dw_exec_finish(&exec);
    return 0;
}

static void test_kept(void **state)
{
    char path[1024];
    dw_json *root;
    dw_err err = {{0}};
    const char *tests = getenv("DOWEL_TESTS");
    (void)state;
    assert_non_null(tests);
    snprintf(path, sizeof path, "%s/golden/sampling/kept.json", tests);
    if (dw_json_read(path, 1 << 20, &root, &err) < 0)
        fail_msg("%s", err.text);
    size_t n_case = 0;
    for (const dw_json *c = dw_json_first(root); c; c = dw_json_next(c), n_case++) {
        dw_real logits[300];
        dw_candidate cand[300];
        bool want[300] = {false}, have[300] = {false};
        size_t vocab = 0, n_want = 0;
        const dw_json *v;
        for (v = dw_json_first(dw_json_get(c, "logits")); v; v = dw_json_next(v))
            logits[vocab++] = (dw_real)dw_json_num(v);
        for (v = dw_json_first(dw_json_get(c, "kept")); v; v = dw_json_next(v), n_want++)
            want[(size_t)dw_json_num(v)] = true;
        const dw_sampling s = {.temperature = dw_json_num(dw_json_get(c, "temperature")),
                               .top_k = (uint32_t)dw_json_num(dw_json_get(c, "top_k")),
                               .top_p = dw_json_num(dw_json_get(c, "top_p")),
                               .min_p = dw_json_num(dw_json_get(c, "min_p"))};
        const size_t n = dw_sample_keep(&s, logits, vocab, cand);
        for (size_t i = 0; i < n; i++)
            have[cand[i].id] = true;
        if (n != n_want || memcmp(want, have, sizeof want) != 0)
            fail_msg("case %zu: %zu tokens kept, transformers keeps %zu", n_case, n, n_want);
    }
    assert_int_equal(n_case, 40);
    dw_json_free(root);
}

/* 20,000 draws follow the softmax: each of 5 tokens within 4 standard deviations. */
static void test_frequencies(void **state)
{
    const dw_real logits[5] = {1, 0, -1, 2, DW_RC(0.5)};
    const dw_sampling s = {.temperature = 0.9, .top_p = 1};
    dw_candidate cand[5];
    double p[5], sum = 0;
    int count[5] = {0};
    enum { DRAWS = 20000 };
    (void)state;
    for (int i = 0; i < 5; i++)
        sum += p[i] = exp((double)logits[i] / 0.9);
    for (uint64_t i = 0; i < DRAWS; i++)
        count[dw_sample_choose(&s, logits, 5, dw_random_unit(1, DW_RNG_SAMPLE, 0, i), cand)]++;
    for (int i = 0; i < 5; i++) {
        const double q = p[i] / sum;
        assert_true(fabs(count[i] - DRAWS * q) < 4 * sqrt(DRAWS * q * (1 - q)));
    }
    assert_int_equal(dw_sample_choose(&s, logits, 5, 0.999999999999, cand), 4);
    assert_int_equal(dw_sample_choose(&s, logits, 5, 0, cand), 0);
}

enum { ITEMS = 14, LONG = 70 };
static int32_t prompts[3][LONG];
static const size_t prompt_len[3] = {LONG, 64, 3};

static void make_items(dw_gen_item *it, size_t n)
{
    for (size_t p = 0; p < 3; p++)
        tiny_ids(prompts[p], LONG, 53, 30 + p);
    for (size_t i = 0; i < n; i++)
        it[i] =
            (dw_gen_item){.prompt = prompts[i % 3], .n_prompt = prompt_len[i % 3], .key = 1000 + i};
}

static void generate(dw_model *m, const dw_sampling *s, dw_gen_item *it, size_t n)
{
    dw_generator *g;
    dw_err err = {{0}};
    assert_int_equal(dw_generator_create(m, &g, &err), 0);
    if (dw_generate(g, s, it, n, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    dw_generator_destroy(g);
}

static void assert_same(const dw_gen_item *a, const dw_gen_item *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->finish, b->finish);
    assert_memory_equal(a->id, b->id, a->n * sizeof *a->id);
    assert_memory_equal(a->logp, b->logp, a->n * sizeof *a->logp);
}

static void test_batch_does_not_matter(void **state)
{
    const dw_lora_spec lora = {.rank = 4, .alpha = 8, .targets = DW_LORA_ALL};
    (void)state;
    for (int k = 0; k <= TINY_KINDS; k++) {
        const dw_description d = tiny_description(k == TINY_KINDS ? TINY_LLAMA : (tiny_kind)k);
        dw_model *m = tiny_model(&exec, &d, k == TINY_KINDS ? &lora : NULL, false, 5);
        dw_gen_item all[ITEMS], few[ITEMS];
        const int32_t stop[] = {7, 19};
        dw_sampling s = {.temperature = 0.8,
                         .top_k = 30,
                         .top_p = 0.95,
                         .max_new = 80,
                         .stop = stop,
                         .n_stop = 2,
                         .seed = 3};
        make_items(all, ITEMS);
        make_items(few, ITEMS);
        generate(m, &s, all, ITEMS);
        s.max_live = 3;
        generate(m, &s, few, ITEMS);
        bool stopped = false, distinct = false;
        for (size_t i = 0; i < ITEMS; i++) {
            dw_gen_item one = {
                .prompt = all[i].prompt, .n_prompt = all[i].n_prompt, .key = all[i].key};
            generate(m, &s, &one, 1);
            assert_same(&all[i], &few[i]);
            assert_same(&all[i], &one);
            const int32_t last = one.id[one.n - 1];
            assert_int_equal(one.finish == DW_FINISH_STOP, last == 7 || last == 19);
            assert_true(one.finish == DW_FINISH_STOP || one.n == 80);
            stopped |= one.finish == DW_FINISH_STOP;
            distinct |= one.id[0] != all[i % 3].id[0];
            dw_gen_item_finish(&one);
        }
        assert_true(stopped && distinct);
        for (size_t i = 0; i < ITEMS; i++) {
            dw_gen_item_finish(&all[i]);
            dw_gen_item_finish(&few[i]);
        }
        dw_model_free(m);
    }
}

/* log-probabilities of a rollout are those that training computes, to the bit. */
static void test_logp_bits(void **state)
{
    const dw_lora_spec lora = {.rank = 4, .alpha = 8, .targets = DW_LORA_ALL};
    (void)state;
    for (int k = 0; k <= TINY_KINDS; k++) {
        const dw_description d = tiny_description(k == TINY_KINDS ? TINY_LLAMA : (tiny_kind)k);
        dw_model *m = tiny_model(&exec, &d, k == TINY_KINDS ? &lora : NULL, true, 6);
        enum { G = 4, NEW = 75 };
        dw_gen_item it[G];
        const dw_sampling s = {.temperature = 1.3, .top_k = 10, .top_p = 1, .max_new = NEW};
        for (int i = 0; i < 2; i++) {
            tiny_ids(prompts[0], LONG, 53, 30);
            for (size_t j = 0; j < G; j++)
                it[j] = (dw_gen_item){.prompt = prompts[0], .n_prompt = LONG, .key = j};
        }
        generate(m, &s, it, G);
        int32_t id[LONG + G * NEW];
        dw_segment seg[G + 1] = {{0, LONG, -1, 0}};
        dw_head_pair pair[G * NEW];
        double logp[G * NEW], want[G * NEW];
        size_t n = 0;
        memcpy(id, prompts[0], sizeof prompts[0]);
        for (uint32_t j = 0; j < G; j++) {
            assert_int_equal(it[j].n, NEW);
            seg[j + 1] = (dw_segment){LONG + j * NEW, NEW, 0, LONG};
            memcpy(id + seg[j + 1].start, it[j].id, NEW * sizeof *id);
            pair[n] = (dw_head_pair){LONG - 1, it[j].id[0]};
            want[n++] = it[j].logp[0];
        }
        for (uint32_t j = 0; j < G; j++)
            for (uint32_t t = 1; t < NEW; t++) {
                pair[n] = (dw_head_pair){seg[j + 1].start + t - 1, it[j].id[t]};
                want[n++] = it[j].logp[t];
            }
        dw_engine *e;
        dw_err err = {{0}};
        dw_head_out out = {.logp = logp};
        assert_int_equal(dw_engine_create(m, &e, &err), 0);
        const dw_forest f = {id, LONG + G * NEW, seg, G + 1};
        assert_int_equal(dw_engine_forward(e, &f, DW_PASS_SAVE, &err), 0);
        assert_int_equal(
            dw_engine_head(e, pair, n, 1.3, (dw_head_wants){.entropy_grad = false}, &out, &err), 0);
        for (size_t i = 0; i < n; i++)
            if (logp[i] != want[i])
                fail_msg("%s: token %zu: sampled with %.17g, scored %.17g", d.family, i, want[i],
                         logp[i]);
        for (size_t j = 0; j < G; j++)
            dw_gen_item_finish(&it[j]);
        dw_engine_destroy(e);
        dw_model_free(m);
    }
}

static void test_greedy(void **state)
{
    const dw_description d = tiny_description(TINY_LLAMA);
    dw_model *m = tiny_model(&exec, &d, NULL, false, 8);
    enum { NEW = 12 };
    dw_gen_item it = {.prompt = prompts[0], .n_prompt = 5, .key = 0};
    const dw_sampling s = {.greedy = true, .max_new = NEW};
    int32_t id[5 + NEW];
    dw_engine *e;
    dw_err err = {{0}};
    (void)state;
    tiny_ids(prompts[0], LONG, 53, 30);
    generate(m, &s, &it, 1);
    assert_int_equal(it.finish, DW_FINISH_LENGTH);
    memcpy(id, prompts[0], 5 * sizeof *id);
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    for (uint32_t n = 5; n < 5 + NEW; n++) {
        const dw_segment seg = {0, n, -1, 0};
        const dw_forest f = {id, n, &seg, 1};
        double best = -INFINITY, logp[53];
        dw_head_pair pair[53];
        assert_int_equal(dw_engine_forward(e, &f, 0, &err), 0);
        for (int32_t t = 0; t < 53; t++)
            pair[t] = (dw_head_pair){n - 1, t};
        dw_head_out out = {.logp = logp};
        assert_int_equal(
            dw_engine_head(e, pair, 53, 1, (dw_head_wants){.entropy_grad = false}, &out, &err), 0);
        for (int32_t t = 0; t < 53; t++)
            if (logp[t] > best) {
                best = logp[t];
                id[n] = t;
            }
        assert_int_equal(it.id[n - 5], id[n]);
        assert_true(it.logp[n - 5] == best);
    }
    dw_gen_item_finish(&it);
    dw_engine_destroy(e);
    dw_model_free(m);
}

/* The last position of the model ends a sequence, and a prompt that fills it is refused. */
static void test_positions(void **state)
{
    dw_description d = tiny_description(TINY_LLAMA);
    d.max_positions = 20;
    dw_model *m = tiny_model(&exec, &d, NULL, false, 8);
    dw_gen_item it = {.prompt = prompts[0], .n_prompt = 5, .key = 0};
    dw_sampling s = {.temperature = 1, .top_p = 1, .max_new = UINT32_MAX};
    dw_generator *g;
    dw_err err = {{0}};
    (void)state;
    tiny_ids(prompts[0], LONG, 53, 30);
    generate(m, &s, &it, 1);
    assert_int_equal(it.n, 15);
    assert_int_equal(it.finish, DW_FINISH_LENGTH);
    dw_gen_item_finish(&it);
    assert_int_equal(dw_generator_create(m, &g, &err), 0);
    it.n_prompt = 20;
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_string_equal(err.text, "prompt 1 has 20 tokens, and the model has positions for 20: no "
                                  "room for an answer");
    it.n_prompt = 0;
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_string_equal(err.text, "prompt 1 has no tokens");
    it.n_prompt = 5;
    prompts[0][2] = 53;
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_string_equal(err.text, "prompt 1: token id 53 is outside of the vocabulary of 53");
    s.temperature = 0;
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_string_equal(err.text, "temperature is 0, wanted a number above 0");
    dw_generator_destroy(g);
    dw_model_free(m);
}

/* A tokenizer of 53 letters: what a stop string ends, and that it may span tokens. */
static void give_letters(dw_model *m)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!";
    dw_buf json = {0};
    dw_err err = {{0}};
    dw_buf_adds(&json, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
                       "\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                       "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
                       "\"use_regex\":true},\"post_processor\":null,\"decoder\":{\"type\":"
                       "\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
                       "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                       "\"unk_token\":null,\"continuing_subword_prefix\":null,"
                       "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
                       "\"vocab\":{");
    for (int i = 0; i < 53; i++)
        dw_buf_printf(&json, "%s\"%c\":%d", i ? "," : "", letters[i], i);
    dw_buf_adds(&json, "},\"merges\":[]}}");
    if (dw_tokenizer_parse(dw_buf_text(&json), (dw_text){"", 0}, "letters", &m->tokenizer, &err) <
        0)
        fail_msg("%s", err.text);
    dw_buf_finish(&json);
}

static void test_stop_strings(void **state)
{
    const dw_description d = tiny_description(TINY_LLAMA);
    dw_model *m = tiny_model(&exec, &d, NULL, false, 8);
    dw_sampling s = {.temperature = 1, .top_p = 1, .max_new = 40, .seed = 2};
    dw_gen_item it = {.prompt = prompts[0], .n_prompt = 5};
    dw_buf text = {0};
    dw_err err = {{0}};
    (void)state;
    give_letters(m);
    tiny_ids(prompts[0], LONG, 53, 30);
    generate(m, &s, &it, 1);
    assert_int_equal(it.n, 40);
    assert_int_equal(dw_tokenizer_decode(m->tokenizer, it.id, it.n, true, &text, &err), 0);
    assert_int_equal(text.len, 40);
    dw_gen_item_finish(&it);
    char end[6] = {0};
    memcpy(end, text.ptr + 20, 5);
    const size_t first = (size_t)(strstr(text.ptr, end) - text.ptr);
    const char *const stop[] = {"not there at all", end};
    s.stop_string = stop;
    s.n_stop_string = 2;
    generate(m, &s, &it, 1);
    assert_int_equal(it.finish, DW_FINISH_STRING);
    assert_int_equal(it.n, first + 5);
    dw_buf_clear(&text);
    assert_int_equal(dw_tokenizer_decode(m->tokenizer, it.id, it.n, true, &text, &err), 0);
    assert_string_equal(text.ptr + text.len - 5, end);
    dw_gen_item_finish(&it);
    dw_tokenizer_free(m->tokenizer);
    m->tokenizer = NULL;
    dw_generator *g;
    assert_int_equal(dw_generator_create(m, &g, &err), 0);
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_string_equal(err.text, "stop strings need a tokenizer, and the model has none");
    dw_generator_destroy(g);
    dw_buf_finish(&text);
    dw_model_free(m);
}

static bool stop_after_three(void *ctx, const dw_gen_item *it, size_t item)
{
    int *calls = ctx;
    (void)it;
    (void)item;
    return ++*calls < 3;
}

static void test_cancel(void **state)
{
    const dw_description d = tiny_description(TINY_LLAMA);
    dw_model *m = tiny_model(&exec, &d, NULL, false, 8);
    dw_gen_item it[2];
    const dw_sampling s = {.temperature = 1, .top_p = 1, .max_new = 50};
    dw_generator *g;
    dw_err err = {{0}};
    int calls = 0;
    (void)state;
    make_items(it, 2);
    assert_int_equal(dw_generator_create(m, &g, &err), 0);
    assert_int_equal(dw_generate(g, &s, it, 2, stop_after_three, &calls, &err), DW_E_SIGINT);
    assert_int_equal(calls, 3);
    assert_int_equal(it[0].n, 2);
    dw_gen_item_finish(&it[0]);
    dw_gen_item_finish(&it[1]);
    dw_generator_destroy(g);
    dw_model_free(m);
}

/* ---- two models ---- */

/* Log-probabilities of the whole vocabulary after n ids. */
static void spread_after(dw_engine *e, const int32_t *id, uint32_t n, unsigned flags, double *logp)
{
    const dw_segment seg = {0, n, -1, 0};
    const dw_forest f = {id, n, &seg, 1};
    dw_head_pair pair[53];
    dw_head_out out = {.logp = logp};
    dw_err err = {{0}};
    for (int32_t t = 0; t < 53; t++)
        pair[t] = (dw_head_pair){n - 1, t};
    assert_int_equal(dw_engine_forward(e, &f, flags, &err), 0);
    assert_int_equal(
        dw_engine_head(e, pair, 53, 1, (dw_head_wants){.entropy_grad = false}, &out, &err), 0);
}

static void generate_with(dw_model *m, dw_model *other, bool no_adapter, dw_sampling s, double c,
                          dw_gen_item *it, size_t n)
{
    dw_generator *with;
    dw_err err = {{0}};
    assert_int_equal(dw_generator_create(other, &with, &err), 0);
    s.with = with;
    s.with_no_adapter = no_adapter;
    s.mixture = c;
    make_items(it, n);
    generate(m, &s, it, n);
    dw_generator_destroy(with);
}

static void finish_items(dw_gen_item *it, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dw_gen_item_finish(&it[i]);
}

/* The reported numbers are the log-softmax of ((1 - c) z + c z') / T, computed from both models. */
static void check_mixture(dw_model *m, dw_model *other, bool no_adapter, double c, double T,
                          const dw_gen_item *it)
{
    dw_engine *e, *o;
    dw_err err = {{0}};
    int32_t id[LONG + 80];
    double a[53], b[53];
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    assert_int_equal(dw_engine_create(other, &o, &err), 0);
    memcpy(id, it->prompt, it->n_prompt * sizeof *id);
    memcpy(id + it->n_prompt, it->id, it->n * sizeof *id);
    for (uint32_t t = 0; t < it->n; t++) {
        double sum = 0;
        spread_after(e, id, (uint32_t)it->n_prompt + t, 0, a);
        spread_after(o, id, (uint32_t)it->n_prompt + t, no_adapter ? DW_PASS_NO_ADAPTER : 0, b);
        for (int k = 0; k < 53; k++)
            sum += exp(a[k] = ((1 - c) * a[k] + c * b[k]) / T);
        if (fabs(it->logp[t] - (a[it->id[t]] - log(sum))) > 1e-4)
            fail_msg("token %u: %.9g, by hand %.9g", t, it->logp[t], a[it->id[t]] - log(sum));
    }
    dw_engine_destroy(e);
    dw_engine_destroy(o);
}

static void test_mixture(void **state)
{
    const dw_lora_spec lora = {.rank = 4, .alpha = 8, .targets = DW_LORA_ALL};
    const dw_description d = tiny_description(TINY_LLAMA);
    (void)state;
    for (int adapter = 0; adapter < 2; adapter++) {
        dw_model *m = tiny_model(&exec, &d, adapter ? &lora : NULL, false, 5);
        dw_model *other = adapter ? m : tiny_model(&exec, &d, NULL, false, 6);
        dw_sampling s = {
            .temperature = 1.3, .top_k = 30, .top_p = 1, .max_new = 80, .seed = 3, .max_live = 5};
        dw_gen_item own[ITEMS], its[ITEMS], zero[ITEMS], one[ITEMS], half[ITEMS];
        make_items(own, ITEMS);
        make_items(its, ITEMS);
        generate(m, &s, own, ITEMS);
        s.no_adapter = adapter;
        generate(other, &s, its, ITEMS);
        s.no_adapter = false;
        generate_with(m, other, adapter, s, 0, zero, ITEMS);
        generate_with(m, other, adapter, s, 1, one, ITEMS);
        generate_with(m, other, adapter, s, 0.4, half, ITEMS);
        bool differ = false;
        for (size_t i = 0; i < ITEMS; i++) {
            assert_same(&own[i], &zero[i]);
            assert_same(&its[i], &one[i]);
            differ |= own[i].id[5] != its[i].id[5] && half[i].id[5] != own[i].id[5];
        }
        assert_true(differ);
        for (size_t i = 0; i < 3; i++)
            check_mixture(m, other, adapter, 0.4, 1.3, &half[i]);
        finish_items(own, ITEMS);
        finish_items(its, ITEMS);
        finish_items(zero, ITEMS);
        finish_items(one, ITEMS);
        finish_items(half, ITEMS);
        if (!adapter)
            dw_model_free(other);
        dw_model_free(m);
    }
}

static void test_mixture_is_checked(void **state)
{
    dw_description d = tiny_description(TINY_LLAMA), wide = d;
    wide.vocab = 54;
    dw_model *m = tiny_model(&exec, &d, NULL, false, 5),
             *o = tiny_model(&exec, &wide, NULL, false, 5);
    dw_generator *g, *with;
    dw_gen_item it;
    dw_sampling s = {.temperature = 1, .top_p = 1, .max_new = 2, .mixture = 0.5};
    dw_err err = {{0}};
    (void)state;
    make_items(&it, 1);
    assert_int_equal(dw_generator_create(m, &g, &err), 0);
    assert_int_equal(dw_generator_create(o, &with, &err), 0);
    s.with = with;
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "vocabularies of 53 and 54"));
    dw_generator_destroy(with);
    assert_int_equal(dw_generator_create(m, &with, &err), 0);
    s.with = with;
    s.mixture = 1.5;
    assert_int_equal(dw_generate(g, &s, &it, 1, NULL, NULL, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "mixture is 1.5"));
    dw_generator_destroy(with);
    dw_generator_destroy(g);
    dw_model_free(m);
    dw_model_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_batch_does_not_matter),
        cmocka_unit_test(test_logp_bits),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_mixture),
        cmocka_unit_test(test_mixture_is_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
