/* The golden vectors of `dowel selftest`: inputs and results as printed in the specification of the
 * objectives, appendix B. */
#include "cli/selftest.h"

#include <dowel/plugin.h>
#include <math.h>

#define X(...)                                                                                     \
    (uint32_t)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)), (const double[])           \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define COLUMN(c, ...)                                                                             \
    {                                                                                              \
        DOWEL_##c, 1, X(__VA_ARGS__)                                                               \
    }
#define WIDE(c, w, ...)                                                                            \
    {                                                                                              \
        DOWEL_##c, w, X(__VA_ARGS__)                                                               \
    }

/* ---- inputs ---- */

/* D = 1.25 and -0.5, S = -3 and -7.2, over 5 and 8 tokens. */
static const dw_case_batch pair = {
    .n_seq = 2,
    .len = {5, 8},
    .pairs = true,
    .col = {COLUMN(LOGP, -0.6, -0.9), COLUMN(REF_LOGP, -0.6 - 1.25 / 5, -0.9 + 0.5 / 8)}};
/* The same as labelled answers, beside mismatched ones whose log-ratios have the mean 0.3. */
static const dw_case_batch labels = {
    .n_seq = 4,
    .n_loss = 2,
    .len = {5, 8, 2, 2},
    .role = {0, 0, DOWEL_MISMATCHED, DOWEL_MISMATCHED},
    .group = {0, 1, 0, 1},
    .col = {COLUMN(LOGP, -0.6, -0.9, -1, -1),
            COLUMN(REF_LOGP, -0.6 - 1.25 / 5, -0.9 + 0.5 / 8, -1 - 0.7 / 2, -1 + 0.1 / 2),
            COLUMN(LABEL, 1, -1, 0, 0)}};
static const dw_case_batch sorted_pairs = {
    .n_seq = 6,
    .len = {1, 1, 1, 1, 1, 1},
    .pairs = true,
    .col = {COLUMN(LOGP, 0.4, 0, -1.0, 0, 2.0, 0), COLUMN(REF_LOGP, 0.1, 0, 0.9, 0, -0.3, 0)}};
static const dw_case_batch loose_pairs = {
    .n_seq = 6,
    .len = {1, 1, 1, 1, 1, 1},
    .pairs = true,
    .col = {COLUMN(LOGP, 0.4, 0.1, -1.0, 0.9, 2.0, -0.3), COLUMN(REF_LOGP, 0, 0, 0, 0, 0, 0)}};
static const dw_case_batch short_pair = {.n_seq = 2,
                                         .len = {3, 2},
                                         .pairs = true,
                                         .col = {COLUMN(LOGP, -0.5, -1, -2, -1.2, -0.3),
                                                 COLUMN(REF_LOGP, -0.6, -1.1, -1.8, -1.0, -0.5)}};
static const dw_case_batch likely_pair = {.n_seq = 2,
                                          .len = {3, 2},
                                          .pairs = true,
                                          .col = {COLUMN(LOGP, -0.5, -1, -2, -1.2, -0.3),
                                                  COLUMN(REF_LOGP, -3.4 / 3, -1.7 / 2),
                                                  COLUMN(COLLISION, 0.5, 0.4, 0.3, 0.6, 0.7)}};
static const dw_case_batch gold = {.n_seq = 3,
                                   .len = {5, 8, 4},
                                   .role = {0, 0, DOWEL_GOLD},
                                   .pairs = true,
                                   .col = {COLUMN(LOGP, -0.6, -0.9, -0.7)}};
static const dw_case_batch online_pair = {
    .n_seq = 2,
    .len = {5, 8},
    .role = {0, DOWEL_OTHER},
    .pairs = true,
    .col = {COLUMN(LOGP, -0.6, -0.9), COLUMN(REF_LOGP, -0.6 - 1.25 / 5, -0.9 + 0.5 / 8)}};
static const dw_case_batch nash = {
    .n_seq = 1,
    .len = {2},
    .col = {COLUMN(LOGP, -0.5, -1), COLUMN(REF_LOGP, -0.7, -0.9), COLUMN(ADVANTAGE, 0.3, 0.3)}};
