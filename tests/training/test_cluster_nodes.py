"""What a node says that it has, and whether it is refused; recipes; the token of a cluster of our own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.registry import PACKAGE_ROOT
from harness.training.cluster import nodes, probe, recipes, tokens

HERE = probe.facts()
TELL = "import json, sys; exec(sys.stdin.read()); print(json.dumps(facts()))"


def test_this_process_would_train_as_itself() -> None:
    assert nodes.refusal(HERE, probe.facts()) == ""
    assert len(HERE["sources"]) == 64
    assert Path(HERE["folder"]) == PACKAGE_ROOT


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"python": "3.9.1"}, f"has Python 3.9.1 (the driver: {HERE['python']})"),
        ({"torch": "none"}, f"has torch none (the driver: {HERE['torch']})"),
        (
            {"numpy": "1.26.0", "torch": "2.9.0"},
            f"has torch 2.9.0 (the driver: {HERE['torch']}) and NumPy 1.26.0 (the driver: {HERE['numpy']})",
        ),
        ({"sources": "f" * 64}, f"digest ffffffffff (the driver: {HERE['harness']}, digest "),
        ({"sources": "none"}, "has no ablation-harness; the driver has "),
    ],
)
def test_a_node_with_other_versions_is_refused_in_words(other: dict[str, str], told: str) -> None:
    why = nodes.refusal(HERE, {**HERE, **other})
    assert told in why
    assert why.endswith("start Ray there again; or go on without this node")


def test_a_node_on_another_host_of_the_same_versions_is_not_refused() -> None:
    assert nodes.refusal(HERE, {**HERE, "host": "other", "folder": "/elsewhere", "processor": "arm64"}) == ""


def facts_of(folder: Path, *options: str) -> dict[str, Any]:
    """Ask a process that has the harness of a folder, by the question's text, as a node is asked."""
    done = subprocess.run(
        [sys.executable, *options, "-c", TELL], input=Path(probe.__file__).read_text(encoding="utf-8"),
        env={**os.environ, "PYTHONPATH": str(folder)}, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    import json

    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_changed_line_of_the_harness_is_another_harness(tmp_path: Path) -> None:
    package = tmp_path / "harness"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('a node asks no harness')\n")
    (package / "inner" / "kernel.c").write_text("int a;\n")
    before = facts_of(tmp_path)
    assert before["folder"] == str(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "kept.pyc").write_bytes(b"1")
    assert facts_of(tmp_path)["sources"] == before["sources"]
    (package / "inner" / "kernel.c").write_text("int b;\n")
    changed = facts_of(tmp_path)["sources"]
    (package / "inner" / "kernel.c").rename(package / "inner" / "other.c")
    assert len({before["sources"], changed, facts_of(tmp_path)["sources"]}) == 3


def test_a_process_without_the_harness_says_so(tmp_path: Path) -> None:
    assert facts_of(tmp_path, "-S")["sources"] == "none"


# ------------------------------------------------------------------------------------------------- recipes


def test_recipes_are_shell_scripts() -> None:
    for script in (
        recipes.ray("choices", "10.0.0.1", ["a", "b"]),
        recipes.slurm("studies/my.toml", 4, 8, 2, "1-00:00:00"),
    ):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
        assert "RAY_AUTH_MODE=token" in script
        assert HERE["torch"] in script
        assert not [line for line in script.splitlines() if len(line) > 200]
    assert "trains alone" in recipes.ray("choices", "127.0.0.1")
    assert "trains alone" not in recipes.ray("choices", "10.0.0.1", ["a"])
    assert "--gpus-per-node=2" in recipes.slurm("choices", 4, 8, 2, "30")
    assert "gpus" not in recipes.slurm("choices", 4, 8, 0, "30")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: recipes.ray("choices", "127.0.0.1", ["a"]), "other hosts cannot reach that"),
        (lambda: recipes.ray("choices", "a; rm -r x"), "allowed is a name or an address"),
        (lambda: recipes.ray("choices", "10.0.0.1", ["$(x)"]), "allowed is a name or an address"),
        (lambda: recipes.ray("my study", "127.0.0.1"), "without spaces and quotes"),
        (lambda: recipes.slurm("choices", 1, 1, 0, "long"), "Slurm's form"),
    ],
)
def test_what_no_script_can_hold_is_refused(made: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        made()


# --------------------------------------------------------------------------------------------------- token


@pytest.mark.skipif(os.name == "nt", reason="its file permissions are others")
def test_a_token_is_written_once_and_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (tokens.MODE, tokens.TOKEN, tokens.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    tokens.ensure()
    path = tmp_path / ".ray" / "auth_token"
    text = path.read_text()
    assert len(text) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens.ensure()
    assert path.read_text() == text
    assert [kept.name for kept in path.parent.iterdir()] == ["auth_token"]


@pytest.mark.parametrize(
    "chosen", [{tokens.MODE: "disabled"}, {tokens.TOKEN: "mine"}, {tokens.TOKEN_PATH: "my_token"}]
)
def test_a_persons_own_choice_of_a_token_stays(
    chosen: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (tokens.MODE, tokens.TOKEN, tokens.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    tokens.ensure()
    assert not (tmp_path / ".ray").exists()
