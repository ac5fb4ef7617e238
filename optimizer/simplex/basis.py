"""A basis of HiGHS as two short texts, and back."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import highspy
import numpy as np

STATUSES = tuple(highspy.HighsBasisStatus.__members__.values())


def packed_statuses(statuses: Sequence[Any]) -> str:
    """One byte per column or row, compressed."""
    return base64.b64encode(zlib.compress(bytes(int(status) for status in statuses))).decode("ascii")


def basis_of(columns: str, rows: str) -> Any | None:
    """None where the texts are damaged."""
    try:
        found = [np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8) for text in (columns, rows)]
    except (ValueError, zlib.error):
        return None
    known = {int(status): status for status in STATUSES}
    if not all(set(np.unique(codes).tolist()) <= set(known) for codes in found):
        return None
    basis = highspy.HighsBasis()
    basis.col_status, basis.row_status = ([known[code] for code in codes.tolist()] for codes in found)
    basis.valid = True
    return basis
