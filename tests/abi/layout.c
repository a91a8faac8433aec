/* The layout of plugin.h 1.0 on 64-bit machines, frozen: a number here changes only together with
 * DOWEL_ABI_MINOR, and then only by growing (include/dowel/COMPATIBILITY.md). */
#include <dowel/plugin.h>
#include <stdio.h>

#define SIZE(s, n)  _Static_assert(sizeof(s) == (n), "size of " #s " changed")
#define AT(s, f, n) _Static_assert(offsetof(s, f) == (n), #s "." #f " moved")
#define IS(name, n) _Static_assert((name) == (n), #name " changed")

IS(DOWEL_MAGIC, 0x4c574f44u);
IS(DOWEL_ABI_MAJOR, 1);
IS(DOWEL_ABI_MINOR, 0);

SIZE(dowel_err, 504);
AT(dowel_err, size, 0);
AT(dowel_err, sample, 4);
AT(dowel_err, text, 8);

SIZE(dowel_text, 16);
AT(dowel_text, ptr, 0);
AT(dowel_text, len, 8);

SIZE(dowel_host, 72);
AT(dowel_host, size, 0);
AT(dowel_host, abi_major, 4);
AT(dowel_host, abi_minor, 6);
AT(dowel_host, ctx, 8);
AT(dowel_host, log, 16);
AT(dowel_host, metric, 24);
AT(dowel_host, scratch, 32);
AT(dowel_host, random, 40);
AT(dowel_host, cancelled, 48);
AT(dowel_host, field, 56);
AT(dowel_host, extension, 64);

SIZE(dowel_param, 64);
AT(dowel_param, name, 0);
AT(dowel_param, doc, 8);
AT(dowel_param, fallback, 16);
AT(dowel_param, choices, 24);
AT(dowel_param, min, 32);
AT(dowel_param, max, 40);
AT(dowel_param, type, 48);
AT(dowel_param, flags, 52);
AT(dowel_param, offset, 56);
AT(dowel_param, reserved, 60);

SIZE(dowel_sink, 16);
AT(dowel_sink, size, 0);
AT(dowel_sink, reserved, 4);
AT(dowel_sink, write, 8);

SIZE(dowel_source, 24);
AT(dowel_source, size, 0);
AT(dowel_source, reserved, 4);
AT(dowel_source, left, 8);
AT(dowel_source, read, 16);

SIZE(dowel_column, 24);
AT(dowel_column, x, 0);
AT(dowel_column, grad, 8);
AT(dowel_column, rows, 16);
AT(dowel_column, width, 20);

SIZE(dowel_batch, 176);
AT(dowel_batch, size, 0);
AT(dowel_batch, n_seq, 4);
AT(dowel_batch, n_tok, 8);
AT(dowel_batch, n_col, 12);
AT(dowel_batch, step, 16);
AT(dowel_batch, step_seqs, 24);
AT(dowel_batch, step_toks, 32);
AT(dowel_batch, max_tok, 40);
AT(dowel_batch, temperature, 48);
AT(dowel_batch, start, 56);
AT(dowel_batch, mask, 64);
AT(dowel_batch, mark, 72);
AT(dowel_batch, mark_start, 80);
AT(dowel_batch, mate, 88);
AT(dowel_batch, group, 96);
AT(dowel_batch, stop, 104);
AT(dowel_batch, role, 112);
AT(dowel_batch, id, 120);
AT(dowel_batch, part, 128);
AT(dowel_batch, part_weight, 136);
AT(dowel_batch, total, 144);
AT(dowel_batch, tally, 152);
AT(dowel_batch, col, 160);
AT(dowel_batch, host, 168);

SIZE(dowel_request, 104);
AT(dowel_request, size, 0);
AT(dowel_request, together, 4);
AT(dowel_request, extras, 8);
AT(dowel_request, value_width, 12);
AT(dowel_request, score_width, 16);
AT(dowel_request, divergence, 20);
AT(dowel_request, against, 24);
AT(dowel_request, reserved, 28);
AT(dowel_request, columns, 32);
AT(dowel_request, detached, 40);
AT(dowel_request, beta, 48);
AT(dowel_request, temperature, 56);
AT(dowel_request, mixture, 64);
AT(dowel_request, choices, 72);
AT(dowel_request, fields, 80);
AT(dowel_request, top_k, 88);
AT(dowel_request, tail, 92);
AT(dowel_request, extra_samples, 96);
AT(dowel_request, some_taught, 100);

