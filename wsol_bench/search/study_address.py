"""Where a study is kept: a journal file for one machine or a shared disk, PostgreSQL for more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_bench.errors import UsageError, WorkspaceError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = ("password", "sslpassword", "passfile", "sslkey")
_FORMS = "a journal file (sweep.journal) or postgresql://USER:PASSWORD@HOST/DATABASE#NAME"


@dataclass(frozen=True)
class StudyAddress:
    """A study as the user names it.

    Attributes:
        place: the journal file, or the URL of the database without the study's name. May hold a password: print
            :attr:`masked` instead.
        name: of the study; several can share a database. Empty when the user gave none.
    """

    place: str
    name: str

    @classmethod
    def parse(cls, text: str) -> StudyAddress:
        """Reads ``sweep.journal``, ``postgresql://user:password@host/database`` or the latter with ``#name``.

        Raises:
            UsageError: neither a path nor a PostgreSQL URL.
        """
        scheme, separator, rest = text.strip().partition("://")
        if not text.strip():
            raise UsageError(f"Expected --study to be {_FORMS} but got nothing.")
        if not separator:
            return cls(str(Path(text).expanduser()), Path(text).stem)
        if scheme == "journal":
            return cls.parse(rest)
        if scheme.startswith("sqlite"):
            raise UsageError(
                "Expected --study to be a journal file or PostgreSQL but got SQLite, which loses trials when several "
                "workers write; fix: --study sweep.journal, which several workers can share."
            )
        if scheme not in _POSTGRESQL:
            raise UsageError(f"Expected --study to be {_FORMS} but got a URL that begins with '{scheme}://'.")
        url, _, name = rest.partition("#")
        return cls(f"postgresql+psycopg://{url}", name)

    def named(self, default: str) -> StudyAddress:
        """Returns the address with a name, the default where the user gave none."""
        return self if self.name else StudyAddress(self.place, default)

    @property
    def is_journal(self) -> bool:
        """Whether the study lies in a file."""
        return "://" not in self.place

    @property
    def secret(self) -> str:
        """The whole address in one text, password included: for the environment of workers, never for people."""
        return self.place if self.is_journal else f"{self.place}#{self.name}"

    @property
    def masked(self) -> str:
        """The address without credentials: for everything that is printed or written."""
        if self.is_journal:
            return self.place
        return masked(self.secret).replace("postgresql+psycopg://", "postgresql://")

    def open(self) -> BaseStorage:
        """Opens the storage, making the journal file or the tables where they are missing.

        Raises:
            WorkspaceError: the file cannot be written, is damaged, or the database does not answer.
            MissingPackageError: Optuna, or the driver of PostgreSQL, is not installed.
        """
        import optuna

        # What is wrong is raised; the rest of what Optuna says would be in the way of the sweep's own screen.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if self.is_journal:
            from wsol_bench.search.journal import open_journal

            return open_journal(Path(self.place))
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        import psycopg  # noqa: F401  # isort: skip - a missing driver is named before a database is asked for

        try:
            # Workers hold one connection for the trial and one for its heartbeat; a connection that a firewall or a
            # restart has cut is replaced before it is used.
            return RDBStorage(self.place, engine_kwargs={"pool_pre_ping": True, "pool_size": 2})
        except (SQLAlchemyError, ArgumentError, RuntimeError, ValueError) as error:
            reason = masked(str(getattr(error, "orig", None) or error)).strip().splitlines()[0]
            raise WorkspaceError(
                f"Expected a PostgreSQL database at {self.masked} but: {reason}; fix: check that the server runs, and "
                "user, password and name of the database."
            ) from None


def masked(text: str) -> str:
    """Returns a text with the credentials of all URLs in it replaced by ``***``.

    Passwords stand before the ``@`` or in the query (``?password=...``).
    """
    text = re.sub(r"(\w+://[^:/@\s]*):[^/\s]*@", r"\1:***@", text)
    return re.sub(rf"([?&](?:{'|'.join(_SECRETS)})=)[^&#\s]*", r"\1***", text, flags=re.IGNORECASE)
