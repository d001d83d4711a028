"""A folder from which Python, NumPy and the harness run as on an AArch64 processor, under QEMU, on Debian.

`python tests/portable/sysroot.py` makes it, by default in the cache, in about a minute (190 MB). It needs the
Debian packages qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross on this machine. Python comes from
Debian's arm64 packages, by apt with a state of its own, so that the machine's own packages stay as they are.
NumPy and the others come as wheels at the versions of constraints.txt. PyTorch is not among them: nothing
that trains compiled components imports it. Its name and version alone are there, which results and caches
note.

On another system, or on a Debian without Python 3.11, it says so and ends with exit code 1; a folder of an
earlier call stays.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data import cache
from harness.errors import MachineError

CHECKOUT = Path(__file__).parents[2]
DEBIAN = ("python3.11", "libpython3.11-stdlib", "libstdc++6", "libgcc-s1")
PYTHON = "usr/bin/python3.11"
WHEELS = (
    "annotated-types", "click", "filelock", "markdown-it-py", "mdurl", "numpy", "platformdirs", "pydantic",
    "pydantic_core", "Pygments", "rich", "safetensors", "threadpoolctl", "tomli_w", "typing-inspection",
    "typing_extensions",
)  # fmt: skip
PLATFORMS = [f"manylinux_2_{glibc}_aarch64" for glibc in (35, 28, 27, 17)]
COMMANDS = {
    "qemu-aarch64": "qemu-user",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu and libc6-dev-arm64-cross",
}
"""Programs that it takes, and Debian's packages of them."""
MAKERS = {"apt-get": "apt", "dpkg-deb": "dpkg"}
"""The same, of programs that only making the folder takes."""
ALLOWED = (
    "Allowed is Debian 12, whose packages of Python 3.11 for arm64 are downloaded. Elsewhere, make the "
    "folder there, copy it here and let HARNESS_AARCH64 name it; without it the tests for AArch64 are skipped"
)


def default() -> Path:
    """The folder, which HARNESS_AARCH64 may name."""
    return Path(os.environ.get("HARNESS_AARCH64") or cache.cache_root() / "aarch64")


def missing(folder: Path) -> str:
    """Say what is missing to run AArch64's Python from a folder; empty if nothing."""
    if absent := _absent(COMMANDS):
        return absent
    if not (folder / "complete").exists():
        return f"no AArch64 Python in {folder}: make it with `python tests/portable/sysroot.py`"
    return ""


def _absent(programs: Mapping[str, str]) -> str:
    absent = [f"{name} (install {package})" for name, package in programs.items() if not shutil.which(name)]
    return f"no {', no '.join(absent)}" if absent else ""


def environment(folder: Path, processor: str, data: Path) -> dict[str, str]:
    """Return the environment in which the harness compiles for a processor, with a cache of its own."""
    wrapper = CHECKOUT / "tests" / "engines" / "compiler_for.py"
    return {
        **os.environ,
        "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{folder / 'packages'}",
        "CC": f"{sys.executable} {wrapper} aarch64:{processor}",
        "HARNESS_DATA": str(data),
        "HARNESS_KERNELS": "on",  # the test against PyTorch needs PyTorch
    }


def python(folder: Path) -> list[str]:
    """Return the command of AArch64's Python."""
    return ["qemu-aarch64", "-L", str(folder), str(folder / PYTHON)]


def make(folder: Path) -> None:
    """Make the folder; what is there already is made anew, and stays where that fails.

    Raises:
        MachineError: a program is missing or fails.
    """
    if absent := _absent({**COMMANDS, **MAKERS}):
        raise MachineError(f"{folder} cannot be made: {absent}. {ALLOWED}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        _unpack_debian(made)
        _install_wheels(made / "packages")
        question = "import numpy, platform; print(numpy.__version__, platform.machine())"
        own = {**os.environ, "PYTHONPATH": str(made / "packages")}
        answer = _done([*python(made), "-c", question], "running AArch64's Python", own)
        (made / "complete").write_text(answer)
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)


def _done(command: Sequence[str], what: str, env: Mapping[str, str] = os.environ) -> str:
    """Run a program and return what it prints.

    Raises:
        MachineError: it failed; the message has its last words.
    """
    done = subprocess.run(command, env=dict(env), check=False, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-800:]
        raise MachineError(f"{what} failed (`{command[0]}`, exit code {done.returncode}): {words}\n{ALLOWED}")
    return done.stdout


def _unpack_debian(folder: Path) -> None:
    """Download Debian's packages for arm64 and unpack them."""
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch)
        for part in ("lists/partial", "cache/archives/partial"):
            (state / part).mkdir(parents=True)
        (state / "status").touch()
        (state / "apt.conf").write_text(
            f'Dir::State "{state}"; Dir::State::status "{state}/status"; Dir::State::lists "{state}/lists";\n'
            f'Dir::Cache "{state}/cache"; APT::Architecture "arm64"; APT::Architectures {{"arm64";}};\n'
            'APT::Sandbox::User "root";\n'
        )
        apt = {**os.environ, "APT_CONFIG": str(state / "apt.conf")}
        install = ("install", "--download-only", "--yes", "--no-install-recommends", *DEBIAN)
        for words in (("update",), install):
            _done(["apt-get", "--quiet", *words], "downloading Debian's packages for arm64", apt)
        for package in sorted((state / "cache" / "archives").glob("*.deb")):
            _done(["dpkg-deb", "--extract", str(package), str(folder)], f"unpacking {package.name}")


def _install_wheels(folder: Path) -> None:
    """Install wheels for AArch64, and PyTorch's name and version."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    wanted = [f"{name}=={versions[name]}" for name in WHEELS]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *platforms,
        "--python-version", "3.11", "--implementation", "cp", "--target", str(folder), *wanted,
    ]  # fmt: skip
    _done(command, "installing wheels for AArch64")
    about = folder / f"torch-{versions['torch']}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {versions['torch']}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=default())
    chosen = parser.parse_args().folder
    try:
        make(chosen)
    except MachineError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(missing(chosen) or f"{chosen}: {(chosen / 'complete').read_text()}")
