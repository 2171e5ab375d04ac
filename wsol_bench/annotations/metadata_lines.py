"""Text files of comma-separated lines without header or quotes, and errors that name file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.errors import DataError

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class MetadataLines:
    """The lines of one file that are not blank.

    Attributes:
        path: the file.
        rows: the lines, without line end.
        numbers: the 1-based line number of each row.
    """

    path: Path
    rows: Sequence[str]
    numbers: Sequence[int]

    @classmethod
    def read(cls, path: Path) -> MetadataLines:
        """Reads a UTF-8 file; a byte-order mark, CRLF line ends, blank lines and a missing last newline are fine.

        Raises:
            DataError: the file is missing, unreadable, or not UTF-8 text.
        """
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise DataError("Expected this file but it does not exist.", path) from None
        except OSError as error:
            raise DataError(f"Expected a readable text file but got: {error.strerror}.", path) from error
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise DataError("Expected UTF-8 text; fix: save the file as UTF-8.", path, line) from error
        # Not splitlines(): it would also cut at characters such as U+2028 that a file name may hold.
        lines = text.replace("\r\n", "\n").split("\n")
        if lines and not lines[-1].strip():
            lines.pop()
        if all(lines) and not any(line.isspace() for line in lines):
            return cls(path, lines, range(1, len(lines) + 1))
        kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        return cls(path, [line for _, line in kept], [number for number, _ in kept])

    def __len__(self) -> int:
        return len(self.rows)

    def fail(self, row: int, message: str) -> NoReturn:
        """Raises :class:`DataError` at a row."""
        raise DataError(message, self.path, self.numbers[row])

    def split(self, form: str) -> list[list[str]]:
        """Cuts every row from the right, so that the first field may itself hold commas.

        Args:
            form: the expected line as a person writes it, ``id,x0,y0,x1,y1``.

        Raises:
            DataError: a row has too few fields.
        """
        commas = form.count(",")
        cut = [row.rsplit(",", commas) for row in self.rows]
        for row, fields in enumerate(cut):
            if len(fields) != commas + 1:
                self.fail(row, f"Expected '{form}' but got '{self.rows[row]}' ({len(fields)} of {commas + 1} fields).")
        return cut

    def integers(self, cut: Sequence[Sequence[str]], form: str) -> NDArray[np.int64]:
        """Converts all fields but the first: ``[rows, commas]`` int64, each within 32 bits.

        Args:
            cut: what :meth:`split` returned.
            form: the same form.

        Raises:
            DataError: a field is not an integer.
        """
        commas = form.count(",")
        try:
            values = np.array([int(field) for fields in cut for field in fields[1:]], dtype=np.int64)
        except (ValueError, OverflowError):
            self._fail_at_first_non_integer(cut, form)
        if values.size and int(np.abs(values).max()) > _INT32_MAX:
            row = int(np.abs(values).argmax()) // commas
            self.fail(row, f"Expected numbers within 32 bits in '{form}' but got '{self.rows[row]}'.")
        return values.reshape(-1, commas)

    def ids(self) -> tuple[str, ...]:
        """Returns the rows as image ids.

        Raises:
            DataError: an id climbs out of the dataset root, or occurs twice.
        """
        for row, image_id in enumerate(self.rows):
            problem = id_problem(image_id)
            if problem is not None:
                self.fail(row, f"Expected a path under the dataset root but got '{image_id}': {problem}.")
        if len(set(self.rows)) != len(self.rows):
            self._fail_at_first_duplicate(self.rows)
        return tuple(self.rows)

    def one_row_per_id(
        self, row_ids: Sequence[str], ids: tuple[str, ...], index: Mapping[str, int]
    ) -> NDArray[np.intp]:
        """Returns, for every row, the position of its id in ``ids``; each id must occur exactly once.

        Raises:
            DataError: an id occurs twice, is unknown, or has no row.
        """
        if tuple(row_ids) == ids:
            return np.arange(len(ids))
        positions = self.known_positions(row_ids, index)
        if len(set(row_ids)) != len(row_ids):
            self._fail_at_first_duplicate(row_ids)
        self.fail_if_missing(np.bincount(positions, minlength=len(ids)), ids, "line")
        return positions

    def known_positions(self, row_ids: Sequence[str], index: Mapping[str, int]) -> NDArray[np.intp]:
        """Returns, for every row, the position of its id.

        Raises:
            DataError: an id is not in ``index``.
        """
        positions = np.array([index.get(image_id, -1) for image_id in row_ids], dtype=np.intp)
        unknown = np.flatnonzero(positions < 0)
        if unknown.size:
            row = int(unknown[0])
            self.fail(
                row,
                f"Expected an id listed in image_ids.txt but got '{row_ids[row]}'"
                f"{_and_more(unknown.size)}; fix: add it there, or remove its lines from this file.",
            )
        return positions

    def fail_if_missing(self, counts: NDArray[np.intp], ids: tuple[str, ...], what: str) -> None:
        """Raises :class:`DataError` when a count is zero, naming the first ids without a ``what``."""
        missing = np.flatnonzero(counts == 0)
        if missing.size:
            listed = ", ".join(f"'{ids[i]}'" for i in missing[:3])
            raise DataError(
                f"Expected a {what} for each of the {len(ids)} ids in image_ids.txt but {missing.size} have none: "
                f"{listed}{', ...' if missing.size > 3 else ''}.",
                self.path,
            )

    def _fail_at_first_non_integer(self, cut: Sequence[Sequence[str]], form: str) -> NoReturn:
        for row, fields in enumerate(cut):
            for name, field in zip(form.split(",")[1:], fields[1:], strict=True):
                try:
                    int(field)
                except ValueError:
                    self.fail(row, f"Expected an integer for {name} in '{form}' but got '{field}'.")
        raise DataError(f"Expected integers in '{form}' but got a number too large to read.", self.path)

    def _fail_at_first_duplicate(self, row_ids: Sequence[str]) -> NoReturn:
        first: dict[str, int] = {}
        for row, image_id in enumerate(row_ids):
            if image_id in first:
                self.fail(row, f"Expected every id once but '{image_id}' is already on line {first[image_id]}.")
            first[image_id] = self.numbers[row]
        raise DataError("Expected every id once.", self.path)


def _and_more(total: int) -> str:
    return f" (and {total - 1} more such lines)" if total > 1 else ""
