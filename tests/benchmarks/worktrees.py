"""Another revision of this repository, checked out for as long as it is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError

ROOT = Path(__file__).parents[2]
YOUNG = 1.1  # seconds
CHECK = "import harness, pathlib; print(pathlib.Path(harness.__file__).resolve().parents[1])"


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git on a repository."""
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, marked where tracked files differ from it; empty outside of git."""
    told = []
    for command in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(checkout), *command],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        told.append(done.stdout.strip() if done.returncode == 0 else "")
    return told[0] + ("-dirty" if told[1] else "")


def resolved(root: Path, revision: str) -> str:
    """The commit that a revision names.

    Raises:
        UsageError: there is no such commit, or no repository.
    """
    done = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode:
        inside = git(root, "rev-parse", "--git-dir").returncode == 0
        what = "no commit of this repository" if inside else f"{root} is no git repository"
        raise UsageError(
            f"{revision!r}: {what}; allowed is what `git rev-parse` knows, such as HEAD~1 or main"
        )
    return done.stdout.strip()


@contextmanager
def worktree(root: Path, revision: str) -> Iterator[Path]:
    """A worktree of a revision, which is gone afterwards.

    Raises:
        UsageError: there is no such revision, or it has no harness that can be imported.
    """
    commit = resolved(root, revision)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder).resolve() / "other"
        done = git(root, "worktree", "add", "--detach", str(place), commit)
        if done.returncode:
            raise UsageError(f"{revision!r}: git worktree: {done.stderr.strip()}")
        try:
            check_import(place, revision)
            # Files as young as git's index are read anew by each `git status`, as every run calls it.
            time.sleep(YOUNG)
            git(place, "status")
            yield place
        finally:
            git(root, "worktree", "remove", "--force", str(place))


def check_import(place: Path, revision: str) -> None:
    """Make sure that it is that checkout's harness that runs there."""
    environment = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, env=environment, check=False, cwd=place
    )
    if done.returncode or done.stdout.strip() != str(place):
        why = (done.stderr or f"it imports the harness of {done.stdout}").strip()[-800:]
        raise UsageError(f"{revision!r} cannot be measured: {why}")
