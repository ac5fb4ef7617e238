"""Reading arrival logs: the formats of public logs, and one sentence for everything that is wrong with a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from optimizer.performance import trace_file
from optimizer.performance.trace_file import duration, read_trace
from optimizer.spec import CaseError

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
START = datetime(2023, 11, 16, 18, 15, 46, tzinfo=UTC)


def log(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "log.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(count: int, step_s: float = 1.0) -> list[str]:
    return [f"{START + timedelta(seconds=step_s * i):%Y-%m-%d %H:%M:%S.%f}0,{100 + i},{7 + i}" for i in range(count)]


def text_of(lines: list[str], header: str = HEADER) -> str:
    return "\n".join([header, *lines]) + "\n"


# formats ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_public_format(tmp_path: Path, ending: str, mark: bytes) -> None:
    """Seven fractional digits, either line ending, with and without a byte-order mark, no line ending at the end."""
    lines = [HEADER, "2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:50.9951690,396,109", "2023-11-16 18:15:50.9951690,879,55"]
    trace = read_trace(log(tmp_path, mark + ending.join(lines).encode()))
    assert trace.arrivals_s.tolist() == pytest.approx([0.0, 4.314579, 4.314579], abs=1e-12)
    assert trace.input_tokens.tolist() == [374, 396, 879] and trace.output_tokens.tolist() == [44, 109, 55]
    assert trace.first == datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)
    assert trace.span_s == pytest.approx(4.314579)


@pytest.mark.parametrize(
    ("header", "first", "second", "gap"),
    [
        ("arrived_at,num_prefill_tokens,num_decode_tokens", "0.5", "2.25", 1.75),
        ("timestamp_ms,input_length,output_length", "0", "3000", 3.0),
        ("timestamp,context_tokens,generated_tokens", "2024-05-12 00:00:00.123456+00:00", "2024-05-12 02:00:01+02:00", 0.876544),
        ("Timestamp,ContextTokens,GeneratedTokens", "2023-11-16T18:15:46", "2023-11-16T18:15:47", 1.0),
    ],
)
def test_other_public_formats(tmp_path: Path, header: str, first: str, second: str, gap: float) -> None:
    trace = read_trace(log(tmp_path, f"{header}\n{first},10,2\n{second},11.0,3\n"))
    assert trace.arrivals_s.tolist() == pytest.approx([0.0, gap], abs=1e-9)
    assert trace.input_tokens.tolist() == [10, 11]
    assert (trace.first is None) == (not first.startswith("20"))


def test_columns_are_found_by_name_and_others_ignored(tmp_path: Path) -> None:
    header = "model,GeneratedTokens,TIMESTAMP,note,ContextTokens"
    trace = read_trace(log(tmp_path, f'{header}\nm,2,2023-11-16 18:15:46,"a, b",10\n\nm,3,2023-11-16 18:15:47,,11\n'))
    assert trace.input_tokens.tolist() == [10, 11] and trace.output_tokens.tolist() == [2, 3]


def test_blocks_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many blocks reads as one, and progress goes from little to all."""
    path = log(tmp_path, text_of(rows(5000)))
    whole = read_trace(path)
    monkeypatch.setattr(trace_file, "BLOCK_BYTES", 4096)
    shares: list[float] = []
    pieces = read_trace(path, shares.append)
    assert len(shares) > 10 and shares == sorted(shares) and shares[-1] == 1.0
    for name in ("arrivals_s", "input_tokens", "output_tokens"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
    assert len(whole.arrivals_s) == 5000 and whole.arrivals_s[-1] == 4999.0


# bad input -------------------------------------------------------------------------------------------------------------------------
GOOD = rows(30)


def with_row(index: int, row: str) -> str:
    return text_of([*GOOD[:index], row, *GOOD[index + 1 :]])


BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": ("", ["is empty", "TIMESTAMP,ContextTokens,GeneratedTokens"]),
    "blank first line": (f"\n{text_of(GOOD)}", ["begins with a blank line"]),
    "header only": (f"{HEADER}\n", ["has a header and no requests"]),
    "header without line ending": (HEADER, ["has a header and no requests"]),
    "one row": (text_of(GOOD[:1]), ["has one request, which has no rate", "line 2"]),
    "no header": ("\n".join(GOOD), ["column TIMESTAMP: is missing", "line 1"]),
    "missing column": (text_of(GOOD, "TIMESTAMP,ContextTokens,Other"), ["column GeneratedTokens: is missing", "ContextTokens"]),
    "misspelt column": (text_of(GOOD, f"TIME{HEADER[5:]}"), ["column TIMESTAMP: is missing", "did you mean `TIMETAMP`"]),
    "column twice": (text_of(GOOD, "TIMESTAMP,ContextTokens,ContextTokens"), ["column ContextTokens: stands 2 times in the header"]),
    "two inputs": (
        text_of([f"{row},9" for row in GOOD], "TIMESTAMP,ContextTokens,GeneratedTokens,input_length"),
        ["column ContextTokens: could be ContextTokens and input_length", "keep one"],
    ),
    "second header": (with_row(3, HEADER), ["column TIMESTAMP: is the header once more", "line 5", "remove this line"]),
    "unsorted": (with_row(3, "2023-11-16 18:15:40.0,5,5"), ["column TIMESTAMP", "earlier than the row before", "line 5", "sort"]),
    "no stamp": (with_row(3, "yesterday,5,5"), ["column TIMESTAMP: is the text 'yesterday', no stamp", "line 5", "2023-11-16"]),
    "blank stamp": (with_row(3, ",5,5"), ["column TIMESTAMP: is an empty text, no stamp", "line 5"]),
    "numbers as calendar stamps": (text_of(["0,5,5", "3,5,5"]), ["a number of an unknown unit", "line 2", "timestamp_ms"]),
    "negative tokens": (with_row(4, GOOD[4].rsplit(",", 2)[0] + ",-5,5"), ["column ContextTokens: is the text '-5', negative", "line 6"]),
    "zero tokens": (with_row(4, GOOD[4].rsplit(",", 1)[0] + ",0"), ["column GeneratedTokens: is the text '0', zero", "line 6", "from 1"]),
    "nan tokens": (with_row(4, GOOD[4].rsplit(",", 1)[0] + ",NaN"), ["column GeneratedTokens", "'NaN', no finite number", "line 6"]),
    "blank tokens": (with_row(4, GOOD[4].rsplit(",", 1)[0] + ","), ["column GeneratedTokens: is an empty text, no number", "line 6"]),
    "text for tokens": (with_row(4, GOOD[4].rsplit(",", 1)[0] + ",many"), ["'many', no number", "line 6"]),
    "part of a token": (with_row(4, GOOD[4].rsplit(",", 1)[0] + ",1.5"), ["'1.5', no whole number", "line 6"]),
    "impossible tokens": (with_row(4, GOOD[4].rsplit(",", 1)[0] + ",1e12"), ["more than any model can take", "line 6"]),
    "short row": (with_row(4, "2023-11-16 18:15:50.0,5"), ["has 2 fields where the header has 3", "line 6"]),
    "long row": (with_row(4, "2023-11-16 18:15:50.0,5,5,5"), ["has 4 fields where the header has 3", "line 6"]),
    "semicolons": (text_of([row.replace(",", ";") for row in GOOD], HEADER.replace(",", ";")), ["column TIMESTAMP: is missing"]),
    "latin-1 cell": (with_row(4, "2023-11-16 18:15:50.0,caf\xe9,5").encode("latin-1"), ["column ContextTokens: is not UTF-8", "line 6"]),
    "latin-1 header": (text_of(GOOD, f"{HEADER},\xe9").encode("latin-1"), ["the header: is not UTF-8", "line 1"]),
    "utf-16": (text_of(GOOD).encode("utf-16"), ["is not UTF-8"]),
    "one instant": (text_of([GOOD[0]] * 30), ["all requests came at one instant"]),
    "huge gap": (with_row(29, "2024-11-16 18:15:46.0,5,5"), ["nothing came for 366.0 days", "line 31", "split the log there"]),
    "negative time": (text_of(["-1,5,5", "3,5,5"], "arrived_at,input_length,output_length"), ["column arrived_at", "negative", "line 2"]),
    "infinite time": (text_of(["1,5,5", "inf,5,5"], "arrived_at,input_length,output_length"), ["no finite number", "line 3"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, tmp_path: Path) -> None:
    text, said = BAD[name]
    path = log(tmp_path, text)
    with pytest.raises(CaseError) as raised:
        read_trace(path)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.startswith(str(path))
    for part in said:
        assert part in sentence, sentence


@pytest.mark.parametrize("name", ["unsorted", "no stamp", "zero tokens", "short row", "second header"])
def test_lines_are_those_of_an_editor(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after blank lines and many blocks."""
    monkeypatch.setattr(trace_file, "BLOCK_BYTES", 256)
    text, said = BAD[name]
    assert isinstance(text, str)
    header, first, rest = text.split("\n", 2)
    with pytest.raises(CaseError) as raised:
        read_trace(log(tmp_path, f"{header}\n{first}\n\n\n{rest}"))
    line = next(int(part.removeprefix("line ")) for part in said if part.startswith("line "))
    assert f"line {line + 2}" in str(raised.value)


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="cannot be read"):
        read_trace(tmp_path / name)


def test_durations() -> None:
    assert [duration(s) for s in (0.1, 59.0, 3502.0, 7300.0, 604_800.0)] == ["0.1 s", "59 s", "58.4 min", "2.0 h", "7.0 days"]
