"""The kernels of images: where they are used, and what stands in for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from harness.engines.modules import image_kernels
from harness.engines.modules.block import Block, BlockWeights, compute
from harness.engines.modules.image_kernels import trying
from harness.lowering import compiler
from harness.lowering.compiler import SWITCH, UnavailableError


def small() -> tuple[torch.Tensor, BlockWeights]:
    torch.manual_seed(0)
    return torch.randn(2, 16, 2, 6, 6), BlockWeights(torch.randn(2, 3, 2, 3, 3), torch.randn(2, 3))


def test_pytorch_takes_their_place_where_they_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weights = small()
    block = Block(rectified=True, kind="max", window=(2, 2))
    monkeypatch.setenv(SWITCH, "on")
    assert not image_kernels.why_not()
    assert image_kernels.identity()
    ours, *_ = compute(x, weights, block)
    monkeypatch.setenv(SWITCH, "off")
    assert "switched off" in image_kernels.why_not()
    assert not image_kernels.identity()
    with pytest.raises(UnavailableError, match="switched off"):
        image_kernels.library(torch.float32)
    theirs, *_ = compute(x, weights, block)
    torch.testing.assert_close(ours, theirs)


def test_a_self_test_is_kept_and_decides_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "on")
    library, kept = image_kernels.library(torch.float32), tmp_path / "kept.txt"
    found = trying.complaint(library, kept)
    assert found == "" or "times as long" in found
    assert kept.read_text(encoding="utf-8") == f"{found}\n"
    kept.write_text("slow\n", encoding="utf-8")
    assert trying.complaint(library, kept) == "slow"


def test_wrong_kernels_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "on")
    library = image_kernels.library(torch.float32)

    class Wrong:
        """Kernels whose gradients at images are those of weights nobody has."""

        def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
            return (lambda *_: None) if name == "convolve_back" else getattr(library, name)

    monkeypatch.setattr(torch, "empty_like", torch.zeros_like)
    assert "differ" in trying.complaint(Wrong(), tmp_path / "kept.txt")  # type: ignore[arg-type]


def test_a_complaint_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = image_kernels.SOURCE
    text = source.read_text(encoding="utf-8")
    (tmp_path / "kernels").mkdir()  # a cache that has them compiled, and not tried
    shutil.copy(compiler.compiled(text, "float32", source.name, [source.parent]), tmp_path / "kernels")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(trying, "complaint", lambda *_: "they are slow")
    assert image_kernels.why_not().startswith("they are slow (kept in ")
    assert not image_kernels.available(torch.zeros(1))
