from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.errors import UsageError, WorkspaceError
from wsol_bench.search.study_address import StudyAddress, masked


@pytest.mark.parametrize("text", ["studies/cub.journal", "journal://studies/cub.journal"])
def test_a_path_is_a_journal_named_after_its_file(text: str) -> None:
    address = StudyAddress.parse(text)
    assert address == StudyAddress(str(Path("studies/cub.journal")), "cub")
    assert address.is_journal
    assert address.masked == address.secret == str(Path("studies/cub.journal"))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_database_holds_studies_by_name(scheme: str) -> None:
    address = StudyAddress.parse(f"{scheme}://me:s3cret@host:5432/sweeps#cub")
    assert address.name == "cub"
    assert not address.is_journal
    assert address.place == "postgresql+psycopg://me:s3cret@host:5432/sweeps"
    assert StudyAddress.parse(address.secret) == address
    assert address.masked == "postgresql://me:***@host:5432/sweeps#cub"


def test_a_missing_name_is_the_default() -> None:
    address = StudyAddress.parse("postgresql://host/sweeps")
    assert address.named("critters").name == "critters"
    assert StudyAddress.parse("a.journal").named("critters").name == "a"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://me:p%40ss@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:pa@ss:w@host/db", "postgresql://me:***@host/db"),
        ("postgresql:///db?host=x&password=s3cret&user=me", "postgresql:///db?host=x&password=***&user=me"),
        ("cannot reach postgresql://me:s3cret@host/db, nor 12:30 o'clock", None),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_passwords_are_masked_wherever_they_stand(text: str, hidden: str | None) -> None:
    assert masked(text) == (hidden or "cannot reach postgresql://me:***@host/db, nor 12:30 o'clock")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "but got nothing"),
        ("sqlite:///a.db", "loses trials when several workers write"),
        ("mysql://me:s3cret@host/db", "begins with 'mysql://'"),
    ],
)
def test_other_places_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        StudyAddress.parse(text)
    assert "s3cret" not in str(caught.value)


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    address = StudyAddress.parse("postgresql://me:s3cret@127.0.0.1:1/sweeps?connect_timeout=2#cub")
    with pytest.raises(WorkspaceError, match=r"PostgreSQL database at postgresql://me:\*\*\*@127\.0\.0\.1:1") as caught:
        address.open()
    assert "s3cret" not in str(caught.value)
    assert "check that the server runs" in str(caught.value)
