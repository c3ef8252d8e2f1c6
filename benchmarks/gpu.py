"""Everything worth knowing about a GPU, in one command and at most eight minutes.

    python benchmarks/gpu.py [--device cuda] [--out gpu.md] [--minutes 8] [--tiny]

Writes one Markdown file: exactness against the CPU in fp32, time per megapixel, batches of small
frames, overlap of transfers and computation, behaviour when memory runs out, peak memory, live frames,
and two reference points.  ``--tiny`` uses small images, to test the program itself on a CPU.
Measurements that do not fit into the time are left out, and named.
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import napari_dcr
from napari_dcr.engine import devices
from napari_dcr.engine.conditioning import ImageConditioning
from napari_dcr.engine.groups import Group
from napari_dcr.engine.parts import Part
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.engine.setup import Setup
from napari_dcr.enhancement import Options, run_to_completion
from napari_dcr.image.axes import Layout
from napari_dcr.io.opening import open_image
from napari_dcr.network import weights

MODELS = ("photo", "microscopy")

MACS = {"photo": 17_500, "microscopy": 57_500}
"""Multiplications per pixel at full depth, for the plain U-Net of equal cost."""


class Report:
    """Collects the sections of the report within a time limit; the file is written after each of them."""

    def __init__(self, device: torch.device, minutes: float, out: Path) -> None:
        self.device, self.out = device, out
        self._end = time.monotonic() + 60 * minutes
        self.lines: list[str] = []
        self.failed = 0

    def has(self, seconds: float) -> bool:
        """Whether a measurement of this duration still fits."""
        return time.monotonic() + seconds < self._end

    def section(self, title: str, measure: Callable[[], Iterator[str]]) -> None:
        """Add a section; an error in it is written down, and the next section still runs."""
        self.lines += ["", f"## {title}", ""]
        started = time.perf_counter()
        try:
            for line in measure():
                self.lines.append(line)
        except Exception:
            self.failed += 1
            self.lines += ["", "failed:", "```", traceback.format_exc().rstrip(), "```"]
        self.lines += ["", f"({time.perf_counter() - started:.0f} s)"]
        self.out.write_text("\n".join(self.lines) + "\n", "utf-8")
        print("\n".join(self.lines[self.lines.index(f"## {title}") :]), flush=True)

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def counts(shape: Sequence[int], seed: int = 0) -> NDArray[np.uint16]:
    """Dim recording of a camera."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    light = (40 + 30 * np.sin(x / 30) * np.cos(y / 40)).astype(np.float32)
    noise = rng.standard_normal(tuple(shape), np.float32)
    return (100 + light + noise * np.sqrt(light + 9)).clip(0).astype(np.uint16)


