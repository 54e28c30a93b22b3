"""What an annotation file holds, in a few lines for people."""

from __future__ import annotations

from collections import Counter

from mssts.ytvis.annotations import Annotations
from mssts.ytvis.json_input import listed

MAX_SIZES = 5


def summary(split: str, annotations: Annotations) -> list[str]:
    """Lines on videos, frames, lengths, sizes, instances per category and challenges; crowds are counted apart."""
    videos = annotations.videos.values()
    lengths = [video.length for video in videos]
    sizes = Counter(f"{video.width}x{video.height}" for video in videos)
    shown = [f"{size} ({count})" for size, count in sizes.most_common(MAX_SIZES)]
    more = [f"{len(sizes) - MAX_SIZES} other sizes"] if len(sizes) > MAX_SIZES else []
    lines = [
        f"{split}: {len(lengths)} videos, {sum(lengths)} frames ({min(lengths)} to {max(lengths)} per video); "
        f"width x height: {', '.join(shown + more)}"
    ]
    instances: Counter[int] = Counter()
    challenges: dict[str, Counter[bool]] = {}
    crowds = 0
    for track in annotations.tracks:
        crowds += track.crowd
        instances[track.category_id] += not track.crowd
        for name, holds in (track.attributes or {}).items():
            challenges.setdefault(name, Counter())[holds] += 1
    if not instances:
        return [*lines, "no annotations"]
    counts = [f"{name} {instances[number]}" for number, name in annotations.categories.items()]
    lines.append(f"instances: {instances.total()} ({listed(counts)})" + (f"; crowds: {crowds}" if crowds else ""))
    if challenges:
        found = [f"{name} {count[True]} of {count.total()}" for name, count in sorted(challenges.items())]
        lines.append(f"challenges: {listed(found)}")
    return lines
