/* tests/c/test_watcher.c */
#include "test.h"
