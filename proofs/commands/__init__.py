"""The commands of proofs: ``diptych prove``, ``ablate`` and ``rerun``."""
