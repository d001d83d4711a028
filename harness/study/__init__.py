"""From a study file to trials: tables are read and checked, arms and trials derived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.study.reading import load as load
    from harness.study.reading import parse as parse
    from harness.study.study import Study as Study
    from harness.study.trials import Arm as Arm
    from harness.study.trials import Trial as Trial
    from harness.study.trials import arms as arms
    from harness.study.trials import settings_of as settings_of

_HOMES = {
    "Study": "study",
    **dict.fromkeys(("load", "parse"), "reading"),
    **dict.fromkeys(("Arm", "Trial", "arms", "settings_of"), "trials"),
}
__all__ = ["Arm", "Study", "Trial", "arms", "load", "parse", "settings_of"]
__getattr__, __dir__ = public_names(__name__, _HOMES)
