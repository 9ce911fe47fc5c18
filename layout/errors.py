"""What is said of a layout that makes no sense."""


class LayoutError(ValueError):
    """A layout, or a part of it, does not make sense; `path` are the keys and indices down to what is wrong."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path
