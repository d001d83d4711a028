"""Components compiled from their own functions: traced, translated to C, compiled, checked."""
