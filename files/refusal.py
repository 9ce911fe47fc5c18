"""The one error of a model file that cannot be used, and the words that its message is made of."""

from collections.abc import Collection

NAMED = 3  # names in a message
LONGEST = 200  # characters of a name in a message
AGAIN = "Download it again."


class ModelFileError(ValueError):
    """A model file cannot be used; the message says what the file is, what was expected and what to do."""


class UnreadableError(ValueError):
    """What the content of a file is, "is empty" say, and what to do; who opened it adds its name and what was expected.

    Args:
        what: the end of a sentence that begins with the file's name.
        remedy: a sentence of its own.
    """

    def __init__(self, what: str, remedy: str = AGAIN) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


def refusal(name: str, what: str, expected: str, remedy: str = AGAIN) -> ModelFileError:
    """Return the error that says of the file `name` what it is, what was expected in its place, and what to do."""
    return ModelFileError(f"{name} {what}. Expected {expected}. {remedy}")


def first(names: Collection[str]) -> str:
    """Return the first few of `names`, in words."""
    named = ", ".join(map(readable, sorted(names)[:NAMED])) or "no tensors"
    return f"{named} and {len(names) - NAMED} more" if len(names) > NAMED else named


def readable(name: str) -> str:
    """Return a name from a file as a message can show it: printable, and not endless."""
    printable = "".join(character if character.isprintable() else "?" for character in name[: LONGEST + 1])
    return printable if len(printable) <= LONGEST else f"{printable[:LONGEST]}..."


def size_in_words(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, power in (("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)):
        if count >= 1000**power:
            return f"{count / 1000**power:.3g} {unit}"
    return f"{count} bytes"
