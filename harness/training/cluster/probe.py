"""Facts of a process: the versions and the sources that it would train with.

The function is sent to a node as its code, not by its name, because a node may have another harness, or none.
So it uses the standard library alone, and says each fact as a text.
"""

from __future__ import annotations


def facts() -> dict[str, str]:
    """Return what a process has: "host", "system", "python", "ray", "torch", "numpy", "harness", ..

    "sources" is the SHA-256 of all files of the harness's package, "folder" where they lie; of a package that
    is not there the version is "none". "processor" is the machine's kind, such as x86_64.
    """
    import hashlib
    import importlib.metadata
    import importlib.util
    import platform
    import sys
    from pathlib import Path

    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "none"

    known = {name: version(name) for name in ("ray", "torch", "numpy")}
    known |= {"harness": version("ablation-harness"), "sources": "none", "folder": ""}
    loaded = sys.modules.get("harness")
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec("harness")
    if spec is not None and spec.origin:
        folder, total = Path(spec.origin).resolve().parent, hashlib.sha256()
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            inner = path.relative_to(folder)
            # The studies that are shipped are beside the package in a checkout, and in it when installed.
            if inner.parts[0] == "ablations" or "__pycache__" in inner.parts or path.is_dir():
                continue
            content = path.read_bytes()
            total.update(f"{inner.as_posix()}\0{len(content)}\0".encode() + content)
        known |= {"sources": total.hexdigest(), "folder": str(folder)}
        if known["harness"] == "none":
            known["harness"] = "a checkout"
    return {
        "host": platform.node(),
        "system": platform.system(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        **known,
    }
