from __future__ import annotations

import pytest

from tests.ytvis.cases import Case, each_reader

__all__ = ["each_reader"]


@pytest.fixture(scope="session")
def new_case() -> type[Case]:
    return Case
