"""Patterns for LIKE and ILIKE in which `%` and `_` mean themselves."""


def contains_pattern(typed: str) -> str:
    """The pattern for LIKE and ILIKE that finds `typed` anywhere, without its outer spaces."""
    part = typed.strip().replace("\0", "").replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{part}%"
