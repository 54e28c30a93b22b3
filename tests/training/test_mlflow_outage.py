"""A real MLflow server comes late to a real training, or goes away and comes back: no sample is missing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.training.conftest import VARIANT, set_scale, wait_for_lines

STEPS = 105
LOGGED = list(range(3, STEPS + 1, 3))
RUN = f"results/smoke/synthvis/tiny/{VARIANT}/seed1"

pytestmark = pytest.mark.long


class Server:
    """`mlflow server` on loopback, with its files under a directory; may be stopped and started."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = directory
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        where = ["--backend-store-uri", f"sqlite:///{self.directory}/server.db"]
        where += ["--artifacts-destination", str(self.directory / "artifacts"), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), *where]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        no_helpers = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        quiet["env"] = os.environ | no_helpers
        self.process = subprocess.Popen(command, start_new_session=True, cwd=self.directory, **quiet)
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server does not start")

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mlflow-server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def tracked(server, workplace, environment):
    """Environment of processes that track to the server."""
    set_scale(workplace, steps=STEPS)
    variables = environment | {"MSSTS_MLFLOW": "on", "MLFLOW_TRACKING_URI": server.uri}
    run_mssts(variables, "mlflow", "init", "--study", "smoke")
    return variables


def run_mssts(variables, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "mssts", *arguments], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def samples(server):
    """Status, and the steps of the only run's loss."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("smoke").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    return run.info.status, sorted(point.step for point in history)


def test_a_server_that_starts_after_the_training_gets_everything(server, tracked, start, workplace):
    server.stop()
    for path in server.directory.iterdir():  # it has never been there
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run_mssts(tracked, "mlflow", "init", "--study", "smoke")
    process = start(RUN, env=tracked)
    wait_for_lines(process, workplace / RUN / "log.jsonl", 3)
    process.send_signal(signal.SIGSTOP)  # the server takes longer to start than the training to end
    server.start()
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    assert said.count("warning: MLflow") == 1
    assert samples(server) == ("FINISHED", LOGGED)


def test_a_server_restarted_during_the_training_misses_nothing(server, tracked, start, workplace):
    process = start(RUN, env=tracked)
    wait_for_lines(process, workplace / RUN / "log.jsonl", 3)
    server.stop()
    wait_for_lines(process, workplace / RUN / "log.jsonl", 11)
    process.send_signal(signal.SIGSTOP)
    server.start()
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    assert said.count("warning: MLflow") == 1
    assert samples(server) == ("FINISHED", LOGGED)


def test_a_server_that_comes_back_after_the_end_is_brought_up_to_date(server, tracked, start, workplace):
    process = start(RUN, env=tracked)
    wait_for_lines(process, workplace / RUN / "log.jsonl", 3)
    server.stop()
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    assert "mssts mlflow sync --study smoke" in said
    server.start()
    for _ in range(2):
        assert "all 1 finished" in run_mssts(tracked, "mlflow", "sync", "--study", "smoke")
        assert samples(server) == ("FINISHED", LOGGED)
