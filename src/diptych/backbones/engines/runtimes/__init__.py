"""Runtimes of an encoder on the CPU, one per file. Each imports its library when it computes the first vector."""
