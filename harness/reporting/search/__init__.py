"""The report of a search: its suggestions, its space, and the confirmation of its winner."""
