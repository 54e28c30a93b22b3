"""Studies: which runs they ask for, where these lie, what they cost, and their mirror in MLflow."""

from __future__ import annotations

import os

# MLflow reads this when it is imported: it sends its makers no usage data unless the user wants it to.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
