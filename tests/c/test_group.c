/* tests/c/test_group.c */
#include "test.h"
