"""The processes of a run on several devices of one machine: the first starts the others and answers for them.

A process that fails sends its message to the first one, which ends with that message and exit code. So a command has
one message and one exit code, whichever device failed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from lightning_fabric.plugins.environments import LightningEnvironment

from mssts.core.errors import DeviceError

PIPE = "MSSTS_FAILURE_PIPE"
PIPE_BYTES = 2**16  # what a pipe holds; nobody reads it before the writing process has ended
LOST = 120  # exit code of a process that only lost the connection to another one
CLOSE_SECONDS = 5.0  # for the other processes to end by themselves
HANG_SECONDS = 60.0  # for this process to notice that another one has failed; collectives of NCCL may hang
SRUN_SECONDS = 300  # for the first process to write the results, or for another one to notice a failure


def is_started_by_another() -> bool:
    """Whether the first process of the machine has started this one."""
    return PIPE in os.environ


def fail(error: BaseException) -> NoReturn:
    """End this process; the first one reports the error if it has an exit code of its own."""
    code = getattr(error, "exit_code", None)
    if code is None:
        raise error
    with open(int(os.environ[PIPE]), "w", encoding="utf-8") as pipe:
        pipe.write(str(error)[: PIPE_BYTES // 4])
    sys.exit(code)


class Processes:
    """The other processes of a run. Use as `with started(devices) as processes`.

    Args:
        children: The processes of the devices 1, 2, ...
        pipes: File descriptor for each, from which its message is read.
    """

    def __init__(self, children: list[subprocess.Popen[bytes]], pipes: list[int]) -> None:
        self._children = children
        self._pipes = pipes
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._failure: DeviceError | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def failure(self) -> DeviceError | None:
        """Return the failure of the process that failed by itself; None if none has."""
        with self._lock:
            self._failure = self._failure or self._find_failure()
            return self._failure

    def _find_failure(self) -> DeviceError | None:
        for device, (child, pipe) in enumerate(zip(self._children, self._pipes, strict=True), start=1):
            code = child.poll()
            if code in (None, 0, LOST):
                continue
            if code < 0:
                name = signal.Signals(-code).name
                return DeviceError(
                    f"the process of device {device} was ended by signal {name}. If the system killed it for memory, "
                    "lower execution.clips_per_device or execution.workers. Then run the same command again."
                )
            message = ""
            with suppress(BlockingIOError):  # it has sent none, and processes of its own still run
                message = os.read(pipe, PIPE_BYTES).decode()
            return DeviceError(message or f"the process of device {device} failed; its messages are above.", code)
        return None

    def wait_for_failure(self) -> DeviceError:
        """Return the failure that broke the connection to another process."""
        end = time.monotonic() + HANG_SECONDS
        while time.monotonic() < end and any(child.poll() is None for child in self._children):
            if failure := self.failure():
                return failure
            time.sleep(0.05)
        return self.failure() or DeviceError("the connection to another device was lost. Run the same command again.")

    def close(self, seconds: float) -> None:
        """Wait for the processes, and end those that have not ended after so many seconds."""
        self._closing.set()
        end = time.monotonic() + seconds
        for child in self._children:
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _watch(self) -> None:
        """End this process too if another one has failed and it does not notice."""
        while not (failure := self.failure()):
            if self._closing.wait(1.0):
                return
        if not self._closing.wait(HANG_SECONDS):
            print(f"error: {failure}", file=sys.stderr, flush=True)
            for child in self._children:
                child.kill()
            os._exit(failure.exit_code)


def start_on_nodes(devices: int, nodes: int) -> None:
    """Replace this process, in a job of Slurm, by the srun that runs this command once for each device of all nodes.

    Returns in the processes that srun has started, and outside Slurm.
    """
    if "SLURM_JOB_ID" not in os.environ or os.environ.get("SLURM_STEP_NUM_TASKS") == str(devices * nodes):
        return
    places = [f"--nodes={nodes}", f"--ntasks={devices * nodes}", f"--ntasks-per-node={devices}", "--cpu-bind=none"]
    sys.stdout.flush()
    os.execvp("srun", ["srun", *places, f"--wait={SRUN_SECONDS}", sys.executable, *sys.orig_argv[1:]])


@contextmanager
def started(devices: int) -> Iterator[Processes]:
    """Start this command once more for each further device; the processes end with the block.

    Args:
        devices: Number of devices, of which this process has the first.
    """
    place = LightningEnvironment()
    shared = {"MASTER_ADDR": place.main_address, "MASTER_PORT": str(place.main_port), "WORLD_SIZE": str(devices)}
    own = shared | {"NODE_RANK": "0", "LOCAL_RANK": "0"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    children, pipes = [], []
    for device in range(1, devices):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        environment = os.environ | {"LOCAL_RANK": str(device), PIPE: str(writer)}
        command = [sys.executable, *sys.orig_argv[1:]]
        children.append(subprocess.Popen(command, env=environment, pass_fds=[writer]))
        pipes.append(reader)
        os.close(writer)
    processes = Processes(children, pipes)
    try:
        yield processes
        processes.close(HANG_SECONDS)
    finally:
        processes.close(CLOSE_SECONDS)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