static const dw_case_batch optimal = {.n_seq = 2,
                                      .len = {1, 1},
                                      .group = {0, 1},
                                      .col = {COLUMN(LOGP, -1, -2), COLUMN(REF_LOGP, -2.25, -1.5),
                                              COLUMN(ADVANTAGE, 1 - 0.7168904152, -0.4772292964)}};
static const dw_case_batch references = {.n_seq = 10,
                                         .len = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                                         .role = {0, 0, DOWEL_OTHER, DOWEL_OTHER, DOWEL_OTHER,
                                                  DOWEL_OTHER, DOWEL_OTHER, DOWEL_OTHER,
                                                  DOWEL_OTHER, DOWEL_OTHER},
                                         .group = {0, 1, 0, 0, 0, 0, 1, 1, 1, 1},
                                         .col = {COLUMN(REWARD, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0)}};
#define TOKENS                                                                                     \
    COLUMN(LOGP, -0.5, -1, -2, -1.2, -0.3), COLUMN(OLD_LOGP, -0.7, -0.9, -2.05, -0.8, -0.7),       \
        COLUMN(REF_LOGP, -0.6, -1.1, -1.8, -1.0, -0.5), COLUMN(ENTROPY, 0.1, 0.5, 0.9, 1.2, 0.3),  \
        COLUMN(TEACHER_LOGP, -0.6, -1.3, -1.2, -1, -0.9)
static const dw_case_batch rollout = {
    .n_seq = 2, .len = {3, 2}, .col = {TOKENS, COLUMN(ADVANTAGE, 0.8, 0.8, 0.8, -1.2, -1.2)}};
static const dw_case_batch calm = {
    .n_seq = 2, .len = {3, 2}, .col = {TOKENS, COLUMN(ADVANTAGE, 0, 0, 0, 0, 0)}};
static const dw_case_batch values = {.n_seq = 1,
                                     .len = {3},
                                     .col = {COLUMN(TOKEN_REWARD, -0.01, 0.02, NAN),
                                             COLUMN(REWARD, 1), COLUMN(OLD_VALUE, 0.1, 0.2, 0.3)}};
static const dw_case_batch value_loss = {
    .n_seq = 1,
    .len = {3},
    .col = {COLUMN(LOGP, 0, 0, 0), COLUMN(OLD_LOGP, 0, 0, 0), COLUMN(ADVANTAGE, 0, 0, 0),
            COLUMN(VALUE, 0.35, 0.1, 0.9), COLUMN(OLD_VALUE, 0.1, 0.2, 0.3),
            COLUMN(RETURN, 0.93575, 0.985, 1)}};
static const dw_case_batch five = {
    .n_seq = 5, .len = {2, 2, 2, 2, 2}, .col = {COLUMN(REWARD, 1, 0, 0, 1, 0.5)}};
static const dw_case_batch two_rewards = {
    .n_seq = 4,
    .len = {2, 2, 2, 2},
    .col = {WIDE(REWARD, 3, 1.1, 1, 0.2, 0.4, 0, 0.8, 0.25, 0, 0.5, 1.05, 1, 0.1)}};
static const dw_case_batch four_steps = {
    .n_seq = 1,
    .len = {4},
    .col = {COLUMN(REWARD, NAN), COLUMN(TOKEN_REWARD, 0.9, 0.2, -0.6, 0.7)}};
static const dw_case_batch margin_pair = {
    .n_seq = 2,
    .len = {2, 2},
    .pairs = true,
    .marks = 1,
    .col = {COLUMN(SCORE, 0.8, 0.3), COLUMN(MARGIN, 0.25, 0)}};
static const dw_case_batch soft_pair = {.n_seq = 2,
                                        .len = {2, 2},
                                        .pairs = true,
                                        .marks = 1,
                                        .col = {COLUMN(SCORE, 0.8, 0.3), COLUMN(TARGET, 0.7, 0.7)}};
static const dw_case_batch list = {.n_seq = 3,
                                   .len = {2, 2, 2},
                                   .marks = 1,
                                   .col = {COLUMN(SCORE, -0.5, 1, 0.2), COLUMN(RANK, 3, 1, 2)}};
static const dw_case_batch steps_two = {
    .n_seq = 1,
    .len = {5},
    .marks = 2,
    .col = {WIDE(SCORE, 2, 0.2, -0.4, 1.1, 0.3), COLUMN(MARK_LABEL, 1, 0)}};
