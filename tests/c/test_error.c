/* tests/c/test_error.c */
#include "test.h"
