"""From a study file to trials: tables are read and checked, arms and trials derived."""
