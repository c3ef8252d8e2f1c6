"""Tests of which files of a folder are enhanced, of the names of results, and of relative paths."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.io.jobs import find_jobs
from napari_dcr.io.outputs import Output, check_outputs

from .conftest import FAST, dim, dim_colour, shell


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zarr":
            zarr.create_array(path, data=dim(40, 56), chunks=(20, 20))
        elif path.suffix in (".tif", ".tiff"):
            tifffile.imwrite(path, dim(40, 56))
        else:
            PILImage.fromarray(dim_colour(40, 56)).save(path, "PNG")


def test_hidden_files_of_a_folder_are_skipped(tmp_path: Path) -> None:
    source = tmp_path / "in"
    make(
        source, "a.png", "._a.png", ".hidden/b.png", "deeper/c.bmp", "deeper/d.zarr", "e.WEBP",
        ".f.1234.partial.tif", ".1234abcd.partial.g.tif", "notes.txt",
    )  # fmt: skip
    (tmp_path / "in" / "Thumbs.db").write_bytes(b"x")
    jobs, left_out = find_jobs([str(source)], str(tmp_path / "out"))
    found = {str(j.source.relative_to(source)): str(j.target.relative_to(tmp_path)) for j in jobs}
    assert found == {
        "a.png": "out/a.png", "deeper/c.bmp": "out/deeper/c.png", "deeper/d.zarr": "out/deeper/d.zarr",
        "e.WEBP": "out/e.png",
    }  # fmt: skip
    assert {e.path.name for e in left_out} == {
        "._a.png", ".f.1234.partial.tif", ".1234abcd.partial.g.tif",
    }  # fmt: skip
    assert {e.reason for e in left_out} == {"is hidden"}


def test_results_within_the_input_folder_are_not_inputs(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "out/a.png", "b.zarr")
    jobs, _ = find_jobs([str(tmp_path)], str(tmp_path / "out"))
    assert [j.source.name for j in jobs] == ["a.png", "b.zarr"]
    outputs = [Output(j.target, "OUT", "the result") for j in jobs]
    with pytest.raises(ValueError, match=r"out/a\.png exists; add --overwrite"):
        check_outputs(outputs, (), overwrite=False, resume=False)


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["a.png"], "o.bmp", r"\.bmp is not written; allowed are \.tif"),
        (["a.png"], "o.xyz", r"\.xyz is not written"),
        (["a.png", "b.tif"], "both.png", "got both.png for several images; pass a folder"),
        (["."], "all.tif", "got all.tif for several images; pass a folder"),
        (["a.png", "b.tif"], "both.zarr", "got both.zarr for several images; pass a folder"),
        (["s3://bucket/a.tif"], "o.tif", "IN: got the URL 's3://bucket/a.tif'"),
        (["a.png"], "https://host/o.tif", "OUT: got the URL 'https://host/o.tif'"),
        (["none.png"], "o.png", "IN: none.png does not exist"),
        (["empty"], "o", r"IN: no \.tif, .* in empty"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], output: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.png", "b.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        find_jobs(inputs, output)


@pytest.mark.parametrize("output", ["o", "o.xyz/", "results v1.2", "there.png"])
def test_folders_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.png")
    (tmp_path / "there.png").mkdir()
    ((job,), _) = find_jobs(["a.png"], output)
    assert job.target == tmp_path / output.rstrip("/") / "a.png"


def test_the_home_folder_is_no_folder_named_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    make(home, "a.png")
    make(tmp_path, "~no-user.png")
    ((job,), _) = find_jobs(["~/a.png"], "~/res")
    assert (job.source, job.target) == (home / "a.png", home / "res" / "a.png")
    ((job,), _) = find_jobs(["~no-user.png"], "out")
    assert job.source == tmp_path / "~no-user.png"


def test_missing_inputs_do_not_stop_the_others(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "sub/b.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone")
    inputs = [str(tmp_path / name) for name in ("a.png", "sub/a.png", "link.png", "sub")]
    jobs, _ = find_jobs(inputs, str(tmp_path / "out"))
    assert [(job.source.name, job.problem) for job in jobs] == [
        ("a.png", ""),
        ("a.png", "does not exist"),
        ("link.png", f"is a link to {tmp_path / 'gone'}, which does not exist"),
        ("b.png", ""),
    ]
    assert [len(job.results) for job in jobs] == [1, 0, 0, 1]
    with pytest.raises(ValueError, match=r"IN: .*sub.a\.png does not exist"):
        find_jobs(inputs[:2], str(tmp_path / "out"), as_one=True)


URLS = ["s3://bucket/r.zarr", "https://host/o.tif", "gs://b/r.zarr", "memory://r.zarr", "file:///r.zarr",
        "file:r.zarr", "simplecache::s3://b/r.zarr", "http://h/r.ome.zarr"]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("as_path", [False, True])
def test_errors_quote_urls_as_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, as_path: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given: Any = Path(url) if as_path else url
    with pytest.raises(ValueError, match="^image: got the URL") as caught:
        napari_dcr.enhance(given, **FAST)
    assert as_path or url in str(caught.value)
    with pytest.raises(ValueError, match="^out: got the URL"):
        napari_dcr.enhance(dim(40, 56), out=given, **FAST)
    if not as_path:
        make(tmp_path, "a.png")
        assert shell(tmp_path / "a.png", given) == 1
        assert f"OUT: got the URL {url!r}" in capsys.readouterr().err
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("kind", "out"),
    [("path", None), ("path", "o.zarr"), ("array", "o.tif"), ("group", "o.ome.zarr"),
     ("level", None), ("tif", "o.zarr"), ("tiled", "o.tif"), ("tiled", None)],
)  # fmt: skip
def test_a_change_of_the_working_directory_has_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, out: str | None
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pixels = dim(300, 420, "uint16")
    source: Any = "in.zarr"
    if kind in ("path", "array"):
        array = zarr.create_array("in.zarr", data=pixels, chunks=(50, 60))
        source = "in.zarr" if kind == "path" else array
    elif kind in ("group", "level"):
        group = zarr.open_group("in.zarr", mode="w")
        group.create_array("0", data=pixels, chunks=(50, 60))
        axes = [{"name": a, "type": "space"} for a in "yx"]
        levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}]
        group.update_attributes(
            {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}}
        )
        source = group if kind == "group" else "in.zarr/0"
    else:
        source = "in.tif"
        how: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"} if kind == "tiled" else {}
        tifffile.imwrite(source, pixels, photometric="minisblack", **how)

    def leave(step: napari_dcr.Progress) -> None:
        if step.done:
            os.chdir(tmp_path / "elsewhere")

    result = napari_dcr.enhance(source, out=out, tile=128, progress=leave, **FAST)
    assert Path.cwd().name == "elsewhere"
    expected = napari_dcr.enhance(pixels, **FAST)
    if out == "o.tif":
        assert result == tmp_path / "here" / "o.tif"
        assert np.array_equal(tifffile.imread(result), expected)
    else:
        array = result["0"] if hasattr(result, "array_keys") else result
        assert np.array_equal(array[...], expected)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("layout", ["zarr 2", "zarr 3"])
def test_the_root_of_bioformats2raw_names_its_images(tmp_path: Path, layout: str) -> None:
    root = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=int(layout[-1]))
    marker = {"bioformats2raw.layout": 3}
    root.update_attributes(marker if layout == "zarr 2" else {"ome": {"version": "0.5", **marker}})
    root.create_group("OME")
    for name in ("0", "1", "10"):
        image = root.create_group(name)
        image.create_array("0", data=dim(40, 56))
        multiscales = [
            {"version": "0.4", "axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}
        ]
        image.update_attributes({"multiscales": multiscales})
    with pytest.raises(ValueError, match=r"holds images 0, 1, 10; pass one: .*x\.zarr/0$"):
        napari_dcr.enhance(tmp_path / "x.zarr", **FAST)
    assert napari_dcr.enhance(tmp_path / "x.zarr" / "1", **FAST).shape == (40, 56)


def test_the_error_for_a_plate_suggests_a_field(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "p.zarr", mode="w")
    root.update_attributes({"ome": {"version": "0.5", "plate": {"wells": [{"path": "B/3"}]}}})
    with pytest.raises(ValueError, match=r"is a plate; pass a field .*p\.zarr/B/3/0\."):
        napari_dcr.enhance(tmp_path / "p.zarr", **FAST)


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.zarr"])
def test_the_error_names_a_zip_with_the_suffix_zarr(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as file:
        file.writestr("zarr.json", "{}")
    with pytest.raises(ValueError, match=rf"{name} is a zip, not a folder; unpack it"):
        napari_dcr.enhance(tmp_path / name, **FAST)
    assert shell(tmp_path / name, tmp_path / "o.tif") == 1
    assert "is a zip" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["a.tif", "./sub/../a.tif", "link.tif", "second.ome.tif"])
def test_out_must_not_be_a_file_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.tif")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.tif").symlink_to("a.tif")
    source = "a.tif"
    if out == "second.ome.tif":
        source = "first.ome.tif"
        for name in (source, out):
            parts = "".join(
                f'<TiffData FirstC="{c}" PlaneCount="1"><UUID FileName="{n}">urn:uuid:{c}</UUID></TiffData>'
                for c, n in enumerate((source, out))
            )
            xml = (
                '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
                '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="56" SizeY="40"'
                f' SizeZ="1" SizeC="2" SizeT="1">{parts}</Pixels></Image></OME>'
            )
            tifffile.imwrite(name, dim(40, 56), description=xml, metadata=None)
    before = (tmp_path / out).read_bytes()
    with pytest.raises(ValueError, match="inputs are never overwritten"):
        napari_dcr.enhance(source, out=out, **FAST)
    assert (tmp_path / out).read_bytes() == before


def test_placeholders_in_names_of_inputs_are_no_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    stacks = {"t%d.tif": np.stack([dim(40, 56)] * 3), "t1.tif": dim(40, 56)}
    for name, stack in stacks.items():
        axes = "TYX"[-stack.ndim :]
        tifffile.imwrite(folder / name, stack, photometric="minisblack", metadata={"axes": axes})
    make(folder, "im_%04d.png")
    assert shell(folder, tmp_path / "out") == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*stacks, "im_%04d.png"}
    for name, stack in stacks.items():
        assert tifffile.imread(tmp_path / "out" / name).shape == stack.shape
    for name in (*stacks, "im_%04d.png"):
        assert shell(folder / name, tmp_path / "single") == 0
        assert (tmp_path / "single" / name).is_file()
        assert shell(folder / name, tmp_path / "single") == 1  # it exists
    assert len(list((tmp_path / "single").iterdir())) == 3


def test_placeholders_of_a_recording_are_no_patterns_in_a_folder(tmp_path: Path) -> None:
    folder, names = tmp_path / "in", ["t%d.tif", "u%d.tif"]
    folder.mkdir()
    for name in names:
        stack = np.stack([dim(40, 56)] * 3)
        tifffile.imwrite(folder / name, stack, photometric="minisblack", metadata={"axes": "TYX"})
    assert shell(folder, tmp_path / "out", "--as-one", "t") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    assert shell(folder, tmp_path / "f%d.png", "--as-one", "t") == 0
    assert len(list(tmp_path.glob("f?.png"))) == 6


def test_a_pattern_must_not_replace_the_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "t1.png"
    PILImage.fromarray(dim_colour(40, 56)).save(source)
    before = source.read_bytes()
    with pytest.raises(ValueError, match="inputs are never overwritten"):
        napari_dcr.enhance(source, out=tmp_path / "t%d.png", axes="tyx", **FAST)
    assert shell(source, tmp_path / "t%d.png", "--axes", "tyx", "--overwrite") == 1
    assert "t%d.png would replace the input file" in capsys.readouterr().err
    assert source.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_pipes_are_not_read(tmp_path: Path) -> None:
    make(tmp_path / "in", "a.tif")
    os.mkfifo(tmp_path / "in" / "pipe.tif")
    jobs, left_out = find_jobs([str(tmp_path / "in")], str(tmp_path / "out"))
    assert [job.source.name for job in jobs] == ["a.tif"]
    assert [(each.path.name, each.reason) for each in left_out] == [
        ("pipe.tif", "is neither a file nor a folder")
    ]
    with pytest.raises(ValueError, match="pipe.tif is neither a file nor a folder"):
        find_jobs([str(tmp_path / "in" / "pipe.tif")], str(tmp_path / "out"))


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.tif")
    for source, target, name in (("", "x", "IN"), (str(tmp_path / "a.tif"), "", "OUT")):
        with pytest.raises(ValueError, match=f"{name}: got an empty path"):
            find_jobs([source], target)
