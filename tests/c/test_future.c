/* tests/c/test_future.c */
#include "test.h"
