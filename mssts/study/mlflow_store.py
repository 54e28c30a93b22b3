"""The store of MLflow: its address, the local SQLite file, its experiments, and why it does not answer."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient

STORE = Path("mlruns")
LOCK_SECONDS = 30.0
BUSY_SECONDS = 5.0

# A store that cannot be opened must cost a job seconds: a delivery is tried again later anyway.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
for _name in ("mlflow", "alembic"):  # what they log as an error they also raise
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def store_uri() -> str:
    """Return the address of the tracking server: the user's, or the local SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(STORE / 'mlflow.db').resolve().as_posix()}"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Keep other processes of this clone from looking for the same things and creating them twice."""
    with ExitStack() as stack:
        with suppress(OSError):  # no locks in this file system, or too long a wait: MLflow may show a run twice
            STORE.mkdir(exist_ok=True)
            stack.enter_context(FileLock(STORE / ".lock", timeout=LOCK_SECONDS))
        yield


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, created if it is missing."""
    experiment = client.get_experiment_by_name(name)
    here = None if os.environ.get("MLFLOW_TRACKING_URI") else (STORE / "artifacts" / name).resolve()
    if not experiment:
        return client.create_experiment(name, here.as_uri() if here else None)
    if here and here.is_dir() and experiment.artifact_location != here.as_uri():
        _move_artifacts(experiment.artifact_location, here.as_uri())
    return experiment.experiment_id


def _move_artifacts(old: str, new: str) -> None:
    """Write the new place of artifacts into the local store: it holds absolute paths, and the clone was moved."""
    columns = {
        "experiments": ["artifact_location"],
        "runs": ["artifact_uri"],
        "logged_models": ["artifact_location"],
        "model_versions": ["source", "storage_location"],
    }
    with closing(sqlite3.connect(STORE / "mlflow.db", timeout=BUSY_SECONDS)) as database, database:
        for table, names in columns.items():
            for name in names:
                moved = f"update {table} set {name} = ? || substr({name}, ?) where {name} = ? or {name} like ? || '/%'"
                database.execute(moved, (new, len(old) + 1, old, old))


def open_store() -> MlflowClient:
    """A client of the store, which is created if it is a missing SQLite file."""
    uri = store_uri()
    if not uri.startswith(("http:", "https:")):  # a server needs none of MLflow's own store, which loads slowly
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 1  # ten tries would wait for 100 s, and have no setting
    scheme, _, name = uri.partition("?")[0].partition("sqlite:///")
    if name and not scheme and not name.startswith((":memory:", "file:")):
        path = Path(name)
        if not path.exists():
            with one_at_a_time():
                _create_database(path)
        # Ask SQLite itself whether the file can be written: MLflow would wait 20 s for each statement.
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    return MlflowClient(tracking_uri=uri)


def _create_database(path: Path) -> None:
    """Create MLflow's tables under another name, then rename: two jobs, or half of the tables, do no harm."""
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        new = Path(folder).resolve() / path.name
        SqlAlchemyStore(f"sqlite:///{new.as_posix()}", str(STORE / "artifacts")).engine.dispose()
        with closing(sqlite3.connect(new)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # halves the time of a write
        if not path.exists():
            os.replace(new, path)


def warn(experiment: str, error: Exception) -> None:
    """Print why the store of an experiment does not answer, that the study continues, and what to do."""
    print(
        f"warning: MLflow at {failure(error)} The study continues. Repair the store or set MLFLOW_TRACKING_URI to "
        f"another; it gets what is missing when it works, at the latest by `mssts mlflow sync --study {experiment}`. "
        "To work without MLflow set MSSTS_MLFLOW=off (with Snakemake: --config mlflow=off).",
        file=sys.stderr,
    )


def failure(error: Exception) -> str:
    """The store and the reason, without a password; what the system said is clearer than what MLflow makes of it."""
    cause: BaseException = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    reason = " ".join(str(cause if isinstance(cause, OSError | sqlite3.Error) else error).split())[:300].rstrip(".")
    if reason == "database is locked":
        reason += ", by another program or because its file system has no locks"
    return re.sub(r"(?<=://)[^/@ ]*@", "", f"{store_uri()}: {reason}.")
