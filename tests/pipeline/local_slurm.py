"""A Slurm of its own on this machine: munged, slurmctld and slurmd on loopback, all of it in one directory.

Nothing of an installed Slurm's configuration is read or written; everything ends with the block that started it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scancel", "scontrol")
INSTALL = "apt-get install --yes --no-install-recommends slurm-wlm slurmctld slurmd slurm-client munge"
GPUS = ("/dev/null", "/dev/zero")  # devices that every machine has, in place of real ones

# Two nodes that say they have the memory and the GPUs that the shipped profile asks for. A job of partition `urgent`
# takes the place of jobs of partition `gpu`, which have time to save themselves.
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName=DEFAULT CPUs=2 RealMemory=200000 Gres=gpu:{gpus} State=UNKNOWN
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one_port}
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two_port}
PartitionName=gpu Nodes=ALL Default=YES PriorityTier=1 GraceTime=600
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""

# Commands inside a job lose SLURM_CONF and would look in /etc/slurm. These, found first, give it back.
COMMANDS_IN_JOBS = ("srun", "squeue", "scontrol")
COMMAND_IN_JOBS = """#!/bin/sh
SLURM_CONF={directory}/slurm.conf exec {program} "$@"
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if it can."""
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if absent:
        return f"no {', '.join(absent)} here; as root: {INSTALL}"
    return "" if os.geteuid() == 0 else "only root can start the daemons of Slurm"


class Slurm:
    """A running Slurm. directory: all its files; environment: variables with which commands and the profile find it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        foreign = ("SLURM", "MSSTS_", "MLFLOW_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        self.environment |= {"SLURM_CONF": f"{directory}/slurm.conf", "PATH": f"{directory}/bin:{os.environ['PATH']}"}
        self.environment["MASTER_ADDR"] = "127.0.0.1"  # the names of the nodes are no names of machines

    def __call__(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def jobs(self, *states: str) -> list[str]:
        """Ids of the jobs in these states; by default of those that wait, run or are being ended."""
        return self("squeue", "--noheader", "--format=%i", *(["--states", ",".join(states)] if states else [])).split()

    def is_ready(self) -> bool:
        """Whether the controller answers and the nodes take jobs."""
        command = ["sinfo", "--noheader", "--format=%t"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        return set(done.stdout.split()) == {"idle"}

    def end_jobs(self) -> None:
        """Cancel all jobs and wait until they are gone."""
        if jobs := self.jobs():
            self("scancel", *jobs)
            wait_until(lambda: not self.jobs(), 180)


@contextmanager
def local_slurm() -> Iterator[Slurm]:
    """A Slurm that takes jobs while the block runs; needs root and the packages of INSTALL."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))  # short, for the socket
        slurm = Slurm(directory)
        write_configuration(directory)
        files = [f"--{kind}-file={directory}/munged.{kind}" for kind in ("log", "pid", "seed")]
        files += [f"--key-file={directory}/munge.key", f"--socket={directory}/munge.socket"]
        stack.enter_context(daemon(slurm, "munged", "--foreground", "--force", *files))
        wait_until((directory / "munge.socket").exists)
        for command in (["slurmctld"], ["slurmd", "-N", "one"], ["slurmd", "-N", "two"]):
            stack.enter_context(daemon(slurm, *command, "-D", "-f", f"{directory}/slurm.conf"))
        wait_until(slurm.is_ready)
        stack.callback(slurm.end_jobs)
        yield slurm


def write_configuration(directory: Path) -> None:
    """Key and configuration of the daemons."""
    for name in ("state", "bin"):
        (directory / name).mkdir()
    key = directory / "munge.key"
    key.touch(mode=0o400)
    key.write_bytes(secrets.token_bytes(128))
    controller_port, one_port, two_port = free_ports(3)
    values = {"directory": directory, "host": socket.gethostname().split(".")[0], "gpus": len(GPUS)}
    values |= {"controller_port": controller_port, "one_port": one_port, "two_port": two_port}
    (directory / "slurm.conf").write_text(CONFIGURATION.format(**values))
    (directory / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in GPUS))
    for name in COMMANDS_IN_JOBS:
        command = directory / "bin" / name
        command.write_text(COMMAND_IN_JOBS.format(directory=directory, program=shutil.which(name)))
        command.chmod(0o755)


def free_ports(number: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def daemon(slurm: Slurm, *command: str) -> Iterator[None]:
    """A process that runs while the block does; what it says is in `NAME.out`."""
    with (slurm.directory / f"{command[0]}.out").open("a") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        process = subprocess.Popen(command, env=slurm.environment, start_new_session=True, **streams)
        try:
            yield
        finally:
            end(process, process.terminate, 60)


def end(process: subprocess.Popen, politely: Callable[[], None], seconds: float) -> None:
    """End a process that the test started: politely, and outright where that does not help."""
    if process.poll() is None:
        politely()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Ask every tenth of a second; fails when the time is over."""
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last, f"not within {seconds} s"
        time.sleep(0.1)
