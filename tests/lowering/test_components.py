"""Components by name: shipped, kept in the cache, or traced; or a reason why they have no C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from compilers import forget, fresh

from harness.axes import planned_components, plugins
from harness.axes.activations import activations
from harness.axes.losses import losses
from harness.lowering import components
from harness.lowering.lowered import ComponentOrigin, Lowered, looking_once
from harness.lowering.refusals import NotLoweredError
from harness.planning import compilation, grouping
from harness.registry import PACKAGE_ROOT
from harness.study.trials import resolve

__all__ = ["fresh"]
OWN = Path(__file__).with_name("own.py")
pytestmark = pytest.mark.usefixtures("fresh", "own")


@pytest.fixture
def own() -> ModuleType:
    """The third party's components; the module that defines them."""
    plugins.load_file(OWN, quiet=True)
    return sys.modules[plugins.module_of(OWN)]


def untraceable(origin: ComponentOrigin) -> tuple[str, str]:
    pytest.fail(f"{origin} is traced")


def texts(folder: Path) -> list[Path]:
    return sorted((folder / "texts").glob("*"))


def test_names_are_unique_and_readable() -> None:
    assert components.activation("relu").name == "activation relu"
    assert components.output("softmax", "ql", "kind", 10).name == "output softmax+ql of 10 classes"
    assert components.metric("softmax", "brier", 7).name == "metric softmax+brier of 7 classes"
    adam = components.optimizer("adam", {"amsgrad": True}, frozenset({"weight_decay"}))
    assert adam.name == "optimizer adam amsgrad without weight_decay"
    assert adam.settings == ("lr", "betas.0", "betas.1", "eps")
    assert adam.states == ("mean", "square", "largest")
    assert adam.values({"lr": 1, "betas": [2, 3], "eps": 4}) == [1.0, 2.0, 3.0, 4.0]
    assert ComponentOrigin.unpacked(adam.origin.packed()) == adam.origin


def test_the_harness_s_own_are_found_without_torch() -> None:
    code = """
import sys
from harness.lowering import components
from harness.study.trials import resolve
trial = components.of_trial(resolve({"dataset": "digits", "optimizer": "adam"}), ["brier", "nll"])
assert [lowered.kind for lowered in trial] == ["activation", "output", "metric", "metric", "optimizer"]
assert "torch" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_third_party_s_text_is_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = components.activation("own_mish")
    assert len(texts(fresh)) == 1
    assert components.activation("own_mish") is first
    forget()
    monkeypatch.setattr(components, "_traced", untraceable)
    assert components.activation("own_mish") == first


def test_a_refusal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotLoweredError, match="randn_like"):
        components.activation("own_noise")
    forget()
    monkeypatch.setattr(components, "_traced", untraceable)
    with pytest.raises(NotLoweredError, match="randn_like"):
        components.activation("own_noise")


@pytest.mark.parametrize("third_party", [True, False])
def test_what_is_refused_for_want_of_torch_is_not_kept(
    third_party: bool, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the cache nor in this process."""

    def lower() -> Lowered:
        return (
            components.activation("own_mish")
            if third_party
            else components.output("softmax", "nll", "ignore", 10)
        )

    with monkeypatch.context() as patch:
        patch.setattr(components, "_traced", lambda _: ("", "import of torch halted"))
        patch.setitem(sys.modules, "torch", None)
        with pytest.raises(NotLoweredError, match="torch halted"):
            lower()
    assert texts(fresh) == []
    assert lower().text


def test_a_worker_process_finds_what_its_parent_traced() -> None:
    components.activation("own_mish")
    code = f"""
import sys
from pathlib import Path
from harness.axes import plugins
from harness.lowering import components
plugins.load_file(Path({str(OWN)!r}), quiet=True)
components._traced = None
print(components.activation("own_mish").text)
"""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == components.activation("own_mish").text.strip()


@pytest.mark.parametrize("content", ["", "{", '{"text": "", "refusal": "", "digest": ""}', "[1]", None])
def test_a_damaged_text_is_traced_again(content: str | None, fresh: Path) -> None:
    first = components.activation("own_mish").text
    (path,) = texts(fresh)
    whole = path.read_text()
    path.write_text(whole.replace("forward", "backward", 1) if content is None else content)
    forget()
    assert components.activation("own_mish").text == first
    assert path.read_text() == whole


def test_a_cache_that_cannot_be_written_is_no_error(fresh: Path) -> None:
    fresh.parent.mkdir()
    fresh.write_text("a file where the folder should be")
    first = components.activation("own_mish")
    forget()
    assert components.activation("own_mish") == first


