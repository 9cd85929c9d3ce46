"""What runs an encoder on the CPU: exports, runtimes, parity, int8."""
