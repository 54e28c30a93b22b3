import torch

from mssts.config import ABLATIONS, resolve

torch.set_num_threads(1)


def pytest_generate_tests(metafunc):
    """`variant` runs over the baseline and every variant file that changes the model."""
    if "variant" in metafunc.fixturenames:
        baseline = resolve("smoke", "baseline").model
        names = sorted(path.stem for path in (ABLATIONS / "variants").glob("*.yaml"))
        changing = [name for name in names if resolve("smoke", name).model != baseline]
        metafunc.parametrize("variant", ["baseline", *changing])
