"""What a setting may be, checked: the message names it, what must hold and what came."""

from collections.abc import Collection


def within(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Refuse a value outside [low, high], or outside (low, high] if `above`."""
    if not (low < value <= high if above else low <= value <= high):
        raise ValueError(f"{name} must be in {'(' if above else '['}{low}, {high}], got {value!r}")


def whole(name: str, value: float, low: int, high: int | None = None) -> None:
    """Refuse a value outside [low, high], or below low if there is no high, and any fraction."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r}")  # noqa: TRY004 - a setting is wrong, not the call
    if high is not None:
        within(name, value, low, high)
    elif value < low:
        raise ValueError(f"{name} must be >= {low}, got {value!r}")


def one_of(name: str, value: str, known: Collection[str]) -> None:
    """Refuse what is not among the known."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
