"""The shipped Slurm profile on a real Slurm: a whole study; jobs that are stopped, that fail, and on two nodes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.pipeline.local_slurm import GPUS, INSTALL, Slurm, end, local_slurm, missing, wait_until
from tests.pipeline.test_after_crash import FINAL_TRAINING, results

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

SECONDS = 1800  # for one driver; a minute or two where nothing else runs
STEPS = 100  # of a training that is to be stopped
CHECKPOINT = FINAL_TRAINING / "checkpoint.pt"
# All that nodes beside nobody else need to differ in: a cluster is asked less often, and jobs that compute on the CPU
# ask for one of its GPUs all the same, which are none.
ALONE = ["--workflow-profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
ALONE += ["--set-resources", *(f"{rule}:gpu=1" for rule in ("pretrain", "train", "predict", "attention"))]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with local_slurm() as running:
        yield running


class Driver:
    """The documented command, running; all that it says goes to a file."""

    def __init__(self, slurm: Slurm, directory: Path, target: str | Path, *options: str) -> None:
        self._said = directory / "driver.out"
        command = [sys.executable, "-m", "snakemake", "--nocolor", *ALONE, *options]
        command += ["--config", "study=smoke", "mlflow=off", "--", str(target)]
        with self._said.open("w") as output:
            streams = {"stdout": output, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(command, cwd=directory, env=slurm.environment, **streams)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process, lambda: self.process.send_signal(signal.SIGINT), 120)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that happens while the driver runs."""

        def happened() -> bool:
            assert self.process.poll() is None, self._said.read_text()[-8000:]
            return bool(condition())

        wait_until(happened, SECONDS)

    def ended(self) -> tuple[int, str]:
        """Wait for its end: exit code and what it said."""
        return self.process.wait(SECONDS), self._said.read_text()


def run(slurm: Slurm, directory: Path, target: str | Path, *options: str) -> tuple[int, str]:
    with Driver(slurm, directory, target, *options) as driver:
        return driver.ended()


def test_the_whole_study_runs_through_the_shipped_profile_to_the_bytes_of_a_local_run(slurm, smoke, sources, tmp_path):
    directory = shutil.copytree(sources, tmp_path / "clone")
    code, said = run(slurm, directory, "reports/table.pdf")
    assert code == 0, said[-8000:]
    assert results(directory) == results(smoke)
    assert (directory / "reports/table.pdf").read_bytes() == (smoke / "reports/table.pdf").read_bytes()
    finished = slurm("squeue", "--noheader", "--states=COMPLETED", "--Format=comment:60,tres-per-job").splitlines()
    on_gpus = [line.split()[0] for line in finished if line.split()[-1] == "gres:gpu:1"]
    assert {re.match(r"rule_([a-z]+)", name)[1] for name in on_gpus} == {"pretrain", "train", "predict", "attention"}
    assert len(finished) == int(re.search(r"^total +(\d+)$", said, re.M)[1])


@pytest.fixture(scope="module")
def longer(smoke, tmp_path_factory) -> Path:
    """The finished study, but one training is to be made again, at a length that leaves time to stop it."""
    directory = shutil.copytree(smoke, tmp_path_factory.mktemp("longer") / "clone")
    scale = directory / "ablations/scales/smoke.yaml"
    text, changed = re.subn(r"^train: {steps: 8,", f"train: {{steps: {STEPS},", scale.read_text(), flags=re.M)
    assert changed == 1
    scale.write_text(text + "execution: {checkpoint_every: 10}\n")
    shutil.rmtree(directory / FINAL_TRAINING)
    return directory


@pytest.fixture(scope="module")
def undisturbed(longer, snakemake, tmp_path_factory) -> dict[str, bytes]:
    """The files of that training, made on this machine in one go."""
    directory = shutil.copytree(longer, tmp_path_factory.mktemp("undisturbed") / "clone")
    done = snakemake(directory, "--cores", "1", "--config", "study=smoke", "mlflow=off", "--", str(CHECKPOINT))
    assert done.returncode == 0, done.stdout[-4000:]
    return trained(directory)


def trained(directory: Path) -> dict[str, bytes]:
    assert not list((directory / FINAL_TRAINING).glob("resume*"))
    return {name: content for name, content in results(directory).items() if name.startswith(str(FINAL_TRAINING))}


def job_in_training(driver: Driver, slurm: Slurm, directory: Path) -> str:
    """Id of the job that trains, once it has passed its next resume checkpoint."""
    newest = directory / FINAL_TRAINING / "resume.pt"
    before = newest.stat().st_mtime_ns if newest.exists() else None
    driver.until(lambda: newest.exists() and newest.stat().st_mtime_ns != before)
    (job,) = slurm.jobs("RUNNING")
    return job


def preempt(slurm: Slurm) -> None:
    """Another job needs all GPUs, and may have them: Slurm asks ours to stop."""
    slurm("sbatch", "--partition=urgent", f"--gpus={2 * len(GPUS)}", "--nodes=2", "--output=/dev/null", "--wrap=true")


def reach_time_limit(driver: Driver, directory: Path) -> None:
    """Hold the training, however fast it is, until Slurm wakes it up to tell it that its time limit is near."""
    training = psutil.Process(json.loads((directory / FINAL_TRAINING / "run.lock").read_text())["pid"])
    training.suspend()
    driver.until(lambda: not training.is_running())


