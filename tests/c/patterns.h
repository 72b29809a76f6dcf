/* tests/c/patterns.h -- which tests were asked for: those whose name has one of the patterns in it, or matches one as
 * names of files do. Without patterns, all. */
#ifndef IORA_TESTS_PATTERNS_H
#define IORA_TESTS_PATTERNS_H

#include <fnmatch.h>
#include <stdbool.h>
#include <string.h>

static inline bool
is_asked_for(const char *name, char *const *patterns, int count)
{
    for (int i = 0; i < count; i++) {
        if (fnmatch(patterns[i], name, 0) == 0 || strstr(name, patterns[i]) != NULL)
            return true;
    }
    return count == 0;
}

#endif