def test_a_changed_global_is_another_text(own: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    first = components.activation("own_slope")
    monkeypatch.setattr(own, "SLOPE", 0.3)
    second = components.activation("own_slope")
    assert "0.2" in first.text
    assert "0.3" in second.text


VARIANTS = """
import os
import torch
from harness import activations

if os.environ.get("VARIANT") == "b":
    def slope(x):
        return 0.9 * x
else:
    def slope(x):
        return 0.1 * x


@activations.register("own_variant")
def own_variant(x):
    "Leaky ReLU, with a slope that the file decides when it is loaded."
    return torch.where(x > 0, x, slope(x))
"""


def test_a_file_that_defines_two_functions_by_one_name_has_two_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text, and so its digest, is the same."""
    found = []
    for variant in ("a", "b"):
        path = tmp_path / variant / "variants.py"
        path.parent.mkdir()
        path.write_text(VARIANTS)
        monkeypatch.setenv("VARIANT", variant)
        plugins.load_file(path, quiet=True)
        digest = activations.entry("own_variant").source_digest
        found.append((digest, components.activation("own_variant").text))
        plugins._unload(plugins.module_of(path))
    (one, slope), (other, steep) = found
    assert one == other
    assert "0.1" in slope
    assert "0.9" in steep


def test_a_loss_may_have_a_weight_for_each_class_of_the_study() -> None:
    weights = torch.linspace(0.5, 2, 10)

    def own_weighted(f: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(weights.to(f.dtype) * target * f.log_softmax(-1)).sum(-1)

    losses.register("own_weighted", takes="logits")(own_weighted)
    arm = resolve({"dataset": "digits", "loss": "own_weighted"})
    assert not list(planned_components.faults("loss", "own_weighted", losses["own_weighted"], [arm]))
    assert not grouping._fault("loss", "own_weighted", 10)
    assert grouping._fault("loss", "own_weighted", 7)
    assert "CLASSES 10" in components.of_trial(arm).output.text


def test_a_component_that_branches_on_values_shares_no_stack() -> None:
    def own_branches(x: torch.Tensor) -> torch.Tensor:
        return x.relu() if x.mean() > 0 else x.tanh()

    activations.register("own_branches")(own_branches)
    reason = compilation.why_alone(resolve({"dataset": "digits", "activation": "own_branches"}))
    assert "branches on values, which in a stack are those of all its members" in reason
    assert not compilation.why_alone(resolve({"dataset": "digits", "activation": "own_mish"}))


def test_components_are_looked_at_once_where_many_trials_are(
    own: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with looking_once():
        first = components.activation("own_slope")
        monkeypatch.setattr(own, "SLOPE", 0.3)
        with looking_once():
            assert components.activation("own_slope") is first
    assert components.activation("own_slope") != first


def test_a_built_in_name_that_another_component_takes_never_gets_the_shipped_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = components.activation("relu")
    monkeypatch.setitem(activations._entries, "relu", activations.entry("own_mish"))
    assert components.activation("relu").text != shipped.text
    assert "tanh" in components.activation("relu").text


def test_what_cannot_be_seen_to_change_is_not_compiled() -> None:
    for name, cause in (
        ("own_python_noise", "numbers"),
        ("own_state", "calls, which own_state changes itself"),
    ):
        with pytest.raises(NotLoweredError, match=f"it may change unnoticed, by {cause}"):
            components.activation(name)


def test_what_keeps_state_is_not_compiled() -> None:
    with pytest.raises(NotLoweredError, match="it keeps state: it is another one after it was called"):
        components.activation("own_tensor")


def test_number_of_classes_and_first_forms() -> None:
    """Others than those that are shipped are traced, of the harness's own too."""
    seven, ten = (components.output("softmax", "ql", "kind", classes) for classes in (7, 10))
    assert "#define CLASSES 7" in seven.text
    assert seven.text != ten.text
    assert components.output("softmax", "ql", "ignore", 10).text == ten.text  # its first form fits
    misfit = components.output("sigmoid", "ce", "ignore", 10)
    assert misfit.origin.first_form
    assert misfit.text != components.output("identity", "ce", "kind", 10).text


def trial(**settings: Any) -> Any:
    return resolve({"dataset": "digits", **settings})


@pytest.mark.parametrize(
    ("settings", "switches", "zeros"),
    [
        ({"optimizer": "sgd"}, (), ("weight_decay",)),
        ({"optimizer": "sgd", "weight_decay": 0.1}, (), ()),
        ({"optimizer": "adam", "betas": [0.0, 0.9]}, (("amsgrad", False),), ("betas.0", "weight_decay")),
        (
            {"optimizer": "rmsprop", "centered": True, "eps": 0.0},
            (("centered", True),),
            ("eps", "momentum", "weight_decay"),
        ),
    ],
)
def test_an_optimizer_s_zeros_and_switches_are_the_trial_s_own(
    settings: dict[str, Any], switches: Any, zeros: Any
) -> None:
    origin = components.of_trial(trial(**settings)).optimizer.origin
    assert origin.switches == switches
    assert origin.zeros == zeros


def test_settings_of_a_loss_have_an_order() -> None:
    lowered = components.of_trial(trial(head="softmax", loss="own_power", own_exponent=0.5)).output
    assert lowered.settings == ("own_exponent",)
    assert lowered.values(trial(head="softmax", loss="own_power", own_exponent=0.5)) == [0.5]


def test_reasons_are_told_once_each() -> None:
    arms = [
        trial(activation=activation, optimizer=optimizer)
        for activation in ("own_noise", "own_branch", "own_others", "relu")
        for optimizer in ("own_noisy", "sgd")
    ]
    reasons = components.reasons(arms, ["own_margin"])
    assert len(reasons) == 4
    for reason, (start, operation) in zip(
        reasons,
        [
            ("activation 'own_noise' (own.py:", "aten.randn_like"),
            ("optimizer 'own_noisy' (own.py:", "aten.randn_like"),
            ("activation 'own_branch' (own.py:", "branches on the value of a tensor"),
            ("activation 'own_others' (own.py:", "aten.mean"),
        ],
        strict=True,
    ):
        assert reason.startswith(start)
        assert ") is not compiled: " in reason
        assert operation in reason
        assert reason.endswith("; it trains in PyTorch")


def test_a_component_that_raises_anything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: ComponentOrigin) -> str:
        raise KeyError("of torch" * 100)

    monkeypatch.setattr(components, "text_of", fails)
    with pytest.raises(NotLoweredError, match="it cannot be traced: KeyError: 'of torch") as error:
        components.output("softmax", "ql", "kind", 7)
    assert len(str(error.value)) < 300


def test_a_lowered_component_is_a_value() -> None:
    relu = components.activation("relu")
    assert {relu: 1}[Lowered(ComponentOrigin("activation", ("relu",)), relu.text)] == 1