def exactness(report: Report, side: int) -> Iterator[str]:
    """Compare the device with the CPU in fp32, for tiles, the whole and the stages."""
    image, name = counts((side, side)), str(report.device)
    yield "| model | tiles | whole | stages | bf16 | fp16 |\n|---|---|---|---|---|---|"
    for model in MODELS:
        options: dict[str, Any] = {"model": model, "output": "float32"}
        expected = napari_dcr.enhance(image, **options, device="cpu", precision="fp32")
        full = float(np.ptp(expected)) or 1.0

        def off(result: NDArray[Any], expected: Any = expected, full: float = full) -> str:
            return f"{np.abs(result - expected).max() / full:.1e}"

        on = {**options, "device": name, "precision": "fp32"}
        tiles = napari_dcr.enhance(image, **on, tile=max(64, side // 4 // 8 * 8))
        whole = napari_dcr.enhance(image, **on)
        region = (slice(0, side), slice(0, side))
        steps = RegionEnhancer(open_image(image)).steps(Options(**on), region, stages=True)
        stages = run_to_completion(steps).image[-1]  # type: ignore[arg-type]
        cells = [off(tiles), off(whole), off(stages)]
        for precision in ("bf16", "fp16"):
            try:
                cells.append(off(napari_dcr.enhance(image, **{**on, "precision": precision})))
            except RuntimeError as error:
                cells.append(str(error).split("\n")[0])
        yield f"| {model} | {' | '.join(cells)} |"
    yield "\nLargest difference from the CPU's fp32 result, as a share of its range."


class Bench:
    """An image that has been surveyed, whose tiles can be run repeatedly."""

    def __init__(self, report: Report, image: NDArray[Any], **options: Any) -> None:
        self._report = report
        chosen = Options(device=str(report.device), **options)
        self.setup = Setup.resolve(chosen, image.dtype)
        layout = Layout.resolve(image.shape, "tyx"[-image.ndim :])
        conditioning = ImageConditioning(open_image(image))
        *_, shared = conditioning.condition(Group(0, None), layout, self.setup, "auto")
        assert shared is not None
        self._out = np.empty_like(image)
        self._grid = self.setup.runner.grid(layout.height, layout.width, shared.route)
        self._shared = shared
        self._planes = [
            conditioning.plane(frame, 0, layout, self.setup, shared, self._out)
            for frame in layout.frames()
        ]
        self._pixels = image.size

    def run(self) -> None:
        """Run all tiles once."""
        runner = self.setup.runner
        cores = self._grid.cut(runner.part_size(self._grid))
        parts = (
            Part(plane, self._shared.conditioning, core) for plane in self._planes for core in cores
        )
        for _ in runner.run(self._grid, parts):
            pass
        self._report.synchronize()

    def seconds_per_megapixel(self) -> float:
        """Best of up to three runs after a first one."""
        self.run()
        times = []
        while len(times) < 3 and sum(times) < 3:
            started = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - started)
        return min(times) / self._pixels * 1e6


def times(report: Report, sides: Sequence[int]) -> Iterator[str]:
    """Time per megapixel of the tiles: model, precision, depth and size."""
    yield "| model | precision | depth | " + " | ".join(f"{s}^2" for s in sides) + " |"
    yield "|---" * (3 + len(sides)) + "|"
    slow = False
    for model in MODELS:
        images = [counts((side, side)) for side in sides]
        for precision in ("fp32", "bf16", "fp16"):
            for depth in (3, 0, 1, 2):
                cells, per_megapixel = [], 0.0
                for image in images:
                    # The largest images take long; the estimate is from the next smaller one.
                    if not report.has(5 * per_megapixel * image.size / 1e6 + 20) or (
                        image.size > 1e8 and depth in (1, 2)
                    ):
                        cells.append("-")
                        slow = True
                        continue
                    bench = Bench(report, image, model=model, precision=precision, depth=depth)
                    per_megapixel = bench.seconds_per_megapixel()
                    cells.append(f"{1000 * per_megapixel:.2f}")
                yield f"| {model} | {precision} | {depth} | {' | '.join(cells)} |"
    yield "\nMilliseconds per megapixel, uint16, without the survey." + " -: left out." * slow


def whole_calls(report: Report, sides: Sequence[int]) -> Iterator[str]:
    """Time of enhance() with its survey."""
    yield "| model | " + " | ".join(f"{side}^2" for side in sides) + " |"
    yield "|---" * (1 + len(sides)) + "|"
    for model in MODELS:
        cells = []
        for side in sides:
            best = np.inf
            for seed in range(2):
                image = counts((side, side), seed)
                started = time.perf_counter()
                napari_dcr.enhance(image, model=model, device=str(report.device))
                best = min(best, time.perf_counter() - started)
            cells.append(f"{1e9 * best / side**2:.2f}")
        yield f"| {model} | {' | '.join(cells)} |"
    yield "\nMilliseconds per megapixel."


def small_frames(report: Report, shapes: Sequence[Sequence[int]]) -> Iterator[str]:
    """Stacks of small frames, which are computed in batches, and one at a time."""
    yield "| model | frames | batches, ms per megapixel | one at a time |\n|---|---|---|---|"
    for model in MODELS:
        for shape in shapes:
            if not report.has(20):
                yield f"| {model} | {' x '.join(map(str, shape))} | no time left | |"
                continue
            bench = Bench(report, counts(shape), model=model)
            batched = bench.seconds_per_megapixel()
            bench.setup.runner.batch_pixels = 0
            single = bench.seconds_per_megapixel()
            yield f"| {model} | {' x '.join(map(str, shape))} | {1000 * batched:.2f} | {1000 * single:.2f} |"


def overlap(report: Report, side: int) -> Iterator[str]:
    """Share of the time of transfers in which the device also computes, from a trace."""
    if report.device.type != "cuda":
        yield "Only on CUDA devices: others share the host's memory."
        return
    from torch.profiler import ProfilerActivity, profile

    bench = Bench(report, counts((side, side)), model="photo", tile=1024)
    bench.run()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        bench.run()
    kernels, copies = [], []
    for event in trace.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            span = event.time_range.start, event.time_range.end
            (copies if "Memcpy" in event.name else kernels).append(span)
    both = sum(
        max(0, min(stop, last) - max(start, first))
        for start, stop in copies
        for first, last in kernels
        if first < stop and last > start
    )
    total = sum(stop - start for start, stop in copies)
    begin = min(start for start, _ in kernels + copies)
    end = max(stop for _, stop in kernels + copies)
    busy = sum(stop - start for start, stop in kernels)
    yield f"- transfers: {total / 1000:.1f} ms, of which {both / max(total, 1e-9):.0%} beside computation"
    yield f"- computation: {busy / 1000:.1f} ms of {(end - begin) / 1000:.1f} ms"


def out_of_memory(report: Report, side: int) -> Iterator[str]:
    """Continue with smaller tiles under a memory cap, to the same result."""
    if report.device.type != "cuda":
        yield "Only on CUDA devices, whose memory can be capped."
        return
    image = counts((side, side))
    options: dict[str, Any] = {"model": "photo", "device": str(report.device), "precision": "fp32"}
    expected = napari_dcr.enhance(image, **options)
    total = torch.cuda.get_device_properties(report.device).total_memory
    messages: list[str] = []
    try:
        # The engine sees the free memory of the device, of which it may take 0.6 GB more.
        torch.cuda.empty_cache()
        cap = torch.cuda.memory_reserved(report.device) + 0.6e9
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total), report.device)
        result = napari_dcr.enhance(image, **options, progress=lambda step: messages.append(step.message))  # fmt: skip
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, report.device)
    found = list(dict.fromkeys(text for text in messages if "out of memory" in text))
    yield f"- messages: {'; '.join(found) or 'none'}"
    yield f"- largest difference from the result without a cap: {np.abs(result.astype(int) - expected).max()}"


