"""Training: set-up of a run, trainer, callbacks, optimizer, resume checkpoints, lock, log and failures."""
