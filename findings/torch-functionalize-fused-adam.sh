#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): torch.func.functionalize of a function that takes a step of Adam with fused=True.
#
# One expects the functionalized function to give what the function gives: `_fused_adam_` changes lists of tensors in
# place, which functionalize is for, and all of its tensors are inputs. It works with amsgrad=True. Without amsgrad the list
# of the largest mean squares is empty, as the operation wants it, and an empty list counts as tensors that
# are not wrapped: an internal assertion fails, and asks that inputs be wrapped which are.
#
# Observed (2026-11-29, Python 3.11); the script fails if this changes:
#   amsgrad, a list of one tensor more: the same as the function
#   no amsgrad, an empty list: false INTERNAL ASSERT FAILED .. mutating a non-functional tensor with a functional tensor
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch
from torch.func import functionalize
from torch.optim.adam import adam


def step_with(amsgrad):
    def step(*given):
        param, grad, mean, square, largest, count = (tensor.clone() for tensor in given)
        with torch.no_grad():
            adam(
                [param], [grad], [mean], [square], [largest] if amsgrad else [], [count],
                fused=True, amsgrad=amsgrad, maximize=False,
                lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
            )
        return param

    return step


def outcome(amsgrad):
    torch.manual_seed(0)
    given = [torch.rand(5) for _ in range(5)] + [torch.tensor(0.0)]
    step = step_with(amsgrad)
    expected = step(*given)
    try:
        return "the same as the function" if torch.equal(functionalize(step)(*given), expected) else "something else"
    except RuntimeError as error:
        return str(error)


with_list, without = outcome(True), outcome(False)
print(f"amsgrad, a list of one tensor more: {with_list}")
print(f"no amsgrad, an empty list: {without}")
sys.exit(with_list != "the same as the function" or "mutating a non-functional tensor" not in without)
PYTHON
