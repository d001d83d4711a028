"""`harness judge`: verdicts on a table of runs, of whatever tool."""
