"""The verbs of ``curate``: a plan over a pool of pairs, what is kept by it, and what both are given."""