static const dw_case_batch steps_one = {
    .n_seq = 1,
    .len = {5},
    .marks = 2,
    .col = {COLUMN(SCORE, 0.4, -0.8), COLUMN(MARK_LABEL, 0.9, 0.3)}};

/* ---- results ---- */

#define CASE(section, name, plugin, options, batch, column, kind, loss, ...)                       \
    AFTER(section, name, plugin, options, batch, column, kind, 0, 0, loss, __VA_ARGS__)
/* After a step that tallied so much. */
#define AFTER(section, name, plugin, options, batch, column, kind, t0, t1, loss, ...)              \
    {                                                                                              \
        section, name, plugin, options, &batch, DOWEL_##column, DW_WANT_##kind, loss,              \
            (uint32_t)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)), {__VA_ARGS__},     \
        {                                                                                          \
            t0, t1                                                                                 \
        }                                                                                          \
    }

const dw_case dw_cases[] = {
    CASE("B.1", "sigmoid", "dpo", "{}", pair, LOGP, EACH, 0.609470431, -0.0456361313, 0.0456361313),
    CASE("B.1", "cdpo", "dpo", "{\"loss\":\"cdpo\",\"label_smoothing\":0.1}", pair, LOGP, EACH,
         0.626970431, -0.0356361313, 0.0356361313),
    CASE("B.1", "robust", "dpo", "{\"loss\":\"robust\",\"label_smoothing\":0.1}", pair, LOGP, EACH,
         0.587595431, -0.0581361313, 0.0581361313),
    CASE("B.1", "hinge", "dpo", "{\"loss\":\"hinge\"}", pair, LOGP, EACH, 0.825, -0.1, 0.1),
    CASE("B.1", "ipo by token", "dpo", "{\"loss\":\"ipo\"}", pair, LOGP, EACH, 21.97265625, -1.875,
         1.171875),
    CASE("B.1", "exo_pair", "dpo", "{\"loss\":\"exo_pair\",\"label_smoothing\":0.001}", pair, LOGP,
         EACH, 2.46364252, -0.167011918, 0.167011918),
    CASE("B.1", "nca_pair", "dpo", "{\"loss\":\"nca_pair\"}", pair, LOGP, EACH, 1.34562838,
         -0.020318594, 0.0243751302),
    CASE("B.1", "bco_pair", "dpo", "{\"loss\":\"bco_pair\"}", pair, LOGP, EACH, 1.30105868,
         -0.0468790627, 0.0487502604),
    CASE("B.1", "sppo_hard", "dpo", "{\"loss\":\"sppo_hard\"}", pair, LOGP, EACH, 34.3125, -7.5, 9),
    CASE("B.1", "apo_zero", "dpo", "{\"loss\":\"apo_zero\"}", pair, LOGP, EACH, 0.95629323,
         -0.0249025975, 0.0249843815),
    CASE("B.1", "apo_down", "dpo", "{\"loss\":\"apo_down\"}", pair, LOGP, EACH, 0.987570686,
         9.30310037e-05, 0.0248095665),
    CASE("B.1", "discopop", "dpo", "{\"loss\":\"discopop\"}", pair, LOGP, EACH, 0.832715601,
         -0.0697351352, 0.0697351352),
    CASE("B.1", "sigmoid_norm", "dpo", "{\"loss\":\"sigmoid_norm\"}", pair, LOGP, EACH, 0.677644246,
         -0.00984376271, 0.0061523517),
    CASE("B.1", "forward_kl score", "dpo", "{\"divergence\":\"forward_kl\"}", pair, LOGP, EACH,
         0.627354108, -0.013351042, 0.0768299418),
    CASE("B.1", "js score", "dpo", "{\"divergence\":\"js_divergence\"}", pair, LOGP, EACH,
         0.657691516, -0.0107331255, 0.0299996854),
    CASE("B.1", "alpha score", "dpo", "{\"divergence\":\"alpha_divergence\"}", pair, LOGP, EACH,
         0.621071404, -0.0247628856, 0.0594030745),
    AFTER("B.1", "bco", "bco", "{}", labels, LOGP, EACH, 2, 0.125, 1.3007468 / 2, -0.0481258784 / 2,
          0.0475020813 / 2),
    CASE("B.1", "kto", "kto", "{}", labels, LOGP, EACH, 0.478139253, -0.0124718392, 0.0124800213),
    CASE("B.1", "simpo", "simpo", "{\"beta\":2,\"gamma\":0.5}", pair, LOGP, MEAN, 0.64439666,
         -0.950041625, 0.950041625),
    CASE("B.1", "orpo and its likelihood", "orpo", "{}", pair, LOGP, MEAN, 0.0446765825 + 0.6,
         -0.0798571812 - 1, 0.0607158557),
    CASE("B.1", "aot", "dpo", "{\"loss\":\"aot\"}", sorted_pairs, LOGP, EACH, 0.6822260502,
         -0.01641668541, 0.01641668541, -0.01724976192, 0.01724976192, -0.01575092319,
         0.01575092319),
    CASE("B.2", "grpo", "grpo", "{\"loss\":\"grpo\"}", rollout, LOGP, EACH, 0.266732941, 0,
         -0.120644989, -0.14016948, 0, 0.447547409),
    CASE("B.2", "dapo", "grpo", "{\"loss\":\"dapo\"}", rollout, LOGP, EACH, 0.0416361238,
         -0.195424441, -0.144773987, -0.168203375, 0, 0.358037927),
    CASE("B.2", "bnpo", "grpo", "{\"loss\":\"bnpo\"}", rollout, LOGP, EACH, 0.04506056513, 0,
         -0.144773987, -0.168203375, 0, 0.358037927),
    CASE("B.2", "dr_grpo", "grpo", "{\"loss\":\"dr_grpo\"}", rollout, LOGP, EACH, 0.0112651413, 0,
         -0.0361934967, -0.0420508439, 0, 0.0895094819),
    CASE("B.2", "delta", "grpo", "{\"delta\":1.3}", rollout, LOGP, EACH, -0.000977362306, 0,
         -0.144773987, -0.168203375, 0, 0),
    CASE("B.2", "dual clip", "grpo", "{\"dual_clip\":1.4}", rollout, LOGP, EACH, 0.0230226377, 0,
         -0.144773987, -0.168203375, 0, 0),
    CASE("B.2", "gspo 0.1", "grpo", "{\"loss\":\"gspo\",\"clip\":0.1,\"clip_high\":0.1}", rollout,
         LOGP, EACH, 0.179491561, -0.14016948, -0.14016948, -0.14016948, 0.3, 0.3),
    CASE("B.2", "gspo_token 0.1", "grpo",
         "{\"loss\":\"gspo_token\",\"clip\":0.1,\"clip_high\":0.1}", rollout, LOGP, EACH,
         0.179491561, -0.14016948, -0.14016948, -0.14016948, 0.3, 0.3),
    CASE("B.2", "gspo", "grpo", "{\"loss\":\"gspo\"}", rollout, LOGP, EACH, 0.19984, 0, 0, 0, 0.3,
         0.3),
    CASE("B.2", "luspo", "grpo", "{\"loss\":\"luspo\",\"clip\":0.1,\"clip_high\":0.1}", rollout,
         LOGP, EACH, -0.0615253157, -0.420508439, -0.420508439, -0.420508439, 0.6, 0.6),
    CASE("B.2", "rloo", "rloo", "{}", rollout, LOGP, EACH, 0.135266303, -0.464733697, -0.464733697,
         -0.464733697, 0.6, 0.6),
    CASE("B.2", "cispo", "grpo", "{\"loss\":\"cispo\",\"e_max\":1.28}", rollout, LOGP, EACH,
         0.293680785, -0.195424441, -0.144773987, -0.168203375, 0.160876811, 0.3072),
    CASE("B.2", "sapo", "grpo", "{\"loss\":\"sapo\"}", rollout, LOGP, EACH, 0.365726357,
         -0.160874155, -0.120372263, -0.140077403, 0.19519001, 0.418986649),
    CASE("B.2", "vespo", "grpo", "{\"loss\":\"vespo\"}", rollout, LOGP, EACH, 0.1051844788,
         -0.132909851, -0.132909851, -0.132909851, 0.24, 0.24),
    CASE("B.2", "top entropy", "grpo", "{\"top_entropy\":0.4}", rollout, LOGP, EACH, 0.02379662458,
         0, 0, -0.1682033754, 0, 0),
    CASE("B.2", "top entropy with bonus", "grpo", "{\"top_entropy\":0.4,\"entropy_bonus\":0.01}",
         rollout, LOGP, EACH, 0.01329662458, 0, 0, -0.1682033754, 0, 0),
    CASE("B.2", "gmpo", "grpo", "{\"loss\":\"gmpo\",\"clip\":0.3,\"clip_high\":0.1}", rollout, LOGP,
         EACH, 0.224040126, 0, -0.135574177, -0.135574177, 0, 0.315381329),
    CASE("B.2", "entropy bonus, by the entropy", "grpo",
         "{\"top_entropy\":0.4,\"entropy_bonus\":0.01}", rollout, ENTROPY, EACH, 0.01329662458, 0,
         0, -0.005, -0.005, 0),
    CASE("B.2", "k1", "grpo", "{\"kl\":1,\"kl_estimator\":\"k1\"}", calm, LOGP, EACH, 0.0, 0.2, 0.2,
         0.2, 0.2, 0.2),
    CASE("B.2", "k2", "grpo", "{\"kl\":1,\"kl_estimator\":\"k2\"}", calm, LOGP, EACH, 0.014, 0.02,
         0.02, -0.04, -0.04, 0.04),
    CASE("B.2", "k3", "grpo", "{\"kl\":1,\"kl_estimator\":\"k3\"}", calm, LOGP, EACH, 0.0142422211,
         0.0190325164, 0.0190325164, -0.0442805516, -0.0442805516, 0.0362538494),
    CASE("B.2", "k3_weighted", "grpo", "{\"kl\":1,\"kl_estimator\":\"k3_weighted\"}", calm, LOGP,
         EACH, 0.0150150623, 0.0244280552, 0.0180967484, -0.0420508439, -0.0268128018,
         0.0596729879),
    CASE("B.3", "gae", "gae", "{\"kl\":0,\"whiten\":false}", values, ADVANTAGE, CREDIT, 0.0,
         0.83575, 0.785, 0.7),
    CASE("B.3", "gae, population variance", "gae", "{\"kl\":0,\"whiten_population\":true}", values,
         ADVANTAGE, CREDIT, 0.0, 1.11002633, 0.203852021, -1.31387835),
    CASE("B.3", "gae, sample variance", "ppo", "{\"kl\":0}", values, ADVANTAGE, CREDIT, 0.0,
         0.906333187, 0.166444567, -1.07277775),
    CASE("B.3", "value loss", "ppo", "{\"value_coef\":1}", value_loss, VALUE, EACH, 0.239567177, 0,
         -0.295, 0),
    CASE("B.3", "group", "group", "{}", five, ADVANTAGE, CREDIT, 0.0, 0.99980004, -0.99980004,
         -0.99980004, 0.99980004, 0),
    CASE("B.3", "group of grpo", "grpo", "{}", five, ADVANTAGE, CREDIT, 0.0, 0.99980004,
         -0.99980004, -0.99980004, 0.99980004, 0),
    CASE("B.3", "leave one out", "group", "{\"baseline\":\"leave_one_out\",\"scale\":\"none\"}",
         five, ADVANTAGE, CREDIT, 0.0, 0.625, -0.625, -0.625, 0.625, 0),
    CASE("B.3", "gdpo", "group", "{\"normalize_parts\":true}", two_rewards, ADVANTAGE, CREDIT, 0.0,
         0.9467333182, -0.4023222078, -1.218938873, 0.674527763),
    CASE("B.3", "sum, then normalise", "group", "{}", two_rewards, ADVANTAGE, CREDIT, 0.0,
         0.9134557372, -0.6850918029, -1.027637704, 0.79927377),
    CASE("B.3", "pure", "process", "{\"scheme\":\"min\"}", four_steps, ADVANTAGE, CREDIT, 0.0,
         -0.5997283244501445, -0.5997285996692, -0.599795669523, 1.58169593e-06),
    CASE("B.4", "bradley-terry", "reward", "{\"center\":0.01}", margin_pair, SCORE, EACH,
         0.58803942, -0.415823499, 0.459823499),
    CASE("B.4", "soft label", "reward", "{}", soft_pair, SCORE, EACH, 0.624076984, -0.0775406688,
         0.0775406688),
    CASE("B.4", "plackett-luce", "reward", "{\"loss\":\"plackett_luce\"}", list, SCORE, EACH,
         0.917481122, 0.465226646, -0.402078062, -0.063148583),
    CASE("B.4", "choose two", "reward", "{\"loss\":\"choose_two\"}", list, SCORE, EACH, 0.325233331,
         0.171412584, -0.164150348, -0.00726223632),
    CASE("B.4", "prm, two channels", "prm", "{}", steps_two, SCORE, EACH, 0.7042943082,
         0.3228281531, -0.3228281531, -0.1550127594, 0.1550127594),
    CASE("B.4", "prm, one channel", "prm", "{\"head\":\"one_channel\"}", steps_one, SCORE, EACH,
         0.5820579592, -0.1506561699, 0.005012759436),
    CASE("B.7", "ipo, sums", "dpo", "{\"loss\":\"ipo\",\"normalize\":\"sum\"}", pair, LOGP, EACH,
         10.5625, -6.5, 6.5),
    CASE("B.7", "ipo, forward_kl", "dpo", "{\"loss\":\"ipo\",\"divergence\":\"forward_kl\"}", pair,
         LOGP, EACH, 22.81218961, -0.5473629221, 1.968660085),
    CASE("B.7", "ipo, alpha", "dpo",
         "{\"loss\":\"ipo\",\"divergence\":\"alpha_divergence\",\"divergence_alpha\":0.5}", pair,
         LOGP, EACH, 22.4969807, -1.015519011, 1.522564666),
    CASE("B.7", "sigmoid_norm, js", "dpo",
         "{\"loss\":\"sigmoid_norm\",\"divergence\":\"js_divergence\"}", pair, LOGP, EACH,
         0.6869982102, -0.002213265435, 0.003866375347),
    CASE("B.7", "apo_zero_unpaired", "kto", "{\"loss\":\"apo_zero_unpaired\"}", labels, LOGP, EACH,
         0.4781466151, -0.01245129875, 0.01249219075),
    CASE("B.7", "aot_unpaired", "dpo", "{\"loss\":\"aot_unpaired\"}", loose_pairs, LOGP, EACH,
         0.6822260502, -0.01641668541, 0.01641668541, -0.01724976192, 0.01575092319, -0.01575092319,
         0.01724976192),
    CASE("B.7", "ld-dpo", "dpo", "{\"ld_alpha\":0.5}", short_pair, LOGP, EACH, 0.6881596805,
         -0.04975000208, -0.04975000208, -0.02487500104, 0.04975000208, 0.04975000208),
    CASE("B.7", "wpo", "dpo", "{\"wpo\":true}", likely_pair, LOGP, EACH, 0.4106322275,
         -0.02942361841, 0.02942361841),
    CASE("B.7", "cpo", "cpo", "{\"alpha\":0}", pair, LOGP, EACH, 0.5050369938, -0.03965167501,
         0.03965167501),
    CASE("B.7", "alphapo", "simpo", "{\"beta\":2,\"gamma\":0.5,\"alpha\":0.25}", pair, LOGP, MEAN,
         0.5874470764, -1.032303091, 1.11270314),
    CASE("B.7", "tpo_l", "tpo", "{\"loss\":\"tpo_l\",\"beta\":2}", gold, LOGP, MEAN, 1.34439666,
         -0.950041625, 0.950041625, -1),
    CASE("B.7", "xpo", "xpo", "{\"alpha\":0.01}", online_pair, LOGP, EACH, 0.5374704307,
         -0.04563613128, 0.05563613128),
    CASE("B.7", "nash_md", "nash_md", "{}", nash, LOGP, EACH, 0.45, -0.28, -0.31),
    CASE("B.7", "a2po", "a2po", "{\"beta1\":0.5,\"beta2\":0.1}", optimal, LOGP, EACH, 0.1037617562,
         -0.01581095848, 0.04272292964),
    CASE("B.7", "a2po, the values", "a2po", "{\"beta1\":0.5,\"beta2\":0.1}", references, ADVANTAGE,
         CREDIT, 0.0, 1 - 0.7168904152, 0 - 0.4772292964),
    CASE("B.7", "dft", "sft", "{\"dft\":true}", rollout, LOGP, EACH, 0.3050987716, -0.1213061319,
         -0.07357588823, -0.02706705665, -0.06023884238, -0.1481636441),
    CASE("B.7", "sampled self-distillation", "self_distill", "{\"mode\":\"sampled_token\"}",
         rollout, LOGP, EACH, 0.1980058232, 0.02035671264, 0.0452418709, -0.1401694795,
         -0.0335160023, 0.2237737046),
    CASE("B.7", "the same, capped at 1.2", "self_distill",
         "{\"mode\":\"sampled_token\",\"correction\":1.2}", rollout, LOGP, EACH, 0.2113162909, 0.02,
         0.0452418709, -0.1401694795, -0.0335160023, 0.18),
    CASE("B.7", "top-1 with tail", "opd", "{\"loss\":\"top1\"}", rollout, LOGP, EACH, 0.06877270221,
         0.02873521018, 0.03240945498, -0.02741808822, -0.01808928628, 0.2116354928),
    CASE("B.7", "iw-opd", "iw_opd", "{}", rollout, LOGP, EACH, 0.258, -0.03, 0.117037037,
         -0.2235185185, 0.06, 0.05),
};
const size_t dw_n_cases = sizeof dw_cases / sizeof *dw_cases;

