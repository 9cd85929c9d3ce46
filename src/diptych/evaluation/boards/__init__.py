"""Boards of the verbs beside classify: one mechanism, and a bench for each verb."""