SIZE(dowel_objective, 56);
AT(dowel_objective, size, 0);
AT(dowel_objective, feeds_on, 4);
AT(dowel_objective, n_total, 8);
AT(dowel_objective, n_tally, 12);
AT(dowel_objective, shown, 16);
AT(dowel_objective, observe, 24);
AT(dowel_objective, survey, 32);
AT(dowel_objective, loss, 40);
AT(dowel_objective, step_end, 48);

SIZE(dowel_credit, 56);
AT(dowel_credit, size, 0);
AT(dowel_credit, ret_width, 4);
AT(dowel_credit, advantage, 8);
AT(dowel_credit, ret, 16);
AT(dowel_credit, weight, 24);
AT(dowel_credit, label, 32);
AT(dowel_credit, mate, 40);
AT(dowel_credit, keep, 48);

SIZE(dowel_estimator, 24);
AT(dowel_estimator, size, 0);
AT(dowel_estimator, reserved, 4);
AT(dowel_estimator, observe, 8);
AT(dowel_estimator, estimate, 16);

SIZE(dowel_sample, 80);
AT(dowel_sample, size, 0);
AT(dowel_sample, group, 4);
AT(dowel_sample, id, 8);
AT(dowel_sample, prompt, 16);
AT(dowel_sample, completion, 32);
AT(dowel_sample, meta, 48);
AT(dowel_sample, n_tok, 64);
AT(dowel_sample, stop, 68);
AT(dowel_sample, tok_end, 72);

SIZE(dowel_scores, 40);
AT(dowel_scores, size, 0);
AT(dowel_scores, n, 4);
AT(dowel_scores, host, 8);
AT(dowel_scores, total, 16);
AT(dowel_scores, span, 24);
AT(dowel_scores, why, 32);

SIZE(dowel_reward, 32);
AT(dowel_reward, size, 0);
AT(dowel_reward, reserved, 4);
AT(dowel_reward, lowest, 8);
AT(dowel_reward, highest, 16);
AT(dowel_reward, score, 24);

SIZE(dowel_pair, 80);
AT(dowel_pair, size, 0);
AT(dowel_pair, reserved, 4);
AT(dowel_pair, id, 8);
AT(dowel_pair, prompt, 16);
AT(dowel_pair, first, 32);
AT(dowel_pair, second, 48);
AT(dowel_pair, meta, 64);

SIZE(dowel_verdicts, 32);
AT(dowel_verdicts, size, 0);
AT(dowel_verdicts, n, 4);
AT(dowel_verdicts, host, 8);
AT(dowel_verdicts, p, 16);
AT(dowel_verdicts, why, 24);

SIZE(dowel_judge, 16);
AT(dowel_judge, size, 0);
AT(dowel_judge, symmetric, 4);
AT(dowel_judge, compare, 8);

SIZE(dowel_plugin, 128);
AT(dowel_plugin, size, 0);
AT(dowel_plugin, flags, 4);
AT(dowel_plugin, id, 8);
AT(dowel_plugin, version, 16);
AT(dowel_plugin, about, 24);
AT(dowel_plugin, params, 32);
AT(dowel_plugin, n_params, 40);
AT(dowel_plugin, param_size, 44);
AT(dowel_plugin, config_size, 48);
AT(dowel_plugin, state_version, 52);
AT(dowel_plugin, create, 56);
AT(dowel_plugin, destroy, 64);
AT(dowel_plugin, save, 72);
AT(dowel_plugin, load, 80);
AT(dowel_plugin, extension, 88);
AT(dowel_plugin, objective, 96);
AT(dowel_plugin, estimator, 104);
AT(dowel_plugin, reward, 112);
AT(dowel_plugin, judge, 120);

SIZE(dowel_module, 24);
AT(dowel_module, magic, 0);
AT(dowel_module, abi_major, 4);
AT(dowel_module, abi_minor, 6);
AT(dowel_module, size, 8);
AT(dowel_module, n_plugins, 12);
AT(dowel_module, plugins, 16);

