"""Lowering: a registered component's own function becomes C, which this machine's compiler makes fast.

A component is traced once (`tracing`), told in C (`translation`, `templates`), compiled into the cache
(`compiler`), and held against its own function before it is used (`checks`). The harness's own are shipped as
C texts, so that nothing is traced where no third party's component trains. What cannot be lowered is refused
in words, and trains in PyTorch.
"""
