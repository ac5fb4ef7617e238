"""Reads an arrival log: one row per request, when it came and how many tokens it read and wrote.

The columns are those of the public Azure LLM inference logs (TIMESTAMP, ContextTokens, GeneratedTokens); the names other public logs use
are understood too. A file is read in blocks of columns, so that 27 million rows need well under a gigabyte while reading.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from optimizer.performance.trace_columns import AZURE, TraceColumns, not_utf8, read_header
from optimizer.spec.case_error import CaseError, shown

MOST_TOKENS = 100_000_000
LARGEST_GAP = 0.5  # of the span of the log
GAP_ROWS = 20  # of fewer rows a gap says nothing
BLOCK_BYTES = 16 * 2**20
ZONE = re.compile(r"([Zz]|[+-][0-9]{2}:?[0-9]{2})$")

Progress = Callable[[float], None]
"""Told the share of the file that has been read."""


@dataclass(frozen=True)
class Trace:
    """An arrival log: arrivals [n] in seconds since the first request (ascending), tokens [n] (positive)."""

    file: str
    arrivals_s: np.ndarray  # float64
    input_tokens: np.ndarray  # int32
    output_tokens: np.ndarray  # int32
    first: datetime | None
    """When the first request came (UTC where the log names no zone); None for a log whose stamps are no calendar stamps."""

    @property
    def span_s(self) -> float:
        return float(self.arrivals_s[-1] - self.arrivals_s[0])


def read_trace(path: str | Path, progress: Progress = lambda share: None) -> Trace:
    """Reads a log.

    Raises CaseError with file, column and line: unreadable, empty, not UTF-8, missing or ambiguous columns, rows of another length, a
    second header, stamps that are no stamps or not ascending, tokens that are no whole numbers from 1, a single request, all requests at
    one instant, a gap of more than half of the log. Equal stamps are fine.
    """
    path, file = Path(path), str(path)
    columns = TraceColumns.of(file, read_header(path))
    stamps, inputs, outputs = [], [], []
    row, last, zone = 0, None, False
    try:
        size = max(1, path.stat().st_size)
        with pa.OSFile(file) as source:
            for batch in _batches(source, columns):
                if row == 0 and batch.num_rows:
                    zone = bool(ZONE.search(batch.column(0)[0].as_py()))
                    _refuse_plain_numbers(file, columns, batch.column(0)[0].as_py())
                reader = _Block(path, columns, row, zone)
                stamp = reader.stamps(batch.column(0), last)
                stamps.append(stamp)
                inputs.append(reader.tokens(batch.column(1), 1))
                outputs.append(reader.tokens(batch.column(2), 2))
                row, last = row + batch.num_rows, stamp[-1] if len(stamp) else last
                progress(min(1.0, source.tell() / size))
    except pa.ArrowInvalid as error:
        raise _explained(path, columns, error) from error
    except OSError as error:
        raise CaseError(file, "", f"cannot be read ({error.strerror or error})", "give the path of an arrival log (CSV)") from error
    return _trace(path, columns, stamps, inputs, outputs)


def _trace(path: Path, columns: TraceColumns, stamps: list, inputs: list, outputs: list) -> Trace:
    file, rows = str(path), sum(len(part) for part in stamps)
    if rows == 0:
        raise CaseError(file, "", "has a header and no requests", "give a log with a row per request", 1)
    if rows == 1:
        raise CaseError(file, "", "has one request, which has no rate", "give a log with many requests", 2)
    ticks = np.concatenate(stamps)
    stamps.clear()
    seconds_per_tick = 1e-9 if columns.unit_s is None else columns.unit_s
    arrivals = (ticks - ticks[0]) * seconds_per_tick
    if arrivals[-1] == 0:
        raise CaseError(file, f"column {columns.names[0]}", "all requests came at one instant", "give stamps that tell requests apart", 2)
    gap = int(np.argmax(np.diff(arrivals)))
    length = float(arrivals[gap + 1] - arrivals[gap])
    if rows >= GAP_ROWS and length > LARGEST_GAP * arrivals[-1]:
        raise CaseError(
            file, f"column {columns.names[0]}", f"nothing came for {duration(length)} before this row, more than half of the log",
            "split the log there, or correct the stamp", _line_of(path, gap + 1),
        )  # fmt: skip
    first = None
    if columns.unit_s is None:
        first = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(ticks[0]) // 1000)
    return Trace(file, arrivals, np.concatenate(inputs), np.concatenate(outputs), first)


def duration(seconds: float) -> str:
    """12.3 s, 4.5 min, 3.2 h, 6.1 days."""
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.3g} s"


# the file --------------------------------------------------------------------------------------------------------------------------
def _batches(source: pa.NativeFile, columns: TraceColumns) -> arrow_csv.CSVStreamingReader:
    return arrow_csv.open_csv(
        source,
        read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES, column_names=columns.header, skip_rows=1),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(columns.names), column_types=dict.fromkeys(columns.names, pa.string()), strings_can_be_null=False
        ),
    )


def _refuse_plain_numbers(file: str, columns: TraceColumns, text: str) -> None:
    if columns.unit_s is None and re.fullmatch(r"\s*-?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*", text):
        raise CaseError(
            file, f"column {columns.names[0]}", f"is {shown(text)}, a number of an unknown unit",
            "write calendar stamps (2023-11-16 18:15:46.6805900), or call the column timestamp_ms or arrived_at (seconds)", 2,
        )  # fmt: skip


def _explained(path: Path, columns: TraceColumns, error: pa.ArrowInvalid) -> CaseError:
    """What pyarrow could not read, with the line."""
    said = str(error)
    if "UTF8" in said or "UTF-8" in said:
        with path.open("rb") as stream:
            for line, raw in enumerate(stream, 1):
                try:
                    raw.decode("utf-8-sig")
                except UnicodeDecodeError as wrong:
                    column = min(raw[: wrong.start].count(b","), len(columns.header) - 1)
                    return not_utf8(str(path), f"column {columns.header[column]}", line)
    if "Empty CSV file" in said or "Could not skip" in said:
        return CaseError(str(path), "", "has a header and no requests", "give a log with a row per request", 1)
    if "Expected" in said:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            for fields in reader:
                if fields and len(fields) != len(columns.header):
                    return CaseError(str(path), "", f"has {len(fields)} fields where the header has {len(columns.header)}",
                                     "write one field per column, separated by commas", reader.line_num)  # fmt: skip
    return CaseError(str(path), "", f"is not a CSV file that can be read ({said})", f"write rows of {','.join(AZURE)}")


def _line_of(path: Path, row: int) -> int:
    """The line in the file of the row-th request (from 0), blank lines counted."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        next(islice((fields for fields in reader if fields), row + 1, None))
        return reader.line_num


