"""The experiments of the notebooks, one module a notebook or topic; only notebooks import from here."""
