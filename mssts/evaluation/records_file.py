"""Match records on disk: one `.npz` file of plain arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from mssts.core.errors import InputError
from mssts.core.files import atomic_write, verify_digest
from mssts.evaluation.matching import PER_DETECTION, GroupRecords, MatchRecords, joined

MATCHES, BOX_MATCHES = "matches.npz", "box_matches.npz"


def write_records(path: Path, records: MatchRecords) -> None:
    """Write match records without their overlaps; the same records give the same bytes.

    Arrays: `video_ids` (V,), `category_ids` (K,), `views` (A,), and, of the K categories followed by the pooled group,
    the fields of `GroupRecords` joined along N, `group_sizes` (K+1,) and `positives` (K+1, A, V).

    Args:
        path: The file to write.
        records: What `match` returned.
    """
    groups = (*records.categories, records.pooled)
    with atomic_write(path, "wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            video_ids=np.array(records.video_ids, dtype=np.int64),
            category_ids=np.array(records.category_ids, dtype=np.int64),
            views=np.array(records.views),
            group_sizes=np.array([group.video_N.size for group in groups], dtype=np.int64),
            positives=np.stack([group.positives_AV for group in groups]),
            **joined(groups),
        )


def read_records(path: Path, recorded: str | None = None) -> MatchRecords:
    """Read match records that `write_records` wrote.

    Args:
        path: The file.
        recorded: SHA-256 that metrics.json records of it; None if there is none.

    Raises:
        InputError: If the file is missing, damaged, or was changed after its digest was recorded.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; evaluate the run again to get its match records")
    if recorded is not None:
        verify_digest(path, recorded, "Evaluate the run again.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            ends = np.cumsum(stored["group_sizes"])[:-1]
            columns = [np.split(stored[name], ends, axis=-1) for name in PER_DETECTION]
            groups = [GroupRecords(*group) for group in zip(*columns, stored["positives"], strict=True)]
            return MatchRecords(
                tuple(stored["video_ids"].tolist()),
                tuple(stored["category_ids"].tolist()),
                tuple(stored["views"].tolist()),
                tuple(groups[:-1]),
                groups[-1],
            )
    except (KeyError, ValueError, IndexError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a file of match records ({error}); evaluate the run again") from None
