/* tests/c/test_local.c */
#include "test.h"