def submitted_again(driver: Driver, slurm: Slurm, job: str) -> None:
    """Wait until a job is back in the queue. Slurm would start it after two minutes; the test, after ten seconds.

    Not at once: a job that began again in the second in which its last run ended has failed before its first output.
    """
    driver.until(lambda: slurm("squeue", "--noheader", "--format=%T/%r", f"--jobs={job}") == "PENDING/BeginTime")
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now+10")


def saved_steps(directory: Path) -> int:
    """Steps that the training which has just been stopped says it has saved."""
    (log,) = (directory / "logs").rglob(f"{FINAL_TRAINING.parent.name}_{FINAL_TRAINING.name}.log")
    (step,) = re.findall(r"error: .* stopped by a signal; step (\d+) is saved", log.read_text())
    return int(step)


def restarts(slurm: Slurm, job: str) -> int:
    """How often Slurm has put a job back into the queue."""
    return int(re.search(r"Restarts=(\d+)", slurm("scontrol", "show", "job", job))[1])


def test_trainings_that_slurm_asks_to_stop_save_themselves_and_are_started_again(slurm, longer, undisturbed, tmp_path):
    directory, saved = shutil.copytree(longer, tmp_path / "clone"), [10]
    short = ["--set-resources", "train:gpu=1", "train:runtime=2", "train:slurm_extra=--signal=USR1@5"]
    with Driver(slurm, directory, CHECKPOINT, *short) as driver:
        for stop in (lambda: preempt(slurm), lambda: reach_time_limit(driver, directory)):
            job = job_in_training(driver, slurm, directory)
            stop()
            submitted_again(driver, slurm, job)
            saved.append(saved_steps(directory))
        code, said = driver.ended()
    assert code == 0, said[-8000:]
    assert saved == sorted(saved) and saved[-1] < STEPS
    assert restarts(slurm, job) == 2
    assert trained(directory) == undisturbed


def test_a_cancelled_training_is_finished_by_the_same_command(slurm, longer, undisturbed, tmp_path):
    directory = shutil.copytree(longer, tmp_path / "clone")
    with Driver(slurm, directory, CHECKPOINT) as driver:
        slurm("scancel", job_in_training(driver, slurm, directory))
        code, said = driver.ended()
    assert code == 1 and "SLURM status is: 'CANCELLED'" in said
    assert not slurm.jobs()
    assert (directory / FINAL_TRAINING / "resume.pt").exists()
    code, said = run(slurm, directory, CHECKPOINT)
    assert code == 0, said[-8000:]
    assert trained(directory) == undisturbed


def test_a_training_with_bad_input_shows_its_own_log_and_is_not_submitted_again(slurm, longer, tmp_path):
    directory = shutil.copytree(longer, tmp_path / "clone")
    for frame in (directory / "data/smoke/synthvis/train").rglob("*.*"):
        frame.write_bytes(b"no picture")
    code, said = run(slurm, directory, CHECKPOINT)
    assert code == 1 and said.count("has been submitted") == 1
    assert re.search(r"^error: .*data/smoke/synthvis/train/\S+: ", said, re.M), said[-8000:]


def trained_on(
    smoke: Path, directory: Path, execution: str, train: Callable[[Path], tuple[int, str]]
) -> dict[str, bytes]:
    """The files of one training of the study, made again with that section `execution`."""
    shutil.copytree(smoke, directory)
    with (directory / "ablations/scales/smoke.yaml").open("a") as scale:
        scale.write(f"execution: {execution}\n")
    shutil.rmtree(directory / FINAL_TRAINING)
    code, said = train(directory)
    assert code == 0, said[-8000:]
    return trained(directory)


def test_a_training_on_two_nodes_gives_the_bytes_of_one_node_with_two_processes(slurm, smoke, snakemake, tmp_path):
    def locally(directory: Path) -> tuple[int, str]:
        done = snakemake(directory, "--cores", "2", "--config", "study=smoke", "mlflow=off", "--", str(CHECKPOINT))
        return done.returncode, done.stdout

    def on_both(directory: Path) -> tuple[int, str]:
        gpus = ["train:gpu=0", "train:gres=gpu:1", "train:tasks_per_gpu=0"]  # as trainings on CUDA ask for them
        return run(slurm, directory, CHECKPOINT, "--set-resources", *gpus)

    one = trained_on(smoke, tmp_path / "one/clone", "{devices: 2}", locally)
    two = trained_on(smoke, tmp_path / "two/clone", "{nodes: 2}", on_both)
    assert two == one
    finished = slurm("squeue", "--noheader", "--states=COMPLETED", "--format=%N %D %k").splitlines()
    assert sum(line.startswith("one,two 2 rule_train") for line in finished) == 1


def test_the_machine_is_left_as_it_was_found():
    def ours(directory: Path) -> set[str]:
        """Names of all processes that know of that directory."""
        found = [process.info for process in psutil.process_iter(["name", "cmdline", "environ"])]
        words = [(info["name"], [*(info["cmdline"] or []), *(info["environ"] or {}).values()]) for info in found]
        return {name for name, text in words if str(directory) in " ".join(text)}

    with pytest.raises(KeyboardInterrupt), local_slurm() as slurm:
        slurm("sbatch", "--output=/dev/null", "--wrap=sleep 600")
        wait_until(lambda: {"munged", "slurmctld", "slurmd", "sleep"} <= ours(slurm.directory))
        raise KeyboardInterrupt
    assert not slurm.directory.exists()
    assert not ours(slurm.directory)


def test_continuous_integration_installs_what_these_tests_ask_for(root):
    assert INSTALL in (root / ".ci/run").read_text()
