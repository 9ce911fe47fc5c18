"""The nodes that graphs are moved to, as the page saves them. What is not here does not exist for a move.

`tests/migration/test_ours.py` holds this table against the nodes themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SOCKET = object()  # the default of an input that has to be connected


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        type: ComfyUI's name of its type.
        default: what a new node's widget has; `SOCKET` where there is no widget.
        optional: whether it may be left unconnected.
        options: what there is to choose from, where that does not depend on files.
        range: least and greatest number.
    """

    type: str
    default: Any = SOCKET
    optional: bool = False
    options: tuple[str, ...] = ()
    range: tuple[float, float] = (float("-inf"), float("inf"))

    @property
    def widget(self) -> bool:
        """Whether it is written in the node."""
        return self.default is not SOCKET


@dataclass(frozen=True)
class Kind:
    """One node.

    Attributes:
        name: what people call it.
        size: width and height on the page, in pixels.
        inputs: by name, in the page's order: optional ones last.
        outputs: types by name, in order.
    """

    name: str
    size: tuple[int, int]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str] = field(default_factory=dict)


def _model(optional: bool = False) -> Input:
    return Input("MODEL", optional=optional)


SCHEDULES = (
    "automatic (from the motion module)",
    "AnimateLCM T2V (reference)",
    "AnimateLCM I2V (reference)",
    "LCM (community)",
    "LCM (community, 100 steps)",
    "LCM (community, on AnimateDiff's noise)",
    "LCM (community, average)",
    "AnimateDiff (1000 steps)",
    "AnimateDiff (1000 steps, average)",
    "keep the model's own",
)
GROUP_NORMS = ("automatic (from the motion module)", "frame by frame", "over all frames")
FORMATS = (
    *(
        "MP4 (H.264)",
        "WebM (VP9)",
        "GIF",
        "MP4 (H.265)",
        "MP4 (AV1)",
        "WebM (AV1)",
        "MOV (ProRes)",
        "WebP",
        "PNG sequence",
    ),
)
MODULE = "ANIMATELCM_MOTION_MODULE"

KINDS = {
    "AnimateLCMLoadMotionModule": Kind(
        "Load AnimateLCM Motion Module", (340, 58), {"motion_module": Input("COMBO", "")}, {"motion_module": MODULE}
    ),
    "AnimateLCMMotionLora": Kind(
        "AnimateLCM Motion LoRA",
        (300, 82),
        {
            "motion_module": Input(MODULE),
            "lora": Input("COMBO", ""),
            "strength": Input("FLOAT", 1.0, range=(-2.0, 2.0)),
        },
        {"motion_module": MODULE},
    ),
    "AnimateLCMApply": Kind(
        "Apply AnimateLCM",
        (370, 306),
        {
            "model": _model(),
            "motion_module": Input(MODULE),
            "acceleration_lora": Input("COMBO", "none"),
            "style_lora": Input("COMBO", "none"),
            "alpha": Input("FLOAT", 1.0, range=(0.0, 2.0)),
            "beta": Input("FLOAT", 0.8, range=(0.0, 2.0)),
            "gamma": Input("FLOAT", 1.0, range=(0.0, 2.0)),
            "schedule": Input("COMBO", SCHEDULES[0], options=SCHEDULES),
            "clip": Input("CLIP", optional=True),
            "motion_scale": Input("FLOAT", 1.0, optional=True, range=(0.0, 10.0)),
            "gamma_mask": Input("MASK", optional=True),
            "motion_scale_mask": Input("MASK", optional=True),
            "group_norm": Input("COMBO", GROUP_NORMS[0], optional=True, options=GROUP_NORMS),
        },
        {"model": "MODEL", "clip": "CLIP"},
    ),
    "AnimateLCMLongClip": Kind(
        "AnimateLCM Long Clip",
        (340, 226),
        {
            "model": _model(),
            "length": Input("INT", 16, range=(4, 64)),
            "overlap": Input("INT", 2, range=(0, 63)),
            "loop": Input("BOOLEAN", False),
            "repeat_noise": Input("FLOAT", 1.0, range=(0.0, 1.0)),
            "windows": Input(
                "COMBO", "from afar", options=("from afar", "moving", "fixed", "uniform", "looped uniform")
            ),
            "weights": Input("COMBO", "pyramid", options=("pyramid", "flat")),
            "stride": Input("INT", 1, range=(1, 8)),
        },
        {"model": "MODEL"},
    ),
    "AnimateLCMEmptyLatent": Kind(
        "Empty AnimateLCM Latent",
        (300, 106),
        {
            "width": Input("INT", 512, range=(64, 4096)),
            "height": Input("INT", 512, range=(64, 4096)),
            "frames": Input("INT", 16, range=(1, 4096)),
        },
        {"latent": "LATENT"},
    ),
    "AnimateLCMSaveVideo": Kind(
        "Save AnimateLCM Video",
        (340, 198),
        {
            "images": Input("IMAGE"),
            "fps": Input("FLOAT", 8.0, range=(0.1, 120.0)),
            "filename_prefix": Input("STRING", "AnimateLCM/video"),
            "format": Input("COMBO", "MP4 (H.264)", options=FORMATS),
            "quality": Input("INT", 80, range=(0, 100)),
            "ping_pong": Input("BOOLEAN", False),
            "audio": Input("AUDIO", optional=True),
        },
    ),
    # ComfyUI's own
    "ModelSamplingDiscrete": Kind(
        "ModelSamplingDiscrete",
        (300, 82),
        {"model": _model(), "sampling": Input("COMBO", "eps"), "zsnr": Input("BOOLEAN", False)},
        {"MODEL": "MODEL"},
    ),
    "CheckpointLoaderSimple": Kind(
        "Load Checkpoint",
        (340, 98),
        {"ckpt_name": Input("COMBO", "")},
        {"MODEL": "MODEL", "CLIP": "CLIP", "VAE": "VAE"},
    ),
}

# Where the page saves a sampler's guidance among its widgets' values, and how many values there are
CFG_WIDGETS = {
    "KSampler": (3, 7),
    "KSamplerAdvanced": (4, 10),
    "SamplerCustom": (3, 4),
    "CFGGuider": (0, 1),
    "AnimateLCMSampler": (3, 5),
}


def has(type: str, input: str | None = None, option: str | None = None) -> bool:
    """Whether there is such a node, such an input of it, and such an option of that."""
    kind = KINDS.get(type)
    if kind is None or input is None:
        return kind is not None
    found = kind.inputs.get(input)
    return found is not None and (option is None or option in found.options)
