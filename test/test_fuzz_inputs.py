"""A short run of `bench/fuzz_inputs.py`: whatever becomes of a mutated input, it is no traceback and no silent loss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", ["bag", "mot", "yaml", "onnx", "video"])
def test_mutated_inputs_are_read_or_refused(kind: str) -> None:
    call = [sys.executable, "-m", "bench.fuzz_inputs", "--kind", kind, "--count", "60"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.rstrip().endswith("0 wrong")
