"""OME-TIFF images that are spread over several files, or have their metadata in another one."""

from __future__ import annotations

import uuid
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import ome_tiff, opening, writing
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.files import Picture
from napari_dcr.io.metadata import Metadata

from .conftest import FAST, dim, shell

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def write_set(
    folder: Path, axis: str, count: int, dtype: str, each: int = 1, companion: bool = False
) -> NDArray[np.generic]:
    """Write an image over several files; returns it along its own axis."""
    folder.mkdir(parents=True, exist_ok=True)
    planes = np.stack([dim(40, 56, dtype, seed) for seed in range(count * each)])
    names = [f"part_{n}.ome.tif" for n in range(count)]
    ids = [f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}" for name in names]
    sizes = {"T": 1, "C": 1, "Z": 1, axis: count * each}
    data = "".join(
        f'<TiffData First{axis}="{n * each + i}" IFD="{i}" PlaneCount="1">'
        f'<UUID FileName="{names[n]}">{ids[n]}</UUID></TiffData>'
        for n in range(count)
        for i in range(each)
    )
    channels = "".join(f'<Channel ID="Channel:0:{i}" Name="dye {i}"/>' for i in range(sizes["C"]))
    image = (
        '<Image ID="Image:0" Name="cells"><Pixels ID="Pixels:0" DimensionOrder="XYZCT"'
        f' Type="{dtype}" SizeX="56" SizeY="40" SizeZ="{sizes["Z"]}" SizeC="{sizes["C"]}"'
        f' SizeT="{sizes["T"]}" PhysicalSizeX="0.25" PhysicalSizeXUnit="µm">{channels}{data}</Pixels></Image>'
    )
    for number, name in enumerate(names):
        xml = f'{HEAD} UUID="{ids[number]}">{image}</OME>'
        if companion:
            xml = f'{HEAD} UUID="{ids[number]}"><BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:0"/></OME>'
        with tifffile.TiffWriter(folder / name) as writer:
            for i in range(each):
                writer.write(
                    planes[number * each + i], description=xml.encode() if i == 0 else None,
                    metadata=None, contiguous=False,
                )  # fmt: skip
    if companion:
        (folder / "set.companion.ome").write_text(
            f'{HEAD} UUID="urn:uuid:0">{image}</OME>', "utf-8"
        )
    return planes


CASES = [("T", 3, "uint8", 1, False), ("Z", 2, "uint16", 3, False), ("C", 3, "uint16", 1, True)]


@pytest.mark.parametrize(("axis", "count", "dtype", "each", "companion"), CASES)
def test_a_set_is_one_image(
    tmp_path: Path, axis: str, count: int, dtype: str, each: int, companion: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    planes = write_set(tmp_path / "in", axis, count, dtype, each, companion)
    first = tmp_path / "in" / "part_0.ome.tif"
    expected = napari_dcr.enhance(planes, axes=f"{axis.lower()}yx", **FAST)
    assert np.array_equal(napari_dcr.enhance(first, **FAST), expected)
    # In memory from another file of the set, by region, by the shell from one file and from the folder.
    last = tmp_path / "in" / f"part_{count - 1}.ome.tif"
    assert np.array_equal(napari_dcr.enhance(last, **FAST), expected)
    napari_dcr.enhance(first, out=tmp_path / "region.ome.tif", **FAST)
    assert shell(first, tmp_path / "single.ome.tif") == 0
    assert shell(tmp_path / "in", tmp_path / "out") == 0
    error = capsys.readouterr().err
    for number in range(1, count):
        assert f"part_{number}.ome.tif is part of the image of part_0.ome.tif" in error
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["part_0.ome.tif"]
    for path in ("region.ome.tif", "single.ome.tif", "out/part_0.ome.tif"):
        with tifffile.TiffFile(tmp_path / path) as file:
            assert file.is_ome
            assert len(file.pages) == count * each
            assert file.series[0].axes == f"{axis}YX"
            assert np.array_equal(file.series[0].asarray(), expected)
            xml = file.ome_metadata
        assert xml is not None
        assert "part_" not in xml
        assert "PhysicalSizeX" in xml
        root = ElementTree.fromstring(xml)
        assert [e.attrib for e in root.iter() if e.tag.endswith("TiffData")] == [{}]
    # Each page by itself, for readers that know no OME-XML.
    assert np.array_equal(tifffile.imread(tmp_path / "single.ome.tif", is_ome=False), expected)


@pytest.mark.parametrize("missing", ["part_1.ome.tif", "part_2.ome.tif"])
def test_a_missing_companion_is_named(
    tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "in", "T", 3, "uint8")
    (tmp_path / "in" / missing).unlink()
    first = tmp_path / "in" / "part_0.ome.tif"
    for out in (None, tmp_path / "o.tif"):
        with pytest.raises(ValueError, match=f"companion {missing} is missing"):
            napari_dcr.enhance(first, out=out, **FAST)
    assert shell(tmp_path / "in", tmp_path / "out") == 1
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("napari-dcr: ")]
    assert sum(f"companion {missing} is missing" in line for line in lines) == 2
    assert not (tmp_path / "out").exists()