def peak_memory(report: Report, sides: Sequence[int]) -> Iterator[str]:
    """Peak of the device's memory during a run."""
    if report.device.type != "cuda":
        yield "Only on CUDA devices; for CPUs see benchmarks/memory.py."
        return
    yield "| model | " + " | ".join(f"{side}^2" for side in sides) + " |"
    yield "|---" * (1 + len(sides)) + "|"
    for model in MODELS:
        cells = []
        for side in sides:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(report.device)
            napari_dcr.enhance(counts((side, side)), model=model, device=str(report.device))
            cells.append(f"{torch.cuda.max_memory_allocated(report.device) / 1e9:.2f}")
        yield f"| {model} | {' | '.join(cells)} |"
    yield "\nGB allocated."


def live(report: Report, side: int, count: int) -> Iterator[str]:
    """Frames per second of LiveEnhancer."""
    yield "| model | depth 1 | depth 3 |\n|---|---|---|"
    frames = counts((8, side, side))
    for model in MODELS:
        cells = []
        for depth in (1, 3):
            with napari_dcr.LiveEnhancer(
                model=model, depth=depth, device=str(report.device)
            ) as enhancer:
                for frame in frames:
                    enhancer(frame)
                started = time.perf_counter()
                for number in range(count):
                    enhancer(frames[number % 8])
                cells.append(f"{count / (time.perf_counter() - started):.1f}")
        yield f"| {model} | {' | '.join(cells)} |"
    yield f"\nFrames of {side} x {side}, uint16, per second."


