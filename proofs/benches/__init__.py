"""Benches of what no board measures: what a system may see, how it is fitted and read, once per seed."""