def test_missing_metadata_are_named(tmp_path: Path) -> None:
    write_set(tmp_path, "C", 3, "uint16", companion=True)
    (tmp_path / "set.companion.ome").unlink()
    with pytest.raises(ValueError, match=r"metadata are in set\.companion\.ome"):
        napari_dcr.enhance(tmp_path / "part_0.ome.tif", **FAST)


def test_a_renamed_file_is_recognised(tmp_path: Path) -> None:
    planes = write_set(tmp_path, "T", 1, "uint8", each=3)
    (tmp_path / "part_0.ome.tif").rename(tmp_path / "other.ome.tif")
    result = napari_dcr.enhance(tmp_path / "other.ome.tif", **FAST)
    assert np.array_equal(result, napari_dcr.enhance(planes, axes="tyx", **FAST))


def test_planes_that_are_missing_from_the_file_are_an_error(tmp_path: Path) -> None:
    pixels = np.stack([dim(40, 56, seed=n) for n in range(3)])
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "TYX"}, photometric="minisblack")
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b'SizeT="3"', b'SizeT="5"').replace(b'PlaneCount="3"', b'PlaneCount="5"')
    )
    for out in (None, tmp_path / "o.tif"):
        with pytest.raises(ValueError, match="2 of its 5 planes are missing"):
            napari_dcr.enhance(path, out=out, **FAST)


@pytest.mark.parametrize(("axis", "written"), [("T", (0, 1, 2)), ("Z", (1, 3))])
def test_planes_that_were_never_written_are_pixels_without_data(
    tmp_path: Path, axis: str, written: tuple[int, ...]
) -> None:
    planes = np.stack([dim(40, 56, "uint16", n) for n in range(4)])
    xml = (
        f'{HEAD}><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"'
        f' SizeX="56" SizeY="40" SizeC="1" Size{axis}="4" Size{"TZ".replace(axis, "")}="1">'
        '<Channel ID="Channel:0:0"/>'
        + "".join(f'<TiffData IFD="{i}" First{axis}="{n}"/>' for i, n in enumerate(written))
        + "</Pixels></Image></OME>"
    )
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        for i, n in enumerate(written):
            description = xml.encode() if i == 0 else None
            writer.write(planes[n], description=description, metadata=None, contiguous=False)
    gone = np.array([n not in written for n in range(4)])
    masked = np.ma.MaskedArray(planes, np.broadcast_to(gone[:, None, None], planes.shape))
    axes = axis.lower() + "yx"
    options = FAST | {"link_frames": True}
    with pytest.warns(InputWarning, match=f"{gone.sum()} of its 4 planes were never written"):
        result = napari_dcr.enhance(path, **options)
    expected = napari_dcr.enhance(masked, axes=axes, **options)
    assert np.array_equal(result[~gone], np.ma.getdata(expected)[~gone])
    assert not result[gone].any()
    with pytest.warns(InputWarning, match="never written"):
        napari_dcr.enhance(path, out=tmp_path / "o.ome.tif", **options)
    assert np.array_equal(tifffile.imread(tmp_path / "o.ome.tif"), result)


