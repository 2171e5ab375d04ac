"""The conformance suite of methods, as scikit-learn's ``check_estimator`` is for estimators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from wsol_bench.methods.base import Method
from wsol_bench.methods.hparams import Value
from wsol_bench.registry import METHODS
from wsol_bench.search.plan import MethodOnDataset
from wsol_bench.testing import method_checks
from wsol_bench.testing.method_case import CheckFailure, MethodCase

Status = Literal["passed", "failed", "expected", "unexpected pass"]

METHOD_CHECKS: dict[str, Callable[[MethodCase], None]] = {
    name.removeprefix("check_"): check
    for name, check in vars(method_checks).items()
    if name.startswith("check_") and callable(check)
}
"""Checks by name, in the order in which they run."""


class ConformanceError(AssertionError):
    """A method fails checks; the message lists which, and why."""


@dataclass(frozen=True)
class CheckResult:
    """How a check ended.

    Attributes:
        name: of the check.
        status: ``passed``, ``failed``, ``expected`` (it failed, and the method says why), or ``unexpected pass``.
        reason: what was found, or the declared reason.
        expectation: what the check expects, in a sentence.
    """

    name: str
    status: Status
    reason: str
    expectation: str

    @property
    def fine(self) -> bool:
        """Whether the method is as it says it is."""
        return self.status in ("passed", "expected")


def check_method(method: str | type[Method], hparams: Mapping[str, Value] | None = None) -> None:
    """Runs every check on a method.

    A method that cannot pass a check by its nature says so in its class attribute ``expected_failures``, a reason by
    the name of the check; a check that is declared to fail and passes is a failure too.

    Args:
        method: the class, or its registered name.
        hparams: hyper-parameters; those of the method's recipe for ``critters`` when not given, small and from scratch.

    Raises:
        ConformanceError: at least one check does not end as it should.
    """
    wrong = [result for result in run_checks(method, hparams) if not result.fine]
    if wrong:
        listed = "\n".join(f"  {one.name} ({one.expectation}): {one.reason}" for one in wrong)
        raise ConformanceError(f"{len(wrong)} of {len(METHOD_CHECKS)} checks do not pass:\n{listed}")


def run_checks(method: str | type[Method], hparams: Mapping[str, Value] | None = None) -> list[CheckResult]:
    """Runs every check and returns how each ended; see :func:`check_method`."""
    method_class = METHODS.get(method) if isinstance(method, str) else method
    case = MethodCase(method_class, _hparams(method, method_class) if hparams is None else hparams)
    return [_run(name, check, case) for name, check in METHOD_CHECKS.items()]


def _run(name: str, check: Callable[[MethodCase], None], case: MethodCase) -> CheckResult:
    expectation = (check.__doc__ or "").strip().partition("\n")[0]
    declared = case.method_class.expected_failures.get(name)
    try:
        check(case)
    except CheckFailure as failure:
        reason = str(failure)
    # The method is foreign code; whatever it raises is the finding.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    else:
        if declared is None:
            return CheckResult(name, "passed", "", expectation)
        return CheckResult(name, "unexpected pass", f"declared to fail ({declared}) but passes", expectation)
    return CheckResult(name, "failed" if declared is None else "expected", declared or reason, expectation)


def _hparams(method: str | type[Method], method_class: type[Method]) -> Mapping[str, Value]:
    """The recipe for critters of a registered method, else nothing: the defaults."""
    names = (
        [method]
        if isinstance(method, str)
        else [name for name in METHODS if METHODS.origin(name).endswith(_of(method))]
    )
    if not names:
        return {}
    declared = method_class.HParams.declarations()
    return {one.name: one.value for one in MethodOnDataset.of(names[0], "critters").parameters if one.name in declared}


def _of(method_class: type[Method]) -> str:
    return f"{method_class.__module__}:{method_class.__qualname__}"
