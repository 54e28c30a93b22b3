"""Whether ImageNet weights fit the backbone that they are loaded into."""

from __future__ import annotations


def require_none(different: list[str], missing: list[str], unexpected: list[str]) -> None:
    """Raise ValueError if weights of another architecture were loaded: what they lack would stay random."""
    kinds = {"different sizes": different, "weights missing": missing, "weights left over": unexpected}
    if found := [f"{len(keys)} {kind} ({', '.join(keys[:2])})" for kind, keys in kinds.items() if keys]:
        raise ValueError(f"those of another architecture: {', '.join(found)}")
