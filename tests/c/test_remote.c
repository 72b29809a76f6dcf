/* tests/c/test_remote.c */
#include "test.h"
