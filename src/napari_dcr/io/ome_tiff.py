"""OME-TIFF: images that are stored in several files, and their XML.

OME Data Model and File Formats 6.3, "OME-TIFF specification", sections on multi-file sets and
on binary-only files.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_dcr.io.files import without_log

NAMES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf")

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'

_TYPES = {"float32": "float", "float64": "double"}

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""Dtypes that OME-XML defines."""


def is_named(path: Path) -> bool:
    """Whether a path has the suffix of an OME-TIFF."""
    return path.name.lower().endswith(NAMES)


def external_xml(path: Path, xml: str) -> str | None:
    """XML for a file without metadata of its own, from the companion file that it names.

    Raises
    ------
    ValueError
        If that file is missing or damaged; the message names it.
    """
    element = _find(_parsed(xml), "BinaryOnly")
    if element is None:
        return None
    name = element.get("MetadataFile", "")
    companion = path.parent / name
    if not name or not companion.is_file():
        raise ValueError(
            f"its metadata are in {name or 'a file without a name'}, which is not in the same folder"
        )
    try:
        text = companion.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"its companion {name} cannot be read: {error}") from error
    if _parsed(text) is None:
        raise ValueError(f"its companion {name} is damaged: it holds no XML")
    return text


def files_of(path: Path, xml: str) -> list[Path]:
    """Files in which an image is stored, in the order of its XML.

    Raises
    ------
    ValueError
        If a file is missing; the message names it.
    """
    root = _parsed(xml)
    if root is None:
        return [path]
    own = root.get("UUID")
    found: list[Path] = []
    for element in root.iter():
        if _tag(element) != "UUID" or "FileName" not in element.attrib:
            continue
        name = element.attrib["FileName"]
        # A renamed file is recognised by its identifier.
        mine = own is not None and element.text == own and not (path.parent / name).is_file()
        place = path if mine or name.lower() == path.name.lower() else path.parent / name
        if place not in found:
            if not place.is_file():
                raise ValueError(
                    f"its companion {name} is missing; an image needs all of its files"
                )
            found.append(place)
    return found or [path]


def of_image(xml: str, number: int, count: int) -> str | None:
    """XML that describes one image alone; None if it does not describe ``count`` images.

    Examples
    --------
    >>> of_image('<OME><Image ID="0">a</Image><Image ID="1">b</Image></OME>', 1, 2)
    '<OME><Image ID="1">b</Image></OME>'
    """
    found = list(re.finditer(r"<((?:\w+:)?)Image\b[^>]*>.*?</\1Image\s*>\s*", xml, re.DOTALL))
    if len(found) != count:
        return None
    for other in reversed(found):
        if other is not found[number]:
            xml = xml[: other.start()] + xml[other.end() :]
    return xml


def described_planes(xml: str) -> int | None:
    """Number of planes that an image's XML finds in files; None if it does not list them.

    An acquisition that was interrupted lists fewer planes than its sizes imply.  A file that was cut
    off lists planes that it no longer holds.

    Examples
    --------
    >>> described_planes('<OME><TiffData IFD="0" PlaneCount="3"/><TiffData IFD="3"/></OME>')
    4
    >>> described_planes("<OME><TiffData/></OME>")
    """
    root = _parsed(xml)
    blocks = [] if root is None else [e for e in root.iter() if _tag(e) == "TiffData"]
    if not blocks or any(not {"IFD", "PlaneCount"} & e.attrib.keys() for e in blocks):
        return None
    return sum(int(e.get("PlaneCount", 1)) for e in blocks)


def with_named_axis(axes: str, xml: str) -> str:
    """Replace the letter q of an axis of the type "other" by that in its description, if there is one.

    Examples
    --------
    >>> with_named_axis("qcyx", '<OME><ModuloAlongZ Type="other" TypeDescription="l"/></OME>')
    'lcyx'
    """
    root = _parsed(xml)
    if root is None or axes.count("q") != 1:
        return axes
    found = [
        e.get("TypeDescription", "")
        for e in root.iter()
        if _tag(e).startswith("ModuloAlong") and e.get("Type", "").lower() == "other"
    ]
    if len(found) != 1 or not re.fullmatch("[a-z]", found[0]) or found[0] in f"{axes}tzcyxs":
        return axes
    return axes.replace("q", found[0])


def check_companions(files: list[Path]) -> None:
    """Check the other files of an image; tifffile's own errors do not name them.

    Raises
    ------
    ValueError
        If a file is damaged; the message names it.
    """
    for path in files:
        try:
            with without_log(), tifffile.TiffFile(path) as file:
                if not len(file.pages):  # reads the chain of its pages
                    raise ValueError("it holds no picture")
        except Exception as error:  # any type, for a damaged file
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"its companion {path.name} is damaged: {reason}") from error


def described_as_one(xml: str, dtype: np.dtype[Any]) -> str:
    """Adapt XML to a file that holds all planes in order, with another pixel type."""
    name = _TYPES.get(dtype.name, dtype.name)
    with suppress(ElementTree.ParseError):
        # Normalise the variants of XML: quotes, spaces and character references.
        xml = HEAD + ElementTree.canonicalize(xml, with_comments=True)
    rest = r'(?:[^>"]|"[^"]*")*?'  # of a tag
    kind = re.compile(rf'(<(?:\w+:)?Pixels\b{rest}\sType=")([^"]*)(")')
    if any(found[2] != name for found in kind.finditer(xml)):  # the scale may differ, too
        xml = re.sub(r'\sSignificantBits="\d+"', "", xml)
    xml = kind.sub(rf"\g<1>{name}\g<3>", xml)
    xml = re.sub(rf'(<(?:\w+:)?Pixels\b{rest}\sBigEndian=")[^"]*(")', r"\g<1>false\g<2>", xml)
    # The identifier belongs to the old file.
    xml = re.sub(rf'(<(?:\w+:)?OME\b{rest})\sUUID="[^"]*"', r"\g<1>", xml)
    block = re.compile(r"<((?:\w+:)?)TiffData\b(?:[^>]*/>|[^>]*>.*?</\1TiffData>)\s*", re.DOTALL)
    first = block.search(xml)
    if first is None:
        return re.sub(
            r"<((?:\w+:)?)MetadataOnly(?:\s*/>|></(?:\w+:)?MetadataOnly>)", r"<\g<1>TiffData/>", xml,
            count=1,
        )  # fmt: skip
    prefix, start = first[1], first.start()
    return xml[:start] + f"<{prefix}TiffData/>" + block.sub("", xml[start:])


def _parsed(xml: str) -> Any:
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None


def _find(root: Any, name: str) -> Any:
    return None if root is None else next((e for e in root.iter() if _tag(e) == name), None)


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
