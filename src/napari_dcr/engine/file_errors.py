"""Errors of files in plain words; what a library says about a file comes last, in parentheses."""

from __future__ import annotations

import dis
import os
import re
import textwrap
from pathlib import Path
from types import TracebackType

CUT_OFF = "it is cut off or damaged"

_SAID_IN_FULL = (
    "mmap length is greater than file size",
    "unpack requires a buffer",
    "Truncated File Read",
    "End of file",
    "could not create decoder object",
    "codec can't decode byte",
    "corrupted IFD structure",
    # of numbers and XML
    "invalid literal for int()",
    "could not convert string to float",
    "unclosed token",
    "no element found",
    "not well-formed (invalid token)",
    # of CZI, ND2, MRC and HDF5
    "Not enough data read at offset",
    "Illegal data detected",
    "sub-block information do not match",
    "Invalid ChunkMap signature",
    "memory mapped length must be positive",
    "Couldn't read enough bytes for MRC",
    "truncated file: eof",
)
"""Parts of messages of libraries that say no more than that the file is cut off or damaged."""

_CLEARER = {
    "Unable to synchronously open file": "it is damaged, or it is not HDF5",
    "Map ID string not found": "it is not an MRC file, or its header is damaged",
    "not a Leica image file": "it is not a file of a Leica microscope, or it is cut off",
    "not a valid settings file": "it is not an OIF, or it is cut off",
    "Unable to open '": "it is cut off, or it is not an OpenEXR file",
    "No SIMPLE card found": "it is not a FITS file, which begins with the word SIMPLE",
}
"""Words for messages that say more, by a part of the message."""

_UNSUPPORTED = re.compile(r"not (yet )?(supported|implemented)|unsupported", re.IGNORECASE)

LONGEST = 200
"""Characters of the message of a library that are shown."""


def reason_of(error: BaseException, name: str = "", damaged: str = CUT_OFF) -> str:
    """Why a file cannot be read or written, in one line without its path.

    Libraries raise any type of exception for a damaged file. Their messages follow the plain words
    in parentheses, with the type of the exception, so that a fault of a program can be reported.

    Parameters
    ----------
    error : Exception
    name : str
        Path of the file, which is left out of the message of a library.
    damaged : str
        Plain words for all errors that have no words of their own.

    Examples
    --------
    >>> reason_of(RuntimeError("JXL_DEC_ERROR"))
    'it is cut off or damaged (RuntimeError: JXL_DEC_ERROR)'
    >>> reason_of(PermissionError(13, "Permission denied", "/a.tif"), "/a.tif")
    'permission denied'
    """
    text = " ".join(str(error).split())  # some messages have several lines
    if is_ours(error):
        return text.removeprefix("image: ")
    if is_of_system(error):
        return system_reason(error, name)
    if any(words in text for words in _SAID_IN_FULL):
        return damaged
    found = next((clear for words, clear in _CLEARER.items() if words in text), "")
    if found:
        return found
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(text):
        damaged = "it is of a kind that is not supported, or damaged"
    if name:
        text = text.replace(f"{name}: ", "").replace(name, Path(name).name)
    text = textwrap.shorten(text, LONGEST, placeholder=" ...")
    return f"{damaged} ({type(error).__name__}{': ' if text else ''}{text})"


def is_ours(error: BaseException) -> bool:
    """Whether this package has raised an error with a message of its own.

    A ValueError of ``int("a")``, for example, comes from a line of this package that is no ``raise``.
    """
    trace: TracebackType | None = error.__traceback__
    if trace is None or not isinstance(error, (ValueError, TypeError, OSError, MemoryError)):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code, module = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__"))
    is_raise = dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    return is_raise and module.partition(".")[0] == __name__.partition(".")[0]


def is_of_system(error: BaseException) -> bool:
    """Whether the operating system has raised an error; libraries raise OSErrors of their own."""
    return (
        isinstance(error, OSError)
        and error.errno is not None
        and error.strerror in (os.strerror(error.errno), getattr(error, "winerror", None))
    )


def system_reason(error: BaseException, name: str = "") -> str:
    """What the operating system says, without the number of the error.

    Parameters
    ----------
    error : OSError
    name : str
        Path of the file that the message is about; another file is named.
    """
    assert isinstance(error, OSError)
    words = str(error.strerror or error)
    words = words[:1].lower() + words[1:]
    other = error.filename2 if error.filename2 is not None else error.filename
    if not isinstance(other, (str, bytes)) or os.fsdecode(other) == name:
        return words
    return f"{os.fsdecode(other)}: {words}"


def in_plain_words(error: BaseException) -> str:
    """Message of an error without the numbers of the operating system, but with its path."""
    if is_of_system(error):
        return system_reason(error)
    if isinstance(error, OSError) and error.strerror:  # a message of ours beside the number
        return error.strerror
    return str(error)
