"""Studies: which runs they ask for, where these lie, what they cost, and their mirror in MLflow."""
