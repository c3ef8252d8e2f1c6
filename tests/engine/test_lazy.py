"""Lazy results are computed on request and equal eager ones, also on a cluster."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import lazy

FAST: dict[str, Any] = {"model": "photo", "depth": 1, "device": "cpu", "precision": "fp32"}


@pytest.fixture
def picture() -> NDArray[np.float32]:
    rng = np.random.default_rng(6)
    picture: NDArray[np.float32] = (rng.random((230, 340)) ** 3).astype(np.float32)
    return picture


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "SMALLEST_BLOCK", 1)


@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 150), st.integers(1, 150)),
    chunks=st.tuples(st.integers(1, 3), st.integers(20, 150), st.integers(20, 150)),
    axes=st.sampled_from(["tyx", "cyx", "yxs"]),
    link_frames=st.booleans(),
    detail=st.booleans(),
    depth=st.integers(0, 3),
    smallest=st.sampled_from([1, 60, 1024]),
)
def test_lazy_equals_eager(
    lively_model: Path,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    axes: str,
    link_frames: bool,
    detail: bool,
    depth: int,
    smallest: int,
) -> None:
    if axes == "yxs":
        shape, chunks = (*shape[1:], 3), (*chunks[1:], chunks[0])
    image = np.random.default_rng(shape[1]).random(shape, np.float32) ** 3
    options = {
        **FAST, "axes": axes, "link_frames": link_frames, "detail": detail, "depth": depth,
        "model": lively_model, "denoise": 0.4, "saturation": 1.3 if axes == "yxs" else 1.0,
    }  # fmt: skip
    eager = napari_dcr.enhance(image, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "SMALLEST_BLOCK", smallest)
        result = napari_dcr.enhance(da.from_array(image, chunks=chunks), **options)
    assert isinstance(result, da.Array)
    assert result.dtype == eager.dtype
    assert np.abs(result.compute() - eager).max() <= 1e-5


def test_a_task_per_block_and_no_weights_in_the_graph(
    picture: NDArray[np.float32], small_blocks: None
) -> None:
    image = da.from_array(picture, chunks=(60, 50))
    before = len(dict(image.dask))
    result = napari_dcr.enhance(image, **FAST)
    added = [key for key in dict(result.dask) if key not in dict(image.dask)]
    blocks = 4 * 7
    assert len(added) == blocks + 2  # and what the blocks share, and the one group of planes
    assert before >= blocks
    assert len(pickle.dumps({key: result.dask[key] for key in added})) < 200_000


def test_only_the_requested_blocks_are_computed(
    picture: NDArray[np.float32], small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[Any] = []
    block = lazy.enhance_block

    def counted(*arguments: Any) -> Any:
        computed.append(arguments[2])
        return block(*arguments)

    monkeypatch.setattr(lazy, "enhance_block", counted)
    result = napari_dcr.enhance(da.from_array(picture, chunks=(60, 50)), **FAST)
    assert not computed
    result[130:140, 220:230].compute()
    assert computed == [((120, 180), (200, 250))]


def test_small_chunks_are_merged(picture: NDArray[np.float32]) -> None:
    wide = da.from_array(np.tile(picture, (1, 9)), chunks=(17, 333))
    result = napari_dcr.enhance(wide, **{**FAST, "depth": 0})
    assert result.chunks == ((230,), (1332, 1332, 396))


def test_a_source_is_computed_once_however_many_blocks_need_it(
    picture: NDArray[np.float32], small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def make(block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        made.append(block_info[0]["chunk-location"])
        return block

    image = da.from_array(picture[:170, :190], chunks=(60, 50)).map_blocks(
        make, dtype=picture.dtype
    )
    result = napari_dcr.enhance(image, **FAST)
    made.clear()
    result.compute()
    assert len(made) == len(set(made)) == 3 * 4


def test_lazy_into_zarr(tmp_path: Path, picture: NDArray[np.float32]) -> None:
    image = da.from_array(picture, chunks=(100, 90))
    result = napari_dcr.enhance(image, out=tmp_path / "out.zarr", **FAST)
    assert isinstance(result, zarr.Array)
    assert np.abs(result[...] - napari_dcr.enhance(picture, **FAST)).max() <= 1e-5


def test_resume_is_not_for_lazy_results(picture: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="^resume: got True for a lazy result"):
        napari_dcr.enhance(da.from_array(picture), resume=True)


def test_other_weights_on_a_worker_are_refused(picture: NDArray[np.float32]) -> None:
    spec = lazy.RunnerSpec("photo", "0" * 64, "cpu", "fp32", 1, True, None)
    with pytest.raises(ValueError, match="^model: the weights 'photo' on this worker differ"):
        lazy._runner(spec)


def _kill_the_first(flag: str, block: NDArray[Any]) -> NDArray[Any]:
    """Kill the process that computes this, once."""
    try:
        Path(flag).unlink()
    except FileNotFoundError:
        return block
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return block


@pytest.mark.slow
def test_a_cluster_recovers_from_a_killed_worker(
    tmp_path: Path, picture: NDArray[np.float32], small_blocks: None
) -> None:
    from distributed import Client, LocalCluster

    flag = tmp_path / "kill"
    picture = picture[:120, :180]
    array = zarr.create_array(tmp_path / "in.zarr", data=picture, chunks=(60, 90))
    eager = napari_dcr.enhance(picture, **FAST)
    image = da.from_array(array, chunks=(60, 90)).map_blocks(
        lambda block: _kill_the_first(str(flag), block), dtype=picture.dtype, name="deadly"
    )
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 10}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            resources={"GPU": 1},
        ) as cluster,
        Client(cluster) as client,
    ):
        result = napari_dcr.enhance(image, **FAST)
        flag.touch()
        values = client.compute(result, resources={"GPU": 1}).result()
    assert not flag.exists()
    assert np.abs(values - eager).max() <= 1e-5
    assert (values == result.compute(scheduler="synchronous")).all()
