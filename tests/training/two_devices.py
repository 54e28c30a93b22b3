"""A program for the tests: the command line on two processes, with what may happen to one of them.

The variable MSSTS_TEST_EVENT names a device and what happens to it at its third step, such as "1 MemoryError", or
"0 slow" for a disk that needs seconds to write a file. "1 nan": the mask head of that device returns NaN from then on.
"""

import errno
import os
import resource
import signal
import time

import torch

from mssts import cli
from mssts.core.errors import InputError
from mssts.training.callbacks import Callback
from mssts.training.failures import NonFinite

SECONDS = 7.0  # longer than any process waits for another to end
DEVICE, EVENT = os.environ["MSSTS_TEST_EVENT"].split()
ERRORS = {
    "InputError": InputError("a file: found this, expected that"),
    "NonFinite": NonFinite("a loss is not finite"),
    "MemoryError": MemoryError(),
    "NoSpace": OSError(errno.ENOSPC, "No space left on device"),
    "DeadWorker": RuntimeError("DataLoader worker (pid 1) is killed"),
    "Bug": ZeroDivisionError("a bug"),
}


class Event(Callback):
    def on_step(self, step, model, record):
        if step != 3 or os.environ.get("LOCAL_RANK", "0") != DEVICE:
            return
        if EVENT in ERRORS:
            raise ERRORS[EVENT]
        if EVENT == "nan":
            torch.nn.init.constant_(model.mask_parameter_head.layers[-1].weight, torch.nan)
        if EVENT == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if EVENT == "full":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
            os.kill(os.getpid(), signal.SIGTERM)


def slow_fsync(descriptor, fsync=os.fsync):
    time.sleep(SECONDS)
    fsync(descriptor)


if __name__ == "__main__":
    if EVENT == "slow" and os.environ.get("LOCAL_RANK", "0") == DEVICE:
        os.fsync = slow_fsync
    cli._callbacks = lambda study: [Event()]
    cli.main()
