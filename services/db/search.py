"""Looking for what somebody typed, as it is typed: `%` and `_` mean themselves."""


def containing(typed: str) -> str:
    """The pattern for LIKE and ILIKE that finds `typed` anywhere, without its outer spaces."""
    part = typed.strip().replace("\0", "").replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{part}%"