class PlainUNet(nn.Module):
    """Plain U-Net in half precision with a given number of multiplications per pixel."""

    def __init__(self, macs: int) -> None:
        super().__init__()
        # One convolution of w to w channels at full size, two of w to 2 w at half, one back.
        width = max(8, int((macs / 9 / 2.5) ** 0.5) // 8 * 8)
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.full = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.coarse = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        self.macs = 9 * width * 2 + 9 * width**2 + (9 * 2 * width**2 + 9 * 4 * width**2 + 8 * width**2) / 4  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        relu = torch.relu
        full = relu(self.full(relu(self.first(x))))
        return self.last(full + relu(self.up(relu(self.coarse(relu(self.down(full)))))))


def references(report: Report, side: int) -> Iterator[str]:
    """CLAHE of OpenCV on the CPU, and a plain U-Net of about equal cost on the device."""
    yield "| reference | ms per megapixel |\n|---|---|"
    try:
        import cv2

        image = counts((side, side))
        clahe = cv2.createCLAHE(2.0, (8, 8))
        clahe.apply(image)
        started = time.perf_counter()
        clahe.apply(image)
        yield f"| OpenCV CLAHE, CPU | {1e9 * (time.perf_counter() - started) / side**2:.2f} |"
    except ImportError:
        yield "| OpenCV CLAHE, CPU | OpenCV is not installed |"
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        for model in MODELS:
            network = PlainUNet(MACS[model]).to(report.device, dtype)
            network = network.to(memory_format=torch.channels_last).eval()
            window = torch.rand(1, 1, side, side, dtype=dtype, device=report.device)
            window = window.contiguous(memory_format=torch.channels_last)
            try:
                with torch.inference_mode():
                    network(window)
                    report.synchronize()
                    started = time.perf_counter()
                    network(window)
                    report.synchronize()
            except RuntimeError as error:  # not implemented for this device
                yield f"| plain U-Net, {name} | {str(error).splitlines()[0]} |"
                continue
            seconds = time.perf_counter() - started
            yield (
                f"| plain U-Net of {network.macs / 1000:.0f} kMAC a pixel (as {model}), {name} |"
                f" {1e9 * seconds / side**2:.2f} |"
            )


def main() -> int:
    """Parse the arguments, measure and write the report; 1 if a section failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("gpu.md"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    device = devices.find_device(options.device)
    report = Report(device, options.minutes, options.out)
    tiny = options.tiny
    label = next((d.label for d in devices.list_devices() if d.name == str(device)), str(device))
    report.lines = [
        f"# napari-dcr {napari_dcr.__version__} on {label}",
        "",
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, `{device}`,"
        f" fast precision {devices.fast_precision(device)},"
        f" weights {', '.join(f'{m} {weights.load(m).sha256[:8]}' for m in MODELS)}."
        " Written by `python benchmarks/gpu.py`.",
    ]
    sides = (64, 96) if tiny else (512, 2048, 8192, 16384)
    report.section("Exactness", lambda: exactness(report, 96 if tiny else 1536))
    report.section("Live frames", lambda: live(report, 64 if tiny else 512, 4 if tiny else 100))
    report.section("Transfers", lambda: overlap(report, 4096))
    report.section("Out of memory", lambda: out_of_memory(report, 4096))
    report.section("Peak memory", lambda: peak_memory(report, sides[:3]))
    report.section("References", lambda: references(report, 64 if tiny else 2048))
    report.section("Whole calls", lambda: whole_calls(report, sides[: 1 if tiny else 2]))
    report.section("Time per megapixel", lambda: times(report, sides))
    shapes = [(4, 30, 40)] if tiny else [(200, 30, 40), (100, 128, 128), (20, 512, 512)]
    report.section("Small frames", lambda: small_frames(report, shapes))
    return 1 if report.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
