"""The GPU benchmark runs from beginning to end, on a CPU and with tiny images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_gpu_benchmark_writes_its_report(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
    out = tmp_path / "gpu.md"
    command = [sys.executable, str(script), "--device", "cpu", "--tiny", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = out.read_text()
    for title in ("Exactness", "Small frames", "Live frames", "References", "Time per megapixel"):
        assert f"## {title}" in text
    assert "failed" not in text
    rows = [line for line in text.splitlines() if line.startswith("| microscopy | fp32")]
    assert len(rows) == 4
    assert all("-" not in row for row in rows)
