"""The machine that computes: its processor, and the name that results say it by."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
from pathlib import Path

HOST = "HARNESS_HOST"
"""The environment variable with the name to write in the machine's place; empty: none."""
TUNING = (
    "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
)  # fmt: skip
"""Environment variables by which PyTorch's and NumPy's products take other instructions."""
LONGEST = 40
"""Most characters of a machine's name."""


@functools.cache
def processor() -> str:
    """Describe the processor by its model and instruction sets, or else by the machine's own name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    node = "" if facts else platform.node()
    return " ".join([platform.machine(), platform.processor(), node, *facts[:2]])


@functools.cache
def model() -> str:
    """Name the processor's model, as a person knows it; empty where the system does not tell."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@functools.cache
def kind() -> str:
    """Name the kind of processor: its model, and a digest of what else decides how it computes."""
    digest = hashlib.sha256("\0".join([processor(), *tuning()]).encode()).hexdigest()[:6]
    return f"{model() or platform.machine()} ({digest})"


def tuning() -> list[str]:
    """List the variables of TUNING with their values."""
    return [f"{name}={os.environ.get(name, '')}" for name in TUNING]


def host() -> str:
    """Name this machine for a table: HARNESS_HOST as it is set, or the first part of the system's own name.

    Runs of other characters than letters, digits, "_", "." and "-" become a "-".
    """
    given = os.environ.get(HOST)
    name = platform.node().partition(".")[0] if given is None else given
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:LONGEST]
