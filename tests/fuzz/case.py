"""How the process of one input runs commands, and what must hold of each of them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import re
import shutil
import signal
import stat
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mssts import cli
from mssts.config import leaves
from mssts.core.errors import Failure, InputError, system_failure

SECONDS = 10
TRACE = -1
REFUSALS = (2, 3)  # bad input; a training whose numbers are not finite
LONGEST_MESSAGE = 20_000
NOT_FOR_PEOPLE = re.compile(
    r"Traceback|(?!InputError)\b\w+(Error|Exception|Warning)\b|<class|<built-in|object at 0x|weights_only|pydantic"
    r"|[^\n -~\xa0-\uffff]"
)


@dataclass
class Case:
    """One input, in the process that reads it; the current directory is its project.

    Attributes:
        rng: Source of all that is random.
        number: Its number; 0 is the valid file.
        log: File that receives what is done and found, one line each: it is read even if the process dies.
    """

    rng: random.Random
    number: int
    log: Path

    def note(self, what: str, text: object) -> None:
        """Append a line to the log."""
        with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{what} {str(text)[:1500]!r}\n")

    def expect(self, holds: object, text: str) -> None:
        """Record a finding unless it holds."""
        if not holds:
            self.note("FOUND", text)

    def command(self, *arguments: object) -> str | None:
        """Run a command of mssts; see `read`."""

        def main() -> None:
            sys.argv = ["mssts", *map(str, arguments)]
            cli.main()

        return self.read(" ".join(map(str, arguments)), main)

    def read(self, name: str, entrance: Callable[[], object]) -> str | None:
        """Call an entrance and check how it ends. Returns the message if the input is refused, None if accepted."""
        name = name[:300]
        self.note("run", name)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors, "") for errors in ("strict", "backslashreplace"))
        before, code = _files(), 0
        try:
            signal.alarm(SECONDS)  # nothing handles it: it ends the process, which is seen from outside
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                entrance()
        except (InputError, Failure) as error:
            code = error.exit_code
            err.write(f"error: {error}")
        except OSError as error:
            code = 2
            err.write(f"error: {system_failure(error)}")
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException as error:
            code = TRACE
            self.note("FOUND", f"{name}: trace: {_place(error)}: {str(error)[-300:]}")
        signal.alarm(0)
        err.seek(0)
        message = re.sub(r"\r.*", "", err.read())  # without progress bars
        strange, after = NOT_FOR_PEOPLE.search(message), _files()
        changed = [path for path in before if after.get(path) != before[path]]
        is_documented = code in (0, TRACE) or (code in REFUSALS and "error:" in message.lower())
        self.expect(is_documented, f"{name}: exit code {code}: {message}")
        self.expect(not strange, f"{name}: {strange and strange[0]!r} is not for people: {message}")
        self.expect(len(message) <= LONGEST_MESSAGE, f"{name}: a message of {len(message)} characters: {message}")
        self.expect(not changed, f"{name}: changed {changed}")
        self.expect(not Path("owned").exists(), f"{name}: executed code of the file")
        self.note("exit", f"{code}: {message}")
        return message or "no message" if code else None

    def evaluate(self, annotations: Path, predictions: Path, *options: str) -> str | None:
        """Run `evaluate` and check the metrics that it writes; see `read`."""
        output = Path("evaluated/metrics.json")
        files = ("--annotations", annotations, "--predictions", predictions, "--output", output)
        refused = self.command("evaluate", *files, *options)
        if refused is None:
            metrics = json.loads(output.read_text())
            values = leaves({key: metrics[key] for key in ("overall", "class_agnostic", "per_category", "attributes")})
            shares = {key: value for key, value in values.items() if value is not None and ".instances" not in key}
            wrong = {key: value for key, value in shares.items() if not 0 <= value <= 1}
            self.expect(not wrong, f"metrics outside of 0..1: {wrong}")
            shutil.rmtree(output.parent)
        return refused

    def agree(self, **verdicts: str | None) -> None:
        """Check that all entrances accept a file, or all refuse it."""
        refused = [verdict is not None for verdict in verdicts.values()]
        self.expect(all(refused) or not any(refused), f"one file, two verdicts: {verdicts}")


def _files() -> dict[str, str]:
    """Kind and digest of every file of the project."""
    found = {}
    for path in Path().rglob("*"):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path)] = f"{stat.S_IFMT(mode):o} {hashlib.sha256(content).hexdigest()}"
    return found


def _place(error: BaseException) -> str:
    """The kind of an error, and the line of mssts that it passed last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "mssts" in Path(frame.filename).parts]
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else repr(error)
