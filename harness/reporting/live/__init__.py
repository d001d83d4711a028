"""`harness watch`: the live page of a run or search, and its server on this machine."""