IS(DOWEL_OK, 0);
IS(DOWEL_E_ARG, -1);
IS(DOWEL_E_NOMEM, -2);
IS(DOWEL_E_IO, -3);
IS(DOWEL_E_STATE, -4);
IS(DOWEL_E_LIMIT, -5);
IS(DOWEL_E_CANCELLED, -6);
IS(DOWEL_E_FAULT, -7);
IS(DOWEL_DEBUG, 0);
IS(DOWEL_INFO, 1);
IS(DOWEL_WARN, 2);
IS(DOWEL_ERROR, 3);
IS(DOWEL_MEAN, 0);
IS(DOWEL_SUM, 1);
IS(DOWEL_MIN, 2);
IS(DOWEL_MAX, 3);
IS(DOWEL_BOOL, 1);
IS(DOWEL_INT, 2);
IS(DOWEL_REAL, 3);
IS(DOWEL_STR, 4);
IS(DOWEL_PATH, 5);
IS(DOWEL_CHOICE, 6);
IS(DOWEL_JSON, 7);
IS(DOWEL_TUNABLE, 1u << 0);
IS(DOWEL_DEPRECATED, 1u << 1);
IS(DOWEL_LOGP, 0);
IS(DOWEL_ENTROPY, 1);
IS(DOWEL_VALUE, 2);
IS(DOWEL_SCORE, 3);
IS(DOWEL_MEAN_LOGP, 4);
IS(DOWEL_DIVERGENCE, 5);
IS(DOWEL_CHOICES, 6);
IS(DOWEL_REF_LOGP, 16);
IS(DOWEL_OLD_LOGP, 17);
IS(DOWEL_SAMPLER_LOGP, 18);
IS(DOWEL_TEACHER_LOGP, 19);
IS(DOWEL_OLD_VALUE, 20);
IS(DOWEL_ADVANTAGE, 21);
IS(DOWEL_RETURN, 22);
IS(DOWEL_TOP1, 23);
IS(DOWEL_COLLISION, 24);
IS(DOWEL_TOP_PROB, 25);
IS(DOWEL_MEAN_LOGIT, 26);
IS(DOWEL_WEIGHT, 40);
IS(DOWEL_LABEL, 41);
IS(DOWEL_TARGET, 42);
IS(DOWEL_MARGIN, 43);
IS(DOWEL_REWARD, 44);
IS(DOWEL_TOKEN_REWARD, 45);
IS(DOWEL_MARK_LABEL, 46);
IS(DOWEL_RANK, 47);
IS(DOWEL_FIELD, 48);
IS(DOWEL_STOP_EOS, 1);
IS(DOWEL_STOP_LENGTH, 2);
IS(DOWEL_STOP_STRING, 3);
IS(DOWEL_TRAINED, 0);
IS(DOWEL_MISMATCHED, 1);
IS(DOWEL_GREEDY, 2);
IS(DOWEL_GOLD, 3);
IS(DOWEL_OTHER, 4);
IS(DOWEL_BY_ROW, 0);
IS(DOWEL_BY_GROUP, 1);
IS(DOWEL_BY_STEP, 2);
IS(DOWEL_WITH_MISMATCHED, 1u << 0);
IS(DOWEL_WITH_GREEDY, 1u << 1);
IS(DOWEL_WITH_REFERENCE, 1u << 2);
IS(DOWEL_WITH_MIXTURE, 1u << 3);
IS(DOWEL_FORWARD_KL, 1);
IS(DOWEL_REVERSE_KL, 2);
IS(DOWEL_JENSEN_SHANNON, 3);
IS(DOWEL_SORTED_DISTANCE, 4);
IS(DOWEL_TEACHER, 0);
IS(DOWEL_REFERENCE, 1);
IS(DOWEL_TEXTS, 1u << 0);
IS(DOWEL_PAIRS, 1u << 1);
IS(DOWEL_LABELS, 1u << 2);
IS(DOWEL_ROLLOUTS, 1u << 3);
IS(DOWEL_LISTS, 1u << 4);
IS(DOWEL_STEPS, 1u << 5);
IS(DOWEL_CREDIT_LAST, 1);
IS(DOWEL_CREDIT_EACH, 2);
IS(DOWEL_CREDIT_SPREAD, 3);
IS(DOWEL_PURE, 1u << 0);
IS(DOWEL_REENTRANT, 1u << 1);

int main(void)
{
    puts("1..1\nok 1 - the layout of plugin.h is the frozen one (checked by the compiler)");
    return 0;
}
