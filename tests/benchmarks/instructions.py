"""Instruction sets: this machine's own, or AVX2, to which an environment holds compilers and libraries."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

NATIVE, AVX2 = "native", "avx2"
COMPILER = Path(__file__).parents[1] / "engines" / "compiler_for.py"
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    NATIVE: {},
    AVX2: {
        "CC": f"{sys.executable} {COMPILER} x86-64-v3",
        "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
}  # fmt: skip
XLA_FLAGS: Mapping[str, str] = {NATIVE: "", AVX2: "--xla_cpu_max_isa=AVX2"}
"""How XLA is held to them."""
