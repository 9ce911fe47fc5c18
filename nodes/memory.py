"""Whether what is asked for has room in the machine's memory, before it is made."""

import math

import comfy.model_management
import torch

GIB = 2**30


class TooLargeError(ValueError):
    """What was asked for is larger than the memory that is free."""


def check_memory(what: str, *shape: int) -> None:
    """Refuse a float32 tensor of `shape` that has no room in the free memory; `what` begins the message."""
    needed = 4 * math.prod(shape)
    free = comfy.model_management.get_free_memory(torch.device("cpu"))
    if needed > free:
        raise TooLargeError(
            f"{what} need {needed / GIB:.1f} GiB of memory, and {free / GIB:.1f} GiB are free. Choose fewer frames, "
            "or a smaller size."
        )
