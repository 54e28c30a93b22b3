"""Claims on the GPUs of this machine: jobs that run side by side take different ones. Imports no torch.

A claim is an abstract Unix socket of the GPU's name. The kernel releases it when its process ends, in whatever way, and
no file is left behind. Processes see each other's claims if they share a network namespace; containers often do not.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import subprocess
import sys
import time
from itertools import takewhile

from mssts.core.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
ON_THE_CPU = "To use the CPU, set runtime.device: cpu in the file of the scale."
_claims: list[socket.socket] = []  # of this process; CUDA reads CUDA_VISIBLE_DEVICES once, so they are for good


def visible_gpus() -> dict[str, str]:
    """GPUs that CUDA may use here.

    Returns:
        Each by its name in CUDA_VISIBLE_DEVICES, with the name that all processes know it by: its UUID if nvidia-smi
        tells it, because a scheduler may number the GPUs of each job from 0.
    """
    uuids, named = _uuids(), os.environ.get(VISIBLE)
    if named is None:
        return {uuid: uuid for uuid in uuids}
    names = takewhile(lambda name: name not in ("", "-1"), (name.strip() for name in named.split(",")))  # as CUDA does
    return {name: _common_name(name, uuids) for name in names}


def _uuids() -> list[str]:
    """UUIDs of the GPUs that nvidia-smi lists."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU \d+: .*\(UUID: (GPU-[^)]+)\)", listed, re.M)


def _common_name(name: str, uuids: list[str]) -> str:
    """The UUID of a GPU that is named by its number or by the beginning of its UUID; any other name as it is."""
    if name.isdecimal():
        return uuids[int(name)] if int(name) < len(uuids) else name
    return next((uuid for uuid in uuids if uuid.startswith(name)), name)


def claim_gpus(number: int) -> None:
    """Claim free GPUs until this process ends, and let CUDA see no other, here and in processes started from here.

    Waits while others hold too many of them. Call it before CUDA starts in this process.

    Raises:
        InputError: If fewer are visible.
    """
    if number <= len(_claims):
        return
    gpus = visible_gpus()
    if not gpus:
        found = f"{VISIBLE} is {os.environ[VISIBLE]!r}" if VISIBLE in os.environ else "nvidia-smi lists none"
        raise InputError(f"runtime.device: found cuda, but there is no GPU here ({found}). {ON_THE_CPU}")
    if len(gpus) < number:
        raise InputError(
            f"execution.devices: found {number}, but the GPUs that can be used here are {', '.join(gpus)}. Lower "
            "execution.devices, or ask for more GPUs."
        )
    claims, told = _claimed(gpus, number), False
    while len(claims) < number:
        holders = [f"{name}: {_holder(common)}" for name, common in gpus.items() if name not in claims]
        for claim in claims.values():
            claim.close()
        if not told:
            print(f"waiting for {number} free GPUs; {', '.join(holders)}", file=sys.stderr, flush=True)
        told = True
        time.sleep(0.5 + os.getpid() % 50 / 100)  # two that hinder each other do not try again at the same time
        claims = _claimed(gpus, number)
    _claims.extend(claims.values())
    os.environ[VISIBLE] = ",".join(claims)


def _claimed(gpus: dict[str, str], number: int) -> dict[str, socket.socket]:
    """Claims on the first free GPUs, at most so many."""
    claims: dict[str, socket.socket] = {}
    for name, common in gpus.items():
        if len(claims) == number:
            break
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(_address(common))
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            claim.listen()  # who holds it can be asked
            claims[name] = claim
    return claims


def _holder(common: str) -> str:
    with socket.socket(socket.AF_UNIX) as question:
        question.settimeout(1.0)
        try:
            question.connect(_address(common))
        except OSError:
            return "a process that ends or begins"
        pid, _, _ = struct.unpack("3i", question.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return f"process {pid}"


def _address(common: str) -> str:
    return f"\0mssts-gpu-{common}"
