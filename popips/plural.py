"""Numbers of things, in words."""


def counted(number: int, what: str) -> str:
    """Return a number of things, by the name of one of them."""
    return f"{number} {what}{'' if number == 1 else 's'}"
