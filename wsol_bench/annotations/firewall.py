"""The firewall between training and ground truth, and the ledger of everything that was read.

Ground truth (boxes and masks of ``val`` and ``test``) opens only inside :func:`judging`. Training runs inside
:func:`training`, where the door is shut: not even :func:`judging` opens it, and files that readers declared with
:func:`protect` cannot be opened either. What was read is written into a :class:`Ledger` at the moment of reading, so
provenance tells what happened and not what was promised.

This keeps honest code honest. It cannot stop code that sets out to cheat: libraries that open files without Python
(OpenCV, Arrow), other processes and hard links are not seen.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wsol_bench.errors import FirewallError


@dataclass(frozen=True)
class Access:
    """One reading of an annotation source: ``source`` (``gt``, ``pseudo:ss``, ...), ``split``, reader and UTC time."""

    source: str
    split: str
    reader: str
    at: str
    count: int = 1

    @property
    def key(self) -> str:
        """The supervision that this reading stands for: ``gt:val``, ``gt:test``, ``labels:test``, ``pseudo:ss``."""
        return f"{self.source}:{self.split}" if self.source in ("gt", "labels") else self.source


@dataclass
class Ledger:
    """Annotation sources really read, in order."""

    accesses: list[Access] = field(default_factory=list)

    def supervision(self) -> str:
        """Returns ``none`` or the distinct sources read, sorted and joined by ``+`` (``gt:test+pseudo:ss``)."""
        return "+".join(sorted({access.key for access in self.accesses})) or "none"

    def as_dicts(self) -> list[dict[str, Any]]:
        """Returns the accesses as plain dictionaries, for ``provenance.json``."""
        return [vars(access) | {"supervision": access.key} for access in self.accesses]


_ledgers: ContextVar[tuple[Ledger, ...]] = ContextVar("ledgers", default=())
_judge: ContextVar[str | None] = ContextVar("judge", default=None)
_trainer: ContextVar[str | None] = ContextVar("trainer", default=None)


@contextmanager
def ledger() -> Iterator[Ledger]:
    """Collects every annotation access made inside the block, in this thread and in nested ledgers alike."""
    book = Ledger()
    token = _ledgers.set((*_ledgers.get(), book))
    try:
        yield book
    finally:
        _ledgers.reset(token)


@contextmanager
def judging(reader: str) -> Iterator[None]:
    """Opens ground truth for the block; ``reader`` names who reads, for the ledger.

    Raises:
        FirewallError: training is in progress.
    """
    if _trainer.get() is not None or _training_threads():
        raise FirewallError(_refusal("open ground truth", _trainer.get() or "training"))
    token = _judge.set(reader)
    try:
        yield
    finally:
        _judge.reset(token)


@contextmanager
def training(trainer: str) -> Iterator[None]:
    """Shuts ground truth for the block, in this thread and, while it lasts, in every other thread too."""
    token = _trainer.set(trainer)
    judge_token = _judge.set(None)
    _guard.enter()
    try:
        yield
    finally:
        _guard.leave()
        _judge.reset(judge_token)
        _trainer.reset(token)


def read(source: str, split: str) -> None:
    """Called by every annotation reader before it hands out boxes or masks; notes the access or refuses it.

    Args:
        source: ``gt``, ``gt:<name>`` for anything made from it, or ``pseudo:<name>`` for anything made without.
        split: ``train``, ``val`` or ``test``.

    Raises:
        FirewallError: ``source`` is ground truth and no judge is at work, or training is in progress.
    """
    judge = _judge.get()
    if source.partition(":")[0] == "gt":
        trainer = _trainer.get()
        if trainer is not None or _training_threads():
            raise FirewallError(_refusal(f"read the ground-truth annotations of '{split}'", trainer or "training"))
        if judge is None:
            raise FirewallError(_refusal(f"read the ground-truth annotations of '{split}'", "code outside the judge"))
    access = Access(
        source, split, judge or _trainer.get() or "unnamed", datetime.now(UTC).isoformat(timespec="seconds")
    )
    for book in _ledgers.get():
        book.accesses.append(access)


def protect(path: Path) -> None:
    """Declares a ground-truth file: while training runs, opening it raises :class:`FirewallError`."""
    _guard.protect(path)


def protect_folder(folder: Path) -> None:
    """Declares every file below a folder as :func:`protect` does, those of archives with one file per image."""
    _guard.protect_folder(folder)


def is_protected(path: Path) -> bool:
    """Tells whether a file was declared ground truth with :func:`protect`, under this name or through links."""
    return _guard.is_protected(path)


def _refusal(action: str, who: str) -> str:
    return (
        f"Expected training to see images and class labels only, but {who} tried to {action}. "
        "Fix: remove the access from the method; scores against boxes are the judge's work "
        "('wsol-bench select' after training)."
    )


def _training_threads() -> bool:
    return _guard.depth > 0


class _FileGuard:
    """Refuses to open protected files while training; installed as an audit hook at its first use."""

    def __init__(self) -> None:
        self.depth = 0
        self._paths: set[str] = set()
        self._folders: set[str] = set()
        self._installed = False
        self._lock = threading.Lock()

    def protect(self, path: Path) -> None:
        with self._lock:
            self._paths.add(os.path.realpath(path))

    def protect_folder(self, folder: Path) -> None:
        with self._lock:
            self._folders.add(os.path.realpath(folder) + os.sep)

    def is_protected(self, path: Path | str) -> bool:
        real = os.path.realpath(path)
        return real in self._paths or any(real.startswith(folder) for folder in self._folders)

    def enter(self) -> None:
        with self._lock:
            self.depth += 1
            if not self._installed:
                sys.addaudithook(self._audit)
                self._installed = True

    def leave(self) -> None:
        with self._lock:
            self.depth -= 1

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        # The hook sees every audited event of the process: leave at once unless a file is opened during training.
        if event != "open" or not self.depth or not isinstance(args[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(args[0])
        if self.is_protected(path):
            raise FirewallError(_refusal(f"open the ground-truth file {path}", "a method"))


_guard = _FileGuard()
