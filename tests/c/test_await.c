/* tests/c/test_await.c */
#include "test.h"
