"""Conformance suites for plug-ins: a third party proves its method with one line.

from wsol_bench.testing import check_method

def test_my_method() -> None:
    check_method("my_method")
"""

from wsol_bench.testing.conformance import METHOD_CHECKS, CheckResult, ConformanceError, check_method, run_checks

__all__ = ["METHOD_CHECKS", "CheckResult", "ConformanceError", "check_method", "run_checks"]
