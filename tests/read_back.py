"""Numbers that are read back from tensors: on a GPU each waits for all that was begun."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class ReadBack(TorchDispatchMode):
    """Counts them while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))
