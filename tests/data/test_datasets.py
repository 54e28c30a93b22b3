import subprocess
import sys

import pytest

from mssts.core.errors import InputError
from mssts.data import datasets
from mssts.data.datasets import DATASETS, entry, is_generated, split_annotations


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_has_numbered_categories_splits_and_a_way_to_get_it(name):
    found = entry(name)
    assert [i for i, _ in found.categories] == list(range(1, len(found.categories) + 1))
    assert len({name for _, name in found.categories}) == len(found.categories)
    assert {"train", "valid"} <= set(found.splits)
    assert is_generated(name) == (not found.source)


def test_category_counts_are_the_published_ones():
    assert [len(DATASETS[name].categories) for name in ("ytvis2019", "ytvis2021", "ytvis2022", "ovis")] == [
        40,
        40,
        40,
        25,
    ]
    assert DATASETS["ytvis2019"].categories[23] == (24, "fox")
    assert DATASETS["ytvis2021"].categories[0] == (1, "airplane")


def test_missing_files_are_all_named_with_where_to_get_them(tmp_path):
    with pytest.raises(InputError) as caught:
        split_annotations("ytvis2019", tmp_path, "train")
    message = str(caught.value)
    assert "train.json" in message and "train/JPEGImages" in message and "youtube-vos.org" in message
    with pytest.raises(InputError, match="mssts generate"):
        split_annotations("synthvis", tmp_path, "stills")


def test_unknown_names_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="'unheard': unknown; expected one of synthvis"):
        is_generated("unheard")
    with pytest.raises(InputError, match="split 'test'; expected one of train, valid"):
        split_annotations("ovis", tmp_path, "test")


def test_the_registry_imports_no_torch():
    modules = f"{datasets.__name__}, mssts.data.synthvis.generate, mssts.ytvis.annotations"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