/* ---- the head ---- */

const double dw_case_logits[4] = {1, 0, -1, 0.5};
const double dw_case_teacher[4] = {0.2, 0.4, -0.3, 1};

const dw_head_case dw_head_cases[] = {
    {"B.5",
     "logp",
     0,
     0,
     0,
     0,
     false,
     -1.24656727,
     {-0.473990846, -0.174371488, -0.0641476854, 0.712510019}},
    {"B.5",
     "entropy",
     1,
     0,
     0,
     0,
     false,
     1.19297912,
     {-0.21159513, 0.0965299895, 0.099659084, 0.0154060565}},
    {"B.5",
     "mean logp",
     2,
     0,
     0,
     0,
     false,
     -1.62156727,
     {-0.223990846, 0.0756285124, 0.185852315, -0.0374899807}},
    {"B.5", "collision", 3, 0, 0, 0, false, 0.341838153, {0}},
    {"B.5",
     "KL(q|p)",
     -1,
     1,
     0,
     0,
     false,
     0.169077451,
     {0.276107186, -0.0673241606, -0.0558748215, -0.152908204}},
    {"B.5",
     "KL(p|q)",
     -1,
     2,
     0,
     0,
     false,
     0.194304439,
     {0.321936615, -0.090811923, -0.0526521451, -0.178472547}},
    {"B.5",
     "JSD 0.5",
     -1,
     3,
     0.5,
     0,
     false,
     0.0443558555,
     {0.071773833, -0.019000043, -0.0129238241, -0.0398499659}},
    {"B.7",
     "JSD 0.5, top 2 renormalised",
     -1,
     3,
     0.5,
     2,
     false,
     0.04988209834,
     {0.0746414128, 0, 0, -0.0746414128}},
    {"B.7",
     "JSD 0.5, top 2 and tail",
     -1,
     3,
     0.5,
     2,
     true,
     0.0436817605,
     {0.0719693614, -0.0235678588, -0.00867013073, -0.0397313719}},
    {"B.7",
     "KL(p|q), top 2 renormalised",
     -1,
     2,
     0,
     2,
     false,
     0.2062208123,
     {0.305504826, 0, 0, -0.305504826}},
    {"B.7",
     "KL(p|q), top 2 and tail",
     -1,
     2,
     0,
     2,
     true,
     0.1921000601,
     {0.322981471, -0.106107787, -0.0390348733, -0.17783881}},
    {"B.7",
     "JSD 0.01",
     -1,
     3,
     0.01,
     0,
     false,
     0.001674933395,
     {0.00273402022, -0.000667960403, -0.000551771523, -0.0015142883}},
    {"B.7",
     "sorted (ULD)",
     -1,
     4,
     0,
     0,
     false,
     0.158773988,
     {0.2261118094, -0.2655610892, -0.09769446509, 0.1371437449}},
};
const size_t dw_n_head_cases = sizeof dw_head_cases / sizeof *dw_head_cases;
