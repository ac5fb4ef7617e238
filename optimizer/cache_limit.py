"""The directory of compiled code holds so many bytes at most: what was used longest ago goes first.

Counted and removed are this program's files of executables and the entries of JAX's own cache, by their names; what else lies there is
not ours. Several processes may do this at once: a file that another has removed is gone, and one that is read is read whole.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

VARIABLE, MOST_BYTES = "CAPACITY_CACHE_BYTES", 1 << 30
EXECUTABLES = re.compile(r"shape-[0-9a-f]{40}\.executables")
PART = re.compile(r"\.shape-[0-9a-f]{40}\.executables\..+")  # of one that is being written
OF_JAX = re.compile(r".+-[0-9a-f]{64}-cache")
PART_S = 3600.0  # no writing takes as long: its process was killed


class Entry(NamedTuple):
    used_s: float
    size_bytes: int
    path: Path


def most_bytes() -> int:
    """What $CAPACITY_CACHE_BYTES says, or 1 GiB. What it says wrongly is told on standard error, once."""
    return _read(os.environ.get(VARIABLE, ""))


@cache
def _read(said: str) -> int:
    if said == "" or said.isdecimal():
        return int(said or MOST_BYTES)
    print(f"capacity: {VARIABLE} is {said!r} and no whole number of bytes; {MOST_BYTES} is taken", file=sys.stderr)
    return MOST_BYTES


def keep_within(directory: Path, most: int) -> int:
    """Remove entries until at most `most` bytes are left; returns how many bytes were removed. A directory that cannot be read or written
    stays as it is."""
    found = sorted(entries(directory))
    excess, removed = sum(entry.size_bytes for entry in found) - most, 0
    for entry in found:
        if removed >= excess:
            break
        with suppress(FileNotFoundError):  # another process was faster: its bytes are gone all the same
            try:
                entry.path.unlink()
            except PermissionError:
                continue
        with suppress(OSError):  # what JAX notes beside an entry
            entry.path.with_name(f"{entry.path.name.removesuffix('-cache')}-atime").unlink()
        removed += entry.size_bytes
    return removed


def entries(directory: Path) -> list[Entry]:
    """What counts and may be removed: plain files with names of ours or of JAX's cache."""
    found, now = [], time.time()
    with suppress(OSError), os.scandir(directory) as listed:
        for item in listed:
            part = PART.fullmatch(item.name)
            if not (part or EXECUTABLES.fullmatch(item.name) or OF_JAX.fullmatch(item.name)):
                continue
            with suppress(OSError):
                told = item.stat(follow_symlinks=False)
                used = max(told.st_mtime, told.st_atime)
                if stat.S_ISREG(told.st_mode) and not (part and now - used < PART_S):
                    found.append(Entry(used, told.st_size, Path(item.path)))
    return found
