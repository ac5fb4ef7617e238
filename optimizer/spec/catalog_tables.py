"""Reads the CSV tables of a catalog; what is wrong in one is reported with its file, row and column.

Rows are numbered as a spreadsheet numbers them: the header is row 1.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from .case_error import CaseError, did_you_mean, shown
from .schema_values import NAME_CHARACTERS

CONFIDENCES = ("high", "medium", "low", "assumed")
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Row:
    """One row of a table, every column as text without surrounding blanks."""

    file: Path
    number: int
    columns: Mapping[str, str]

    def error(self, column: str, problem: str, remedy: str) -> CaseError:
        return CaseError(self.file, f"row {self.number}.{column}", problem, remedy)

    def text(self, column: str) -> str:
        return self.columns.get(column, "")

    def name(self, column: str) -> str:
        value = self.text(column)
        if not value or not NAME_CHARACTERS.issuperset(value):
            raise self.error(column, f"is {shown(value)}, not a name", "use letters, digits and _ . : / - only")
        return value

    def choice(self, column: str, choices: tuple[str, ...]) -> str:
        value = self.text(column)
        if value not in choices:
            raise self.error(column, f"is {shown(value)}", f"write one of {', '.join(choices)}")
        return value

    def positive(self, column: str) -> float | None:
        """A number > 0, or None where the column is blank: nobody has published it."""
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self.error(column, f"is {shown(text)}, not a number", "write a number without unit, or leave it blank") from None
        if not math.isfinite(value) or "_" in text:
            raise self.error(column, f"is {shown(text)}", "write a finite number, or leave it blank")
        if value <= 0:
            raise self.error(column, f"is {text}", "write a number greater than 0; leave it blank if it is not known (never free)")
        return value

    def assumed(self) -> bool:
        return self.choice("confidence", CONFIDENCES) == "assumed"


def read_table(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of a CSV file with exactly these columns, in any order; wholly blank rows are passed over.

    Raises CaseError: unreadable, a column missing or unknown, a row of another length, a confidence or a date that is none.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CaseError(path, "", f"cannot be read ({error.strerror or error})", "check the catalog directory") from error
    if len(raw) > MOST_BYTES:
        raise CaseError(path, "", f"is larger than {MOST_BYTES // 2**20} MiB", "check that it is a catalog table")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaseError(path, f"row {raw[: error.start].count(10) + 1}", "is not UTF-8 text", "save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        _check_header(path, header, required, optional)
        for number, cells in enumerate(reader, start=2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise CaseError(
                    path, f"row {number}", f"has {len(cells)} columns and the header {len(header)}", "put texts that hold commas in quotes"
                )
            row = Row(path, number, dict(zip(header, (cell.strip() for cell in cells), strict=True)))
            row.choice("confidence", CONFIDENCES)
            _check_date(row)
            yield row
    except csv.Error as error:
        raise CaseError(path, f"row {reader.line_num}", f"is not CSV ({error})", "check the quotes") from error


def _check_header(path: Path, header: list[str], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for column in header:
        if column not in required and column not in optional:
            raise CaseError(path, f"row 1.{column}", "is not a column of this table", did_you_mean(column, (*required, *optional)))
        if header.count(column) > 1:
            raise CaseError(path, f"row 1.{column}", "stands twice", "keep one of them")
    for column in required:
        if column not in header:
            raise CaseError(path, f"row 1.{column}", "is missing", f"write the columns {','.join(required)}")


def _check_date(row: Row) -> None:
    text = row.text("date")
    if text:
        try:
            date.fromisoformat(text)
        except ValueError:
            raise row.error("date", f"is {shown(text)}, not a date", "write YYYY-MM-DD") from None
