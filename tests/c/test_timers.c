/* tests/c/test_timers.c */
#include "test.h"
