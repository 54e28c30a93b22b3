"""Snakemake in a process forked from one that has imported it: the import takes longer than a dry run itself."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def run_snakemake(directory: Path, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
    """Run snakemake in a directory; standard output and error come back as one text."""
    server = _server()
    assert server.stdin and server.stdout
    with tempfile.NamedTemporaryFile("r", errors="replace") as output:
        server.stdin.write(json.dumps([str(directory), arguments, environment, output.name]) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, output.read())


@functools.cache
def _server() -> subprocess.Popen:
    """The process that is forked; it ends with this one."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """For each request on standard input, run snakemake in a fork and print its exit code."""
    from snakemake.cli import main

    for request in sys.stdin:
        child = os.fork()
        if child == 0:
            directory, arguments, environment, output = json.loads(request)
            for number, path in ((0, os.devnull), (1, output), (2, output)):
                os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), number)
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(environment)
            sys.path[0] = directory
            sys.exit(main(arguments))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
