"""Runs the page's tests; the last line is "web: N passed, N failed, N skipped". Names of tests or classes may follow, as in unittest.

    python run.py [page_test.Media markdown_test …]
"""
import sys
import time
import unittest

from browser import Shared


class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        self.begun = time.time()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.stream.writeln(f"ok {time.time() - self.begun:5.1f} s  {test.id()}")


names = sys.argv[1:] or ["markdown_test", "parts_test", "page_test", "server_test"]
suite = unittest.defaultTestLoader.loadTestsFromNames(names)
try:
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0).run(suite)
finally:
    Shared.stop()
failed = len({test.id().split(" ")[0] for test, _ in result.failures + result.errors})
skipped = len(result.skipped)
print(f"web: {result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not result.testsRun else 0)
