"""Every file that a node of this pack opens is read in bounds: one message says what it is and what was expected."""

from collections.abc import Callable
from pathlib import Path

import pytest
from animatelcm.files.refusal import ModelFileError
from animatelcm.lora.read import read_lora
from animatelcm.motion.checkpoint import read_motion_module
from animatelcm.motion.motion_lora import read_motion_lora

from .hostile import HOSTILE

# What reads a file, and what its messages say was expected
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "motion module": (read_motion_module, "Expected a motion module for SD1.5, such as AnimateLCM_sd15_t2v.ckpt"),
    "motion LoRA": (read_motion_lora, "Expected a motion LoRA for SD1.5, such as v2_lora_ZoomIn.ckpt"),
    "style or acceleration LoRA": (read_lora, "Expected a LoRA for SD1.5"),
}
SLOW = {
    "deep nesting",
    "deep nesting, before 1.6",
    "too many tensors",
    "a pickle of too many operations",
}  # once is enough


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", sorted(HOSTILE.keys() - SLOW))
def test_what_is_no_model_is_named_by_every_reader(case: str, reader: str, tmp_path: Path) -> None:
    (write, message), (read, expected) = HOSTILE[case], READERS[reader]
    write(tmp_path / "some.ckpt")
    with pytest.raises(ModelFileError, match=message) as raised:
        read(tmp_path / "some.ckpt")
    assert str(raised.value).startswith("some.ckpt ")
    assert expected in str(raised.value)
