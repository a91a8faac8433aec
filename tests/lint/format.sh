#!/bin/sh
# Every C file is as clang-format lays it out (include/dowel/plugin.h is laid out by hand).
# usage: format.sh ROOT
cd "$1" || exit 1
command -v clang-format >/dev/null 2>&1 || exit 77
find core plugins tests examples -name '*.[ch]' -type f -print0 | xargs -0 clang-format --dry-run -Werror
