"""Training: the run, the trainer, the optimizer, resume checkpoints, the lock and the log."""
