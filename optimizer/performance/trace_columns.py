"""The header of an arrival log: which of its columns are the stamp, the input and the output tokens."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from optimizer.spec.case_error import CaseError, did_you_mean, nearest_name, shown

AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
KNOWN = (  # names of the three columns, in small letters, and the seconds of one unit of a stamp (None: a calendar stamp)
    {"timestamp": None, "arrived_at": 1.0, "timestamp_s": 1.0, "timestamp_ms": 1e-3},
    {"contexttokens": 1, "context_tokens": 1, "num_prefill_tokens": 1, "input_length": 1, "input_tokens": 1},
    {"generatedtokens": 1, "generated_tokens": 1, "num_decode_tokens": 1, "output_length": 1, "output_tokens": 1},
)


@dataclass(frozen=True)
class TraceColumns:
    names: tuple[str, str, str]  # as the file writes them
    header: list[str]
    unit_s: float | None

    @classmethod
    def of(cls, file: str, header: list[str]) -> TraceColumns:
        folded = [name.strip().casefold() for name in header]
        twice = next((name for name, small in zip(header, folded, strict=True) if small and folded.count(small) > 1), None)
        if twice is not None:
            raise CaseError(file, f"column {twice}", f"stands {folded.count(twice.strip().casefold())} times in the header",
                            "give every column its own name", 1)  # fmt: skip
        found = []
        for usual, known in zip(AZURE, KNOWN, strict=True):
            at = [i for i, name in enumerate(folded) if name in known]
            if not at:
                near = nearest_name(usual, header)
                remedy = f"did you mean `{near}`? Rename it" if near else f"{did_you_mean('', header)} and rename it, or add the column"
                raise CaseError(file, f"column {usual}", f"is missing; the header has {shown(','.join(header))}", remedy, 1)
            if len(at) > 1:
                both = " and ".join(header[i] for i in at[:2])
                raise CaseError(file, f"column {usual}", f"could be {both}", "keep one of them", 1)
            found.append(at[0])
        names = tuple(header[i] for i in found)
        return cls(names, header, KNOWN[0][folded[found[0]]])  # type: ignore[arg-type]


def read_header(path: Path) -> list[str]:
    """The names of the columns as the file writes them. Raises CaseError: unreadable, empty, not UTF-8."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.readline(2**16)
    except OSError as error:
        raise CaseError(file, "", f"cannot be read ({error.strerror or error})", "give the path of an arrival log (CSV)") from error
    if not raw.strip():
        raise CaseError(file, "", "is empty" if not raw else "begins with a blank line", f"begin with the header {','.join(AZURE)}", 1)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise not_utf8(file, "the header", 1) from None
    return next(csv.reader([text.rstrip("\r\n")]))


def not_utf8(file: str, where: str, line: int) -> CaseError:
    return CaseError(file, where, "is not UTF-8 text", "save the file as a CSV in UTF-8", line)
