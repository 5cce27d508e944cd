"""Lines of a plain or gzip file, streamed, with every way of being broken told apart (DAT-03).

A file is gzip if it begins with gzip's two magic bytes; its name does not matter. Lines before a fault have
been delivered when the fault is raised, because streaming cannot know better. So nobody trades on a first
pass: `source.survey` reads a file to its end before a replay delivers the first observation of it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from appliance.domain.errors import PeerError

MAX_LINE = 4 * 1024 * 1024
"""Bytes. A full 5,000-level depth snapshot has 0.3 MB; a line above this is no market data."""

_GZIP_MAGIC = b"\x1f\x8b"


def read_lines(path: Path) -> Iterator[bytes]:
    """Every line with its newline; only the last one may lack it.

    Raises PeerError, with the number of lines read before it, when the file cannot be opened, a gzip stream
    is cut short or corrupt, or a line is longer than MAX_LINE.
    """
    number = 0
    try:
        with _open(path) as file:
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE and not line.endswith(b"\n"):
                    raise PeerError(
                        f"{path.name} is not a file of lines",
                        f"line {number + 1} is longer than {MAX_LINE} bytes ({path}:{number + 1})",
                        "check that this is the file you meant",
                    )
                number += 1
                yield line
    except EOFError as error:
        raise PeerError(
            f"{path.name} is cut short",
            f"the gzip stream ends without its checksum after {number} good lines ({path}:{number + 1})",
            f"copy or record the file again; `gzip -dc {path.name} > kept` keeps what came before the cut",
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise PeerError(
            f"{path.name} is corrupt",
            f"{error}; none of the {number} lines before it can be trusted ({path}:{number + 1})",
            "copy the file again from where it came from",
        ) from error
    except OSError as error:
        raise PeerError(
            f"{path.name} cannot be read",
            f"{error.strerror or error} after {number} lines ({path})",
            "check the path, its permissions and the disk",
        ) from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")