# values ----------------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Block:
    """The rows from `row` on (0: the first request) of a file."""

    path: Path
    columns: TraceColumns
    row: int
    zone: bool

    def stamps(self, column: pa.Array, last: float | None) -> np.ndarray:
        """Nanoseconds since 1970, or the numbers as they are; they do not fall, neither from the row before (`last`)."""
        texts = pc.call_function("utf8_trim_whitespace", [column])
        if self.columns.unit_s is None:
            kind = pa.timestamp("ns", "UTC") if self.zone else pa.timestamp("ns")
            right = "write calendar stamps such as 2023-11-16 18:15:46.6805900" + ("+00:00, all with a zone" if self.zone else "")
            values = self._cast(texts, kind, 0, "no stamp", right).cast(pa.int64()).to_numpy(zero_copy_only=False)
        else:
            values = self._cast(texts, pa.float64(), 0, "no number", "write a number").to_numpy(zero_copy_only=False)
            self._refuse(0, texts, ~np.isfinite(values), "no finite number", "write a number")
            self._refuse(0, texts, values < 0, "negative", "count time from the start of the log")
        before = np.concatenate([values[:1] if last is None else [last], values[:-1]])
        if (values < before).any():
            row = int(np.argmax(values < before))
            raise self._error(0, row, f"is {shown(column[row].as_py())}, earlier than the row before", "sort the log by this column")
        return values

    def tokens(self, column: pa.Array, which: int) -> np.ndarray:
        texts = pc.call_function("utf8_trim_whitespace", [column])
        right = "write a whole number of tokens from 1 on, or leave the request out"
        try:
            values = texts.cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            values = self._cast(texts, pa.float64(), which, "no number", right).to_numpy(zero_copy_only=False)
            self._refuse(which, texts, ~np.isfinite(values), "no finite number", right)
            self._refuse(which, texts, values != np.floor(values), "no whole number", right)
        self._refuse(which, texts, values < 0, "negative", right)
        self._refuse(which, texts, values == 0, "zero", right)
        self._refuse(which, texts, values > MOST_TOKENS, "more than any model can take", right)
        return values.astype(np.int32)

    def _cast(self, texts: pa.Array, kind: pa.DataType, which: int, problem: str, right: str) -> pa.Array:
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            row = _first_not(texts, kind)
        text = texts[row].as_py()
        if text.casefold() == self.columns.names[which].strip().casefold():
            raise self._error(which, row, "is the header once more", "remove this line")
        raise self._error(which, row, f"is {shown(text)}, {problem}", right)

    def _refuse(self, which: int, texts: pa.Array, wrong: np.ndarray, problem: str, right: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self._error(which, row, f"is {shown(texts[row].as_py())}, {problem}", right)

    def _error(self, which: int, row: int, problem: str, right: str) -> CaseError:
        name = self.columns.names[which]
        return CaseError(str(self.path), f"column {name}", problem, right, _line_of(self.path, self.row + row))


def _first_not(texts: pa.Array, kind: pa.DataType) -> int:
    """The first text that is not of this kind, of which there is at least one: by halving."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            texts[low:middle].cast(kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
