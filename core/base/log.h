/* One line to stderr per event. */
#ifndef DW_BASE_LOG_H
#define DW_BASE_LOG_H

typedef enum dw_level { DW_DEBUG = 0, DW_INFO = 1, DW_WARN = 2, DW_ERROR = 3 } dw_level;

/* "dowel: warning: module: text"; info lines carry no level, debug lines are
 * dropped. Any thread. */
__attribute__((format(printf, 3, 4))) void dw_log(dw_level level, const char *module,
                                                  const char *fmt, ...);
/* How many warnings were logged since the start. */
unsigned dw_log_warnings(void);

#endif
