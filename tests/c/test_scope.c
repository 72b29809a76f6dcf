/* tests/c/test_scope.c */
#include "test.h"