def test_xml_with_prefixes_is_rewritten() -> None:
    xml = (
        '<?xml version="1.0"?><ome:OME xmlns:ome="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        ' UUID="urn:uuid:1"><ome:Image ID="Image:0"><ome:Pixels ID="Pixels:0" Type="uint16"'
        ' SignificantBits="12" BigEndian="true"><ome:Channel ID="Channel:0"/>'
        '<ome:TiffData IFD="0"><ome:UUID FileName="a.tif">urn:uuid:1</ome:UUID></ome:TiffData>'
        '<ome:TiffData IFD="1"/><ome:Plane TheZ="0"/></ome:Pixels></ome:Image></ome:OME>'
    )
    root = ElementTree.fromstring(ome_tiff.described_as_one(xml, np.dtype("float32")))
    assert "UUID" not in root.attrib
    pixels = next(e for e in root.iter() if e.tag.endswith("Pixels"))
    assert pixels.attrib == {"ID": "Pixels:0", "Type": "float", "BigEndian": "false"}
    assert [e.tag.rpartition("}")[2] for e in pixels] == ["Channel", "TiffData", "Plane"]


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_xml_is_adapted_with_any_quoting(quote: str, dtype: str) -> None:
    xml = (
        "<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06' Creator='a > b'"
        " UUID = 'urn:uuid:1'><Image ID='Image:0' Name='it&apos;s'><Pixels ID='Pixels:0' Type\n= 'uint8'"
        " BigEndian='true' SignificantBits='7'><Channel ID='Channel:0'/><MetadataOnly/>"
        "</Pixels></Image></OME>"
    ).replace("'", quote)
    root = ElementTree.fromstring(ome_tiff.described_as_one(xml, np.dtype(dtype)))
    assert "UUID" not in root.attrib
    pixels = next(e for e in root.iter() if e.tag.endswith("Pixels"))
    expected = {"uint16": "uint16", "float32": "float"}[dtype]
    assert pixels.attrib == {"ID": "Pixels:0", "Type": expected, "BigEndian": "false"}
    assert [e.tag.rpartition("}")[2] for e in pixels] == ["Channel", "TiffData"]


@pytest.mark.parametrize(("output", "bits"), [("same", 12), ("float32", 0)])
def test_the_bit_depth_of_the_camera_is_kept(output: str, bits: int, tmp_path: Path) -> None:
    """A second run must know where 12 bits saturate."""
    image, result = tmp_path / "in.ome.tif", tmp_path / "out.ome.tif"
    metadata = {"axes": "TYX", "SignificantBits": 12}
    tifffile.imwrite(image, np.full((2, 40, 50), 500, "u2"), metadata=metadata)
    napari_dcr.enhance(image, out=result, strength=0, output=output, **FAST)
    assert napari_dcr.open_image(result).bits == bits


CALIBRATED = Calibration(
    {"x": 0.25, "y": 0.25, "t": 2.0},
    {"x": "micrometer", "y": "micrometer", "t": "second"},
    channels=(Channel("DAPI", "FF0000"), Channel("GFP", "00FF00")),
)


@pytest.mark.parametrize("axes", ["lcyx", "tpcyx", "mczyx", "tczvyx"])
def test_an_axis_beside_time_depth_and_channel_keeps_the_calibration(
    tmp_path: Path, axes: str
) -> None:
    shape = (*(2,) * (len(axes) - 2), 16, 18)
    pixels = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    picture = Picture(pixels, axes, Metadata(calibration=CALIBRATED))
    writing.write(tmp_path / "out.ome.tif", picture)
    back = opening.read(tmp_path / "out.ome.tif")
    assert back.axes == axes
    assert np.array_equal(back.pixels, picture.pixels)
    found = back.metadata.calibration
    assert (found.sizes, found.units) == (CALIBRATED.sizes, CALIBRATED.units)
    assert found.channels == CALIBRATED.channels
    again = tmp_path / "again.ome.tif"
    writing.write(again, back)
    assert opening.read(again).metadata.calibration == found
    assert opening.read(again).axes == back.axes


@pytest.mark.parametrize(
    ("axes", "dtype", "what"),
    [("tyx", "float16", "pixels of float16"), ("lmcyx", "uint16", "the axes lmcyx")],
)
def test_a_calibration_that_ome_tiff_cannot_hold_gives_a_warning(
    tmp_path: Path, axes: str, dtype: str, what: str
) -> None:
    pixels = np.ones((2,) * (len(axes) - 2) + (16, 18), dtype)
    picture = Picture(pixels, axes, Metadata(calibration=CALIBRATED))
    with pytest.warns(InputWarning, match=f"cannot hold {what}, so the pixel sizes"):
        writing.write(tmp_path / "out.ome.tif", picture)
