"""Runtimes of an encoder on the CPU, one a file. Each imports its library when it computes the first vector."""
