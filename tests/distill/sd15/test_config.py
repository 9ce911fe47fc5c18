"""What a training configuration may say, and what is said of one that cannot be used."""

from pathlib import Path

import pytest
from animatelcm.distill.sd15.config import EXAMPLES, ConfigError, read_config

GOOD = """
stage = "lcm_image"
run = "runs/lcm_image"
[data]
sources = ["images"]
[networks]
base = "sd15"
[training]
steps = 10
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_configurations_can_be_used(path: Path) -> None:
    assert read_config(path).stage == path.stem


def test_every_stage_has_a_shipped_configuration() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {"lcm_image", "lcm_video", "image_encoder", "style"}


def test_what_is_not_said_has_a_default(written: Path) -> None:
    written.write_text(GOOD)
    assert read_config(written).training.ema == 0.95


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (GOOD.replace("steps = 10", "step = 10"), "training.steps: Field required; training.step: Extra inputs"),
        (GOOD.replace("lcm_image", "lcm_images"), "stage: Input should be 'lcm_image', 'lcm_video'"),
        (GOOD.replace("lcm_image", "lcm_video"), "the stage lcm_video needs networks.motion"),
        (GOOD.replace("steps = 10", "steps = 0"), "training.steps: Input should be greater than 0"),
        (GOOD.replace('["images"]', '["images"]\nwidth = 500'), "data.width: Input should be a multiple of 64"),
        (GOOD.replace("steps = 10", "steps ="), "is not TOML: Invalid value"),
    ],
)
def test_what_cannot_be_used_is_named(written: Path, wrong: str, message: str) -> None:
    written.write_text(wrong)
    with pytest.raises(ConfigError, match="config.toml") as refused:
        read_config(written)
    assert message in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing.toml cannot be read: No such file.*configs"):
        read_config(tmp_path / "nothing.toml")
