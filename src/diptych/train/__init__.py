"""The training loop, and what it is made of: batches, settings, checkpoints, logs, and common trainees."""
