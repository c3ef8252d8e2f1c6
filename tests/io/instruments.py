"""Write small files of instruments' formats that no library writes, from their descriptions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[Any]


def write_sif(
    path: Path, frames: Pixels, cycle: float = 0.05, announced: int | None = None
) -> Path:
    """Andor SIF of version 65559: a header of text lines, then little-endian float32 frames."""
    count, height, width = frames.shape
    area = f"65538 1 {height} {width} 1 1 1 0"
    first = ["65559 0 0 1 1700000000 -70.0 " + " " * 9, f"0 0.01 {cycle} {cycle} 1 \0 {cycle} 1e-06 0 1 2.0 0 0 1e-08 " + "0 " * 16 + "3e-07 rest"]  # fmt: skip
    lines = [
        "Andor Technology Multi-Channel File", "65538 1", " ".join(first), "DU897",
        f"{width} {height}", "4", "a.spc ", "65538 0", "", "65538 \x01 \x02 \x03 \x04", "0.0 0.0",
    ]  # fmt: skip
    head = "\n".join(lines[:3]) + "\n" + "DU897_BV\n"
    head += f"{width} {height}\n" + "4\nfile" + " \n" + "65538 " + "0\n" + "\n"
    head += "65538 " + "\x01" * 8 + "0.0 0.0\n"
    head += "".join("line\n" for _ in range(8)) + "1 none\n"
    head += "65539 " + "0 1 0 0\n" + "0 1 0 0\n" * 2 + "0\n" + "422\n13\n13\n"
    head += "".join(f"{len(word)}\n{word}" for word in ("Pixel number", "Counts", "Pixel number"))
    total = count if announced is None else announced
    head += f"65541 1 {height} {width} 1 {total} 1 {total * height * width} {height * width}\n"
    head += area + "\n" + "0\n" * total
    path.write_bytes(head.encode("latin-1") + frames.astype("<f4").tobytes())
    return path


def _lif_block(text: str) -> bytes:
    return struct.pack("<BI", 0x2A, len(text)) + text.encode("utf-16-le")


def write_lif(path: Path, images: Sequence[dict[str, Any]]) -> Path:
    """Leica LIF, version 2: XML, then the pixels of each image.

    Each image has ``name``, ``pixels``, ``dims`` (letters, slowest first, ``C`` among them),
    ``steps`` (metres or seconds by letter) and ``bits``.
    """
    numbers = {"X": 1, "Y": 2, "Z": 3, "T": 4, "λ": 5, "Λ": 9}
    elements, blocks = [], []
    for place, image in enumerate(images):
        pixels: Pixels = image["pixels"]
        dims: str = image["dims"]
        strides = dict(zip(dims, pixels.strides, strict=True))
        sizes = dict(zip(dims, pixels.shape, strict=True))
        bits = image.get("bits", 8 * pixels.itemsize)
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{bits}" NameOfMeasuredQuantity=""'
            f' Min="0" Max="1" Unit="" LUTName="{lut}" IsLUTInverted="0"'
            f' BytesInc="{number * strides.get("C", 0)}" BitInc="0"/>'
            for number, lut in enumerate(("Green", "Red", "Gray")[: sizes.get("C", 1)])
        )
        described = "".join(
            f'<DimensionDescription DimID="{numbers[a]}" NumberOfElements="{sizes[a]}" Origin="0"'
            f' Length="{image["steps"].get(a, 1) * (sizes[a] - 1)}" Unit="{"s" if a == "T" else "m"}"'
            f' BitInc="0" BytesInc="{strides[a]}"/>'
            for a in reversed(dims) if a != "C"
        )  # fmt: skip
        elements.append(
            f'<Element Name="{image["name"]}" Visibility="1" UniqueID="{place}"><Data><Image>'
            f"<ImageDescription><Channels>{channels}</Channels><Dimensions>{described}</Dimensions>"
            f'</ImageDescription></Image></Data><Memory Size="{pixels.nbytes}"'
            f' MemoryBlockID="MemBlock_{place}"/></Element>'
        )
        name = _lif_block(f"MemBlock_{place}")
        inner = struct.pack("<BQ", 0x2A, pixels.nbytes) + name
        blocks.append(struct.pack("<II", 0x70, len(inner)) + inner + pixels.tobytes())
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="p.lif" Visibility="1" UniqueID="x">'
        f'<Data><Experiment Path="p.lif"/></Data><Memory Size="0" MemoryBlockID="MemBlock_x"/>'
        f"<Children>{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    )
    body = _lif_block(xml)
    path.write_bytes(struct.pack("<II", 0x70, len(body)) + body + b"".join(blocks))
    return path


def write_oif(path: Path, pixels: Pixels, letters: str = "", left_out: int = -1) -> Path:
    """Olympus OIF: a settings file, and a folder with a TIFF for each plane."""
    folder = path.with_name(path.name + ".files")
    folder.mkdir()
    height, width = pixels.shape[-2:]
    for number, place in enumerate(np.ndindex(pixels.shape[:-2])):
        if number != left_out:
            name = "".join(f"{a}{i + 1:03}" for a, i in zip(letters, place, strict=True))
            tifffile.imwrite(folder / f"s_{name}.tif", pixels[place], photometric="minisblack")
    sizes = dict(zip(letters, pixels.shape[:-2], strict=True))
    lines = ["[Reference Image Parameter]", f"ImageHeight={height}", f"ImageWidth={width}",
             "HeightConvertValue=0.25", 'HeightUnit="um"', "WidthConvertValue=0.5", 'WidthUnit="um"',
             "ValidBitCounts=12", "[Axis Parameter Common]", f'AxisOrder="XY{letters}"']  # fmt: skip
    for number, (code, unit, step) in enumerate((("Z", "nm", 840), ("T", "ms", 0)), 3):
        count = sizes.get(code, 0)
        lines += [f"[Axis {number} Parameters Common]", f'AxisCode="{code}"', f"MaxSize={count}",
                  f"Interval={step}", "StartPosition=0.0", f"EndPosition={500.0 * (count - 1)}",
                  f'UnitName="{unit}"']  # fmt: skip
    kinds = ("Fluorescence", "Transmitted Light")
    for number in range(1, sizes.get("C", 1) + 1):
        lines += [f"[Channel {number} Parameters]", f'CH Name="CH{number}"', 'DyeName=""',
                  f'LightType="{kinds[(number - 1) % 2]}"']  # fmt: skip
    lines += ["[ProfileSaveInfo]", 'Name="x"', 'Version="2.0"']
    text = "\r\n".join(["[File Info]", 'DataName="x"', *lines]) + "\r\n"
    path.write_bytes(text.encode("utf-16"))
    return path


def _variant(name: str, kind: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(_variant(key, *each) for key, each in value.items())
        return f'<{name} runtype="CLxListVariant">{inner}</{name}>'
    return f'<{name} runtype="{kind}" value="{value}"/>'


def write_nd2(
    path: Path, frames: Pixels, loops: dict[str, int], *, bits: int = 12, period: float = 0.0,
    channels: int = 1, recorded: int | None = None,
) -> Path:  # fmt: skip
    """Nikon ND2 3.0: chunks with XML, frames (sequence, y, x, channel), and a map of the chunks."""
    count, height, width, components = frames.shape
    padded = -(-width * components * frames.itemsize // 4) * 4
    uint, number, text = "lx_uint32", "double", "CLxStringW"
    attributes = {
        "uiWidth": (uint, width), "uiWidthBytes": (uint, padded), "uiHeight": (uint, height),
        "uiComp": (uint, components), "uiBpcInMemory": (uint, 8 * frames.itemsize),
        "uiBpcSignificant": (uint, bits), "eCompression": ("lx_int32", 2),
        "uiSequenceCount": (uint, count if recorded is None else recorded),
    }  # fmt: skip
    experiment: dict[str, Any] = {}
    for letter, size in reversed(loops.items()):
        kind = {"T": 1, "P": 2, "Z": 4}[letter]
        parameters: dict[str, Any] = {"uiCount": (uint, size)}
        if letter == "T":
            parameters |= {"dStart": (number, 0), "dPeriod": (number, period), "dDuration": (number, 0)}  # fmt: skip
        if letter == "Z":
            parameters |= {"dZStep": (number, 0.5), "dZLow": (number, 0), "dZHigh": (number, 1), "bZInverted": ("bool", "false"), "dZHome": (number, 0), "iType": ("lx_int32", 0)}  # fmt: skip
        if letter == "P":
            points = {f"i{i:010}": ("", {"dPosX": (number, i), "dPosY": (number, 0), "dPosZ": (number, 0)}) for i in range(size)}  # fmt: skip
            parameters = {"uiCount": (uint, size), "Points": ("", points)}
        level = {"eType": (uint, kind), "uLoopPars": ("", parameters)}
        if letter == "P":
            valid = {f"i{i:010}": ("bool", "true") for i in range(size)}
            level["pItemValid"] = ("", valid)
        if experiment:
            level["ppNextLevelEx"] = ("", {"i0000000000": ("", experiment)})
        experiment = level
    planes = {
        f"i{i:010}": ("", {
            "sDescription": (text, f"dye {i}"), "uiColor": (uint, 255 << (8 * i)),
            "uiCompCount": (uint, components // channels),
            "pFluorescentProbe": ("", {"m_ExcitationSpectrum": ("", {"uiCount": (uint, 0)})}),
        })
        for i in range(channels)
    }  # fmt: skip
    picture = {
        "dCalibration": (number, 0.25), "bCalibrated": ("bool", "true"), "dAspect": (number, 1.0),
        "sPicturePlanes": ("", {"uiCount": (uint, channels), "sPlaneNew": ("", planes)}),
    }  # fmt: skip

    def xml(name: str, values: dict[str, Any]) -> bytes:
        body = _variant("no_name", "", {name: ("", values)})
        return f'<variant version="1.0">{body}</variant>'.encode()

    chunks = [
        (b"ImageAttributesLV!", xml("SLxImageAttributes", attributes)),
        (b"ImageMetadataSeqLV|0!", xml("SLxPictureMetadata", picture)),
        (b"ImageTextInfoLV!", xml("SLxImageTextInfo", {})),
    ]
    if experiment:
        chunks.append((b"ImageMetadataLV!", xml("SLxExperiment", experiment)))
    times = np.arange(count) * 250.0
    chunks.append((b"CustomData|AcqTimesCache!", times.astype("<f8").tobytes()))
    for i in range(count if recorded is None else recorded):
        rows = np.zeros((height, padded), np.uint8)
        rows[:, : width * components * frames.itemsize] = frames[i].reshape(height, -1).view("u1")
        chunks.append((f"ImageDataSeq|{i}!".encode(), bytes(8) + rows.tobytes()))
    magic = 0x0ABECEDA
    data = struct.pack("<IIQ32s64s", magic, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")
    data = data.ljust(4096, b"\0")
    table = b""
    for name, content in chunks:
        offset = len(data)
        header = struct.pack("<IIQ", magic, 4072, len(content)) + name
        # Eight bytes of time come first, so that pixels begin 4096 bytes after the chunk.
        data += header.ljust(4088, b"\0") + content
        data = data.ljust(-(-len(data) // 4096) * 4096, b"\0")
        table += name + struct.pack("<QQ", offset, len(content))
    place = len(data)
    table += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", place)
    data += struct.pack("<IIQ", magic, 32, len(table)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + table
    path.write_bytes(data)
    return path


def write_dcimg(path: Path, frames: Pixels, version: int = 0x1000000, top: int = 0) -> Path:
    """Hamamatsu DCIMG: of row 1023 of the sensor (version 7: of row 0) four pixels are stored separately."""
    count, height, width = frames.shape
    depth, padding = frames.itemsize, 4
    row = width * depth + padding
    line = (1023 - top) if version > 7 else 0
    stored = frames.copy()
    fours = np.zeros((count, 4), frames.dtype)
    if 0 <= line < height:
        fours = frames[:, line, :4].copy()
        stored[:, line, :4] = 0
    rows = np.zeros((count, height, row), np.uint8)
    rows[..., : width * depth] = stored.view(np.uint8).reshape(count, height, -1)
    times = [struct.pack("<II", 1700000000, 250000 + 50000 * n) for n in range(count)]
    head = 100
    image = row * height
    if version == 7:
        offset = 132
        data_end = offset + count * image
        four_at = 272 + 12 * count
        second = 136
        session = struct.pack(
            "<Q6I9IIQ", 0, *[0] * 6, count, depth, 0, width, row, height, image, 0, 0, offset, data_end
        ).ljust(offset, b"\0")  # fmt: skip
        footer = bytearray(272)
        struct.pack_into("<Q", footer, 8, second)
        struct.pack_into("<I", footer, 40, four_at + 4 * depth * count)
        struct.pack_into("<Q", footer, second + 48, 272)
        struct.pack_into("<Q", footer, second + 64, 272 + 4 * count)
        struct.pack_into("<QIIQ", footer, second + 88, four_at, 0, line * row, 4 * depth)
        counts = b"".join(struct.pack("<I", n) for n in range(count))
        body = session + rows.tobytes() + bytes(footer) + counts + b"".join(times) + fours.tobytes()
    else:
        offset = 760
        session = struct.pack(
            "<Q13I7I2IQ", 0, *[0] * 13, count, depth, 0, width, height, row, image, 0, 0, offset
        ).ljust(712, b"\0")  # fmt: skip
        session = (session + struct.pack("<4H", 0, width, top, height)).ljust(offset, b"\0")
        body = session + b"".join(
            rows[n].tobytes() + struct.pack("<I", n) + times[n] + fours[n].tobytes().ljust(20, b"\0")
            for n in range(count)
        )  # fmt: skip
    size = head + len(body)
    header = b"DCIMG\0\0\0" + struct.pack(
        "<I5I4IQ2IQ", version, *[0] * 5, 1, count, head, 0, size, 0, 0, size
    )
    path.write_bytes(header.ljust(head, b"\0") + body)
    return path


def write_lsm(path: Path, pixels: Pixels, bits12: bool = True) -> Path:
    """Zeiss LSM of t, c, y, x: a page with planar channels and a thumbnail for each time."""
    count, channels, height, width = pixels.shape
    values = np.zeros((), tifffile.TIFF.CZ_LSMINFO)
    values["MagicNumber"], values["StructureSize"] = 67127628, values.nbytes
    for name, n in (("X", width), ("Y", height), ("Z", 1), ("Channels", channels), ("Time", count)):
        values[f"Dimension{name}"] = n
    values["DataType"], values["ScanType"] = 2 if bits12 else 1, 3
    values["VoxelSizeX"], values["VoxelSizeY"], values["VoxelSizeZ"] = 2e-7, 3e-7, 1e-6
    with tifffile.TiffWriter(path) as file:
        for number in range(count):
            extra = [(34412, 1, values.nbytes, values.tobytes(), True)] if number == 0 else []
            how: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}  # fmt: skip
            file.write(pixels[number], extratags=extra, **how)
            file.write(np.zeros((channels, 8, 8), np.uint8), subfiletype=1, **how)
    names = b"".join(struct.pack("<I", 4) + f"Ch{n}".encode() + b"\0" for n in range(channels))
    colours = bytes([0, 255, 0, 0, 255, 0, 0, 0, 0, 0, 255, 0])[: 4 * channels]
    size = 24 + len(colours) + len(names)
    block = struct.pack("<6I", size, channels, channels, 24, 24 + len(colours), 0) + colours + names
    times = struct.pack("<ii", 8 + 8 * count, count) + np.arange(count, dtype="<f8").tobytes()
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags[34412].valueoffset
    data = path.read_bytes()
    values["OffsetChannelColors"], values["OffsetTimeStamps"] = len(data), len(data) + len(block)
    head = data[:place] + values.tobytes() + data[place + values.nbytes :]
    path.write_bytes(head + block + times)
    return path


def write_stk(path: Path, pixels: Pixels, z_step: int = 0) -> Path:
    """MetaMorph STK with 16 bits: a single page, followed by the other planes."""
    count, height, width = pixels.shape
    planes = b"".join(
        struct.pack("<6I", z_step, 1, 2460000, 1000 + 500 * n, 2460000, 0) for n in range(count)
    )
    start = 8 + pixels.nbytes
    unit = struct.pack("<I", 3) + b"um\0"
    unit_at, fraction_at = start + len(planes), start + len(planes) + len(unit)
    pairs_at = fraction_at + 8
    pairs = struct.pack("<10I", 3, 1, 4, fraction_at, 5, fraction_at, 6, unit_at, 0, 0)
    ifd_at = pairs_at + len(pairs)
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, height * width * 2),
        (33628, 4, 5, pairs_at), (33629, 5, count, start),
    ]  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags)
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, ifd_at) + pixels.astype("<u2").tobytes() + planes + unit
        + struct.pack("<II", 1, 4) + pairs + ifd + b"\0\0\0\0"
    )  # fmt: skip
    return path


def write_fluoview(path: Path, pixels: Pixels) -> Path:
    """Olympus FluoView of t, z, y, x."""
    values = np.zeros((), tifffile.TIFF.MM_HEADER)
    axes = zip(("X", "Y", "Z", "T"), pixels.shape[::-1], (0.2, 0.2, 1.5, 2.0), (b"um", b"um", b"um", b"s"), strict=True)  # fmt: skip
    for number, (name, size, step, unit) in enumerate(axes):
        values["Dimensions"][number] = (name.encode(), size, 0, step, unit)
    for number in range(4, 10):
        values["Dimensions"][number] = (b"", 1, 0, 0, b"")
    tifffile.imwrite(
        path, pixels.reshape(-1, *pixels.shape[-2:]), photometric="minisblack", metadata=None,
        extratags=[(34361, 1, values.nbytes, values.tobytes(), True), (34362, 12, 8, (0.0,) * 8, True)],
    )  # fmt: skip
    return path


def write_scanimage(path: Path, pixels: Pixels) -> Path:
    """ScanImage of z, t, c, y, x in 16 bits: a BigTIFF with a block of settings behind its header."""
    frames, channels, height, width = pixels.shape[1:]
    lines = [
        f"SI.hChannels.channelSave = [{';'.join(str(n + 1) for n in range(channels))}]",
        f"SI.hStackManager.framesPerSlice = {frames}",
        "SI.hStackManager.stackZStepSize = 2.5", "SI.hRoiManager.scanFrameRate = 30",
    ]  # fmt: skip
    settings = "\n".join(lines).encode() + b"\0"
    block = struct.pack("<4I", 0x07030301, 3, len(settings), 0) + settings
    first, plane, named = 16 + len(block), height * width * 2, b"SI.VERSION"
    size = 8 + 10 * 20 + 8 + 16  # of a directory, the next one's place and its text
    body, planes = b"", pixels.reshape(-1, height, width).astype("<u2")
    for number, each in enumerate(planes):
        here = first + number * (size + plane)
        last = number == len(planes) - 1
        tags = [
            (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 16, 1, here + size), (277, 3, 1, 1), (278, 4, 1, height), (279, 16, 1, plane),
            (305, 2, len(named) + 1, here + size - 16),
        ]  # fmt: skip
        body += struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *t) for t in tags)
        body += struct.pack("<Q", 0 if last else here + size + plane) + named.ljust(16, b"\0")
        body += each.tobytes()
    path.write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) + block + body)
    return path
