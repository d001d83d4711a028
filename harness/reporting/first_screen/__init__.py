"""The first screen of a report: the question, the answer, one picture, and how sure."""
