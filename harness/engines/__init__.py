"""How a group trains. Every engine is one function: (trials, data, device, dtype) -> Outcome."""
