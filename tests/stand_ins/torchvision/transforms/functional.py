from typing import Any, NoReturn


def __getattr__(name: str) -> Any:
    """Let anything be imported; calling it says that the real package is missing."""
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"torchvision.transforms.functional.{name} needs the real torchvision")

    return missing
