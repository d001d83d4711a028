"""Products by the faster library: the same numbers by both, float32 always, one choice a machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.data.samples import prepare
from harness.engines import bits
from harness.engines.stacked import products
from harness.lowering import compiler
from harness.study.study import Study
from harness.study.trials import trials

Make = Callable[..., Study]
NAMES = list(products.CLASSES)
SIZES = [(1, 200, 300, 17), (1, 200, 300, 100), (3, 90, 100, 40), (3, 90, 100, 65)]
"""Members, units, inputs and batch: narrow and wide, alone and batched, none below SMALLEST."""


def needs_onednn() -> None:
    if products._setting() is None:
        pytest.skip("this PyTorch has no oneDNN to choose")


@pytest.fixture
def choosing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a choice that is not made yet."""
    needs_onednn()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    products.choice.cache_clear()
    yield products._place()
    products.choice.cache_clear()


def drawn(members: int, *shape: int) -> Tensor:
    return torch.randn(shape if members == 1 else (members, *shape))


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_both_libraries_give_the_product_in_float32(
    size: tuple[int, int, int, int], onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if onednn and not all(_exact(name) for name in NAMES):
        pytest.skip("oneDNN computes in less than float32 on this processor, and is never chosen")
    monkeypatch.setattr(products, "choice", lambda: dict.fromkeys(NAMES, onednn))
    members, units, inputs, batch = size
    weights, x, grad = (
        drawn(members, units, inputs),
        drawn(members, batch, inputs),
        drawn(members, units, batch),
    )
    exact = {"z": weights.double() @ x.mT.double(), "grad": grad.double() @ x.double()}
    assert products._error(products.multiply("forward", weights, x.mT), exact["z"]) < 5e-6
    out = torch.full_like(weights, torch.nan)
    assert products.multiply("gradient", grad, x, out) is out
    assert products._error(out, exact["grad"]) < 5e-6
    expected = weights.double() - 0.5 * exact["grad"]
    assert products.accumulate(weights, grad, x, -0.5) is weights
    assert products._error(weights, expected) < 5e-6


def _exact(name: str) -> bool:
    multiply, exact = products._example(*name.split(", ", 1))
    return products._error(products._by_onednn(multiply), exact) < products.EXACT


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ((200, 300), (300, 64), "forward, narrow"),
        ((200, 300), (300, 65), "forward, wide"),
        ((3, 90, 100), (3, 100, 40), "forward, narrow, batched"),
        ((3, 10, 64), (3, 64, 32), None),
    ],
)
def test_a_product_is_onednns_by_its_class_and_never_a_small_one(
    a: tuple[int, ...], b: tuple[int, ...], wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def noted(product: Callable[[], Tensor]) -> Tensor:
        called.append("oneDNN")
        return product()

    monkeypatch.setattr(products, "_by_onednn", noted)
    for name in NAMES:
        monkeypatch.setattr(products, "choice", lambda name=name: {name: True})
        called.clear()
        products.multiply("forward", torch.zeros(a), torch.zeros(b))
        assert bool(called) == (name == wanted)
    monkeypatch.setattr(products, "choice", lambda: dict.fromkeys(NAMES, True))
    called.clear()
    products.multiply("forward", torch.zeros(a).double(), torch.zeros(b).double())
    assert not called  # a check


def test_the_permission_is_taken_back_also_after_an_error() -> None:
    needs_onednn()
    setting = products._setting()
    before = setting.fp32_precision

    def fail() -> Tensor:
        assert setting.fp32_precision == "bf16"
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        products._by_onednn(fail)
    assert setting.fp32_precision == before


def test_threads_neither_share_the_permission_nor_leave_it_behind() -> None:
    needs_onednn()
    setting, weights = products._setting(), torch.zeros(2, 2)
    before, inside, ended, seen = setting.fp32_precision, threading.Event(), threading.Event(), []

    def first() -> Tensor:
        inside.set()
        ended.wait(0.2)  # which another thread's product, at the same time, would be
        return weights

    def second() -> Tensor:
        seen.append(setting.fp32_precision)
        ended.set()
        return weights

    def others() -> None:
        inside.wait()
        products._called("update", weights, weights, second)
        products._by_onednn(second)

    threads = [threading.Thread(target=others), threading.Thread(target=products._by_onednn, args=(first,))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [before, "bf16"]
    assert setting.fp32_precision == before


def test_a_faster_library_is_chosen_only_if_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    product, _ = products._example("forward", "wide")
    there = product()  # so that it takes no time
    monkeypatch.setattr(products, "_by_onednn", lambda _: there)
    assert products._is_better("forward", "wide")
    rounded = there.bfloat16().float()
    monkeypatch.setattr(products, "_by_onednn", lambda _: rounded)
    assert not products._is_better("forward", "wide")


def test_a_slower_library_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_by_onednn", lambda multiply: (multiply(), multiply(), multiply())[0])
    assert not products._is_better("update", "narrow")


def test_a_choice_is_measured_once_and_kept(choosing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_is_better", lambda kind, size: (kind, size) == ("forward", "wide"))
    measured = {name: name == "forward, wide" for name in NAMES}
    assert products.choice() == json.loads(choosing.read_text()) == measured
    products.choice.cache_clear()
    monkeypatch.setattr(products, "_is_better", lambda *_: pytest.fail("measured again"))
    assert products.choice() == measured
    assert [path.name for path in choosing.parent.iterdir()] == [choosing.name]


def test_the_first_process_that_has_measured_decides(choosing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dict.fromkeys(NAMES, True)

    def overtaken(*_: str) -> bool:
        choosing.parent.mkdir(parents=True, exist_ok=True)
        choosing.write_text(json.dumps(first))
        return False

    monkeypatch.setattr(products, "_is_better", overtaken)
    assert products.choice() == first
    assert json.loads(choosing.read_text()) == first


def test_a_choice_that_another_process_keeps_meanwhile_is_not_deleted(
    choosing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, kept, looks = dict.fromkeys(NAMES, True), products._kept, []

    def overtaken(path: Path) -> products.Choice | None:
        found = kept(path)
        looks.append(found)
        if len(looks) == 2 and not found:  # between a look and what follows from it
            choosing.write_text(json.dumps(other))
        return found

    monkeypatch.setattr(products, "_kept", overtaken)
    monkeypatch.setattr(products, "_is_better", lambda *_: False)
    chosen = products.choice()
    assert chosen == json.loads(choosing.read_text())
    assert chosen == (other if len(looks) > 1 and not looks[1] else dict.fromkeys(NAMES, False))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"forward, wide": true}', "null"])
def test_a_damaged_choice_is_measured_anew(
    choosing: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choosing.parent.mkdir(parents=True)
    choosing.write_text(content)
    monkeypatch.setattr(products, "_is_better", lambda *_: True)
    assert products.choice() == json.loads(choosing.read_text()) == dict.fromkeys(NAMES, True)


def test_without_a_cache_it_is_measured_and_not_kept(choosing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choosing.parent.parent.mkdir(exist_ok=True)
    choosing.parent.write_text("a file where the folder should be")
    monkeypatch.setattr(products, "_is_better", lambda *_: True)
    assert products.choice() == dict.fromkeys(NAMES, True)


def test_without_onednn_products_are_pytorchs(choosing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert products.choice() == {}
    assert not choosing.exists()
    weights, x = torch.randn(200, 300), torch.randn(64, 300)
    assert torch.equal(products.multiply("forward", weights, x.t()), weights @ x.t())


def test_the_choice_is_part_of_what_decides_bits(study_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits, "arithmetic", lambda *_: "torch")
    planned, _ = trials(study_of(epochs=1))
    data = prepare(planned[0].arm.settings)
    names: dict[str, set[str]] = {"stacked": set(), "loop": set()}
    for chosen in (True, False):
        monkeypatch.setattr(products, "choice", lambda chosen=chosen: dict.fromkeys(NAMES, chosen))
        for engine, found in names.items():
            found |= set(bits.of_trials(engine, planned, data, "cpu", ()))
    assert {engine: len(found) for engine, found in names.items()} == {"stacked": 2, "loop": 1}


def test_training_by_either_library_gives_the_same_losses(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.engines.stacked import engine

    if not all(_exact(name) for name in NAMES):
        pytest.skip("oneDNN computes in less than float32 on this processor, and is never chosen")
    monkeypatch.setenv(compiler.SWITCH, "off")
    planned, _ = trials(study_of({"optimizer": ["sgd", "adam"]}, epochs=2, hidden=[160, 160], batch_size=96))
    data = prepare(planned[0].arm.settings)
    losses = []
    for chosen in (True, False):
        monkeypatch.setattr(products, "choice", lambda chosen=chosen: dict.fromkeys(NAMES, chosen))
        losses.append([float(k) for k in engine.train(planned, data).final["test"].loss])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
