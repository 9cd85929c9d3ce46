"""Sampling from denoisers, DDIM inversion, guidance, and control of their attention."""
