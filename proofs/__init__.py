"""Proofs: does each system do what its card claims, on real data, and does its control fail?

    python -m proofs SLUG          or diptych prove SLUG

``proofs/<verb>.py`` holds what each proof runs, as data: which claims at how many shots, and which control must fail.
This package is no part of the wheel, and nothing in ``diptych`` imports it.
"""
