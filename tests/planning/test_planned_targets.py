"""Targets beside a plan: how finely a time is known, and what makes a target useless."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.errors import UsageError
from harness.planning import plan, targets
from harness.study.study import Study

Make = Callable[..., Study]
UNTIL = {"until": {"val_accuracy": 0.9}}


def test_a_plan_says_what_is_looked_for_and_how_finely(study_of: Make) -> None:
    """1,437 images less a tenth: 41 steps an epoch at batch size 32, 11 at 128."""
    drawn = plan.make(study_of(study=UNTIL, epochs=4))
    words = "target: 90\u00a0% val accuracy, looked for 4 times a trial: when it was reached is known to "
    assert targets.words(drawn.study, drawn.trials) == [words + "1 epoch (41 steps)"]
    assert words in drawn._repr_html_()
    drawn = plan.make(study_of({"batch_size": [32, 128]}, study=UNTIL, eval_every="10 steps", epochs=4))
    (said,) = targets.words(drawn.study, drawn.trials)
    assert "looked for 5 to 17 times a trial" in said
    assert said.endswith("known to 0.244 to 0.909 epochs (10 steps)")
    assert targets.words(study_of(), drawn.trials) == []


def test_an_evaluation_at_the_end_alone_is_warned_of(study_of: Make) -> None:
    rare = plan.make(study_of(study=UNTIL, eval_every="5 epochs"))
    assert any("is known, but not when. Evaluate more often" in words for words in rare.warnings)
    often = plan.make(study_of(study=UNTIL))
    assert not any("Evaluate more often" in words for words in often.warnings)


def test_a_target_on_val_needs_val_images_in_every_arm(study_of: Make) -> None:
    with pytest.raises(UsageError, match=r"val_accuracy = 0.9 .*an arm has val_fraction = 0.*train_accuracy"):
        plan.make(study_of({"val_fraction": [0.1, 0.0]}, study=UNTIL))
    plan.make(study_of(study={"until": {"train_loss": 1.0}}, val_fraction=0.0))


def test_a_loss_below_0_is_no_target_of_losses_that_are_never_negative(study_of: Make) -> None:
    until = {"until": {"val_loss": -1.0}}
    with pytest.raises(UsageError, match=r"val_loss = -1 .*never below 0, so it is never reached"):
        plan.make(study_of(study=until))
    # The mean of -p_y, which this trains on, is.
    plan.make(study_of(study=until, head="softmax", loss="nll", match="ignore"))
    plan.make(study_of(study={"until": {"val_loss": 0.0}}))
