"""The compiled engine: a stack whose components are all compiled trains in C and NumPy, without torch."""
