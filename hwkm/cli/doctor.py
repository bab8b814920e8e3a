"""``hwkm doctor``."""


def doctor() -> None:
    """Find out what is wrong."""
