"""The jobs' environment comes from the config and the running snakemake, never from the machine."""

from __future__ import annotations

import json
import sys

PRINT_ENVIRONMENT = """
import json, os, sys
from pathlib import Path

names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "MSSTS_MLFLOW")
if sys.argv[1] == "generate":
    output = Path(sys.argv[sys.argv.index("--output") + 1])
    output.mkdir(parents=True, exist_ok=True)
    values = {name: os.environ.get(name) for name in names} | {"python": sys.executable}
    for name in ("fingerprint", "train", "valid", "control", "stills"):
        (output / f"{name}.json").write_text(json.dumps(values))
"""


def test_jobs_get_threads_of_the_config_and_the_running_python(snakemake, copy_sources, tmp_path):
    directory = copy_sources(tmp_path / "clone")
    (directory / "mssts" / "__main__.py").write_text(PRINT_ENVIRONMENT)
    scale = directory / "ablations/scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("threads: 1", "threads: 3"))
    target = "data/smoke/synthvis/fingerprint.json"
    run = snakemake(directory, "--cores", "1", "--config", "study=smoke", "mlflow=off", "--", target)
    assert run.returncode == 0, run.stdout
    values = json.loads((directory / target).read_text())
    assert [values[name] for name in values if name.endswith("THREADS")] == ["3", "3", "3"]
    assert (values["PYTHONHASHSEED"], values["MSSTS_MLFLOW"]) == ("0", "off")
    assert values["python"].startswith(sys.prefix)
