"""What Optuna's storages raise, in words of this program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from sqlalchemy.exc import SQLAlchemyError

from wsol_bench.errors import UnreachableError
from wsol_bench.search.study_address import StudyAddress, masked


@contextmanager
def talking_to(address: StudyAddress) -> Iterator[None]:
    """Names the place of a storage that does not answer.

    Raises:
        UnreachableError: the database is down.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = masked(str(getattr(cause, "orig", None) or cause)).strip().splitlines()[0]
        raise UnreachableError(
            f"Expected the study {address.masked} to answer but: {reason}. Fix: when the database runs again, run the "
            "same command; what is finished is kept."
        ) from None


@contextmanager
def if_unfinished() -> Iterator[list[bool]]:
    """Yields a list that is not empty afterwards when somebody else had finished the trial."""
    lost: list[bool] = []
    try:
        yield lost
    except UpdateFinishedTrialError:
        lost.append(True)
