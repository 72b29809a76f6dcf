"""For the conformance runner: what keeps one test's failure from being another's, and from taking minutes.

A test that fails leaves what it used, sockets and pipes too, in the frames of its exception. Tests of warnings count
what is collected in them: so before each of those everything is.

Tests of TLS wait for a peer that has no TLS either: IORA_TEST_TIMEOUT, in seconds, has them give up sooner.
"""

import gc
import os
import unittest


def _collect_before_tests_of_warnings():
    start_test = unittest.TestResult.startTest

    def collect_and_start(self, test):
        if "warning" in test.id():
            gc.collect()
        start_test(self, test)

    unittest.TestResult.startTest = collect_and_start


def _give_up_after(seconds):
    import test.support
    test.support.SHORT_TIMEOUT = test.support.LONG_TIMEOUT = seconds


def tidy():
    _collect_before_tests_of_warnings()
    if "IORA_TEST_TIMEOUT" in os.environ:
        _give_up_after(float(os.environ["IORA_TEST_TIMEOUT"]))
