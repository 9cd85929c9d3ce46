"""What can run an encoder on the CPU, a runtime a file; none imports its library before a vector is asked for."""
