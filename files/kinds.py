"""What a model file is, by the names and shapes of its tensors, and the folder of models/ that it belongs in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .header import TensorHeader
from .read import ModelFile
from .refusal import first

Headers = Mapping[str, TensorHeader]

WRAPPER = re.compile(r"^(?:module\.|_orig_mod\.)+")  # of data-parallel training and of torch.compile


@dataclass(frozen=True)
class Kind:
    """A kind of model file.

    Attributes:
        what: its name with an article.
        folder: of models/ that it belongs in, or None where this pack and ComfyUI have no use for it.
    """

    what: str
    folder: str | None = None


MOTION_MODULE = Kind("a motion module for SD1.5", "animatediff_models")
SDXL_MOTION_MODULE = Kind("a motion module for SDXL, which has 3 down blocks")
HOTSHOT_MODULE = Kind("a HotshotXL motion module, made for SDXL")
MOTION_LORA = Kind("a motion LoRA, which changes a motion module", "animatediff_motion_lora")
LORA = Kind("a LoRA", "loras")
CONTROLNET = Kind("a ControlNet", "controlnet")
T2I_ADAPTER = Kind("a T2I-Adapter", "controlnet")
IP_ADAPTER = Kind("an IP-Adapter", "ipadapter")
GLIGEN = Kind("a GLIGEN model", "gligen")
CHECKPOINT = Kind("a whole checkpoint", "checkpoints")
CLIP_VISION = Kind("a CLIP vision model", "clip_vision")
VAE = Kind("a VAE", "vae")
UNET = Kind("a UNet", "diffusion_models")
TEXT_ENCODER = Kind("a text encoder", "text_encoders")
EMBEDDING = Kind("an embedding (textual inversion)", "embeddings")
OTHER = Kind("no model that this pack knows")

LORA_NAME = (
    r"^lora_(unet|te\d?)_|(lora|adapter)[._](up|down|mid|A|B)\b|[._]lora(_linear_layer)?\."
    r"|\.(hada|lokr)_|\.(dora_scale|alpha|diff|diff_b)$"
)
# What only some tensor of such a file is called; the first pattern that one matches tells.
NAMES = (
    (r"(motion_modules|temporal_transformer)[._].*lora|lora.*[._]motion_modules[._]", MOTION_LORA),
    (r"\.temporal_attentions\.", HOTSHOT_MODULE),
    (r"(^|\.)(image_proj|ip_adapter|ip_adapter_image_proj)\.", IP_ADAPTER),
    (r"(^|\.)position_net\.", GLIGEN),
    (LORA_NAME, LORA),
    (r"^(control_model|controlnet_\w+|input_hint_block|zero_convs)\.|^lora_controlnet$", CONTROLNET),
    (r"^(adapter\.)?body\.\d+\.(block1|resnets|in_conv)\.", T2I_ADAPTER),
    (r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.", CHECKPOINT),
    (r"\.motion_modules\.", MOTION_MODULE),
    (r"^(vision_model|visual)\.", CLIP_VISION),
    (r"^(encoder|decoder|quant_conv|post_quant_conv)\.(conv_in|conv_out|down|mid|up|weight)", VAE),
    (r"^(conv_in|input_blocks\.0\.0|double_blocks\.0|joint_blocks\.0)\.", UNET),
    (r"^(string_to_param\.\*|\*|emb_params|clip_[lg])$", EMBEDDING),
    (r"(^|\.)text_model\.|^(encoder|shared)\.(block|weight)", TEXT_ENCODER),
)
PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in NAMES)


def without_wrapper(name: str) -> str:
    """Take off what training loops put before every name."""
    return WRAPPER.sub("", name)


def kind_of(headers: Headers) -> Kind:
    """Return what kind of model has tensors of these names and shapes."""
    names = [without_wrapper(name) for name in headers]
    kind = next((kind for pattern, kind in PATTERNS if any(map(pattern.search, names))), OTHER)
    return SDXL_MOTION_MODULE if kind is MOTION_MODULE and count_blocks(names, "down_blocks") == 3 else kind


def count_blocks(names: Iterable[str], group: str) -> int:
    """Return how many blocks of a group the names speak of; no model has a hundred."""
    pattern = re.compile(rf"{group}\.([0-9]{{1,2}})\.")
    return 1 + max((int(match[1]) for name in names if (match := pattern.match(name))), default=-1)


def check_kind(file: ModelFile, *wanted: Kind) -> Kind:
    """Return what kind of model a file is.

    Raises:
        ModelFileError: if it is of no kind of those `wanted`; the message names the folder that it belongs in.
    """
    kind = kind_of(file.headers)
    if kind in wanted:
        return kind
    if kind is OTHER:
        raise file.refusal(f"is {kind.what}: it holds {first(file.headers)}", "Choose another file.")
    belongs = f"It belongs in models/{kind.folder}." if kind.folder else "This pack cannot use it."
    raise file.refusal(f"is {kind.what}", belongs)
