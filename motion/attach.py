"""The comfy side of the motion module: a ModelPatcher of its own, and how a MODEL uses it while its UNet runs.

Nothing is inserted into the UNet, and nothing global is replaced. The motion module is an additional model of the
MODEL; for the duration of one UNet call, forward hooks add its residuals behind the layers that they follow in SD1.5.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor, nn

from ..windows.frames import FRAMES, Frames, ad_params, frames_of
from .checkpoint import read_motion_module
from .config import MotionConfig
from .group_norm import over_all_frames
from .hooks import HUNG, Note, Ran, Residual, hung
from .position import sinusoid
from .regions import KEY as REGIONS
from .regions import Regions, call
from .transformer import MotionModule
from .weights import Weight, of_frames

KEY = "animatelcm"
ANIMATEDIFF_EVOLVED = "ADE"  # its key of additional models


class MotionModelError(ValueError):
    """A motion module and a model, or a clip's length, do not fit each other."""


# Loading


def load_motion_module(path: str, disable_dynamic: bool = False) -> ModelPatcher:
    """Read a motion module file into a ModelPatcher whose `model` is a `MotionModule`.

    Args:
        path: the file.
        disable_dynamic: whether to keep it out of ComfyUI's dynamic VRAM; ComfyUI itself asks for that.

    Raises:
        ModelFileError: if the file is not a motion module for SD1.5.
    """
    checkpoint = read_motion_module(path)
    management = comfy.model_management
    device, offload_device = management.get_torch_device(), management.unet_offload_device()
    parameters = sum(tensor.numel() for tensor in checkpoint.state_dict.values())
    dtype = management.unet_dtype(device, parameters, weight_dtype=checkpoint.dtype)
    net = MotionModule(checkpoint.config, comfy.ops.manual_cast, dtype=dtype, device=offload_device).eval()
    patcher = patcher_class(disable_dynamic)(net, device, offload_device)
    # Under dynamic VRAM the file's own memory is used in place of a copy.
    dynamic = getattr(patcher, "is_dynamic", lambda: False)()
    net.load_state_dict({key: value.to(dtype) for key, value in checkpoint.state_dict.items()}, assign=dynamic)
    patcher.cached_patcher_init = (load_motion_module, (path,))  # how newer versions make one per GPU
    return patcher


def patcher_class(disable_dynamic: bool) -> type[ModelPatcher]:
    """Return the class of patchers in use, looked up anew: ComfyUI rebinds it at start, and old versions lack it."""
    if disable_dynamic:
        return ModelPatcher
    return getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)


# Attaching


def attach_motion(
    model: ModelPatcher, motion: ModelPatcher, gamma: Weight = 1.0, scale: Weight = 1.0, grouped: bool = False
) -> ModelPatcher:
    """Return a clone of `model` whose frames move together: w0 + gamma * tau_video (Eq. 2 of the AnimateLCM paper).

    A motion module that the model already has is replaced.

    Args:
        model: an SD1.5 model.
        motion: from `load_motion_module`.
        gamma: weight of the residuals; 0 is the image model on every frame.
        scale: factor on the scores by which frames attend to each other.
        grouped: whether GroupNorm is taken over all frames of a clip or window together, and not frame by frame.

    Raises:
        MotionModelError: if the model is no SD1.5 UNet, or as wide as another one.
    """
    check_fit(model, motion.model.config)
    patched = model.clone()
    patched.set_additional_models(KEY, [motion.clone()])
    wrappers: dict[str, Callable[..., Any]] = {
        WrappersMP.OUTER_SAMPLE: check_length,
        WrappersMP.CALC_COND_BATCH: say_frames,
        WrappersMP.APPLY_MODEL: MotionResidual(gamma, scale, grouped),
    }
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


def motion_config_of(model: ModelPatcher) -> MotionConfig | None:
    """Return the config of the motion module attached to `model`, or None where there is none."""
    attached = model.get_additional_models_with_key(KEY)
    return attached[0].model.config if attached else None


def motion_of(executor: Any) -> MotionModule:
    """Return the motion module of the model that an APPLY_MODEL wrapper runs in."""
    net: MotionModule = executor.class_obj.current_patcher.get_additional_models_with_key(KEY)[0].model
    return net


@dataclass(frozen=True)
class MotionResidual:
    """An APPLY_MODEL wrapper: hangs the motion module on the UNet, calls it, and takes everything off again."""

    gamma: Weight
    scale: Weight
    grouped: bool = False

    def __call__(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Run one UNet call on (conds * frames, channels, height, width) with the residuals of the motion module."""
        unet, motion, options = executor.class_obj.diffusion_model, motion_of(executor), transformer_options or {}
        compiled = is_compiled(unet, options)
        regions = None if compiled or self.grouped else regions_of(options)
        if not isinstance(self.gamma, Tensor) and self.gamma == 0 and not compiled and not self.grouped:
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
        frames, ran = frames_of_call(options, x), Ran()
        check_frames(len(frames.window), motion.config)
        residuals = list(self.residuals(motion, frames.numbers, ran, x.device, compiled, regions))
        hooks = zip(places(unet, motion.config), residuals, strict=True)
        together = over_all_frames((unet, motion), len(frames.numbers)) if self.grouped else nullcontext()
        with together, hung([(unet.input_blocks[0][0], Note(ran.unet)), *hooks]):
            more = kwargs | HUNG[self.grouped] if compiled else kwargs
            output = executor(x, t, c_concat, c_crossattn, control, transformer_options, **more)
        check_all_ran(ran, len(residuals), compiled and not caches(options))
        return output

    def residuals(
        self,
        motion: MotionModule,
        frames: tuple[int, ...],
        ran: Ran,
        device: torch.device,
        compiled: bool,
        regions: Regions | None,
    ) -> Iterator[Residual]:
        """Yield the hook of each temporal transformer; where it or the UNet is compiled, with its numbers as tensors.

        On a compiled UNet gamma may be 0 as well: that is the same graph as any other gamma's.
        """
        gamma, scale = of_frames(self.gamma, frames, device), of_frames(self.scale, frames, device)
        tensors = compiled or regions is not None
        if tensors:
            gamma, scale = (torch.as_tensor(weight, device=device) for weight in (gamma, scale))
        for block, channels in zip(motion.blocks(), widths(motion.config), strict=True):
            position = sinusoid(len(frames), channels, torch.float32, device) if tensors else None
            run = block if regions is None else regions.of(call, block)
            yield Residual(run, len(frames), gamma, scale, position, ran.motion)


def is_compiled(unet: Any, options: dict[str, Any]) -> bool:
    """Whether a UNet call goes through torch.compile: by a wrapper that is yet to come, or one that came before."""
    return hasattr(unet, "_orig_mod") or COMPILE_KEY in wrappers_of(options, WrappersMP.APPLY_MODEL)


def regions_of(options: dict[str, Any]) -> Regions | None:
    """Return the regions that 'AnimateLCM Compile' compiles of this model, or None where it is not used."""
    wrappers = wrappers_of(options, WrappersMP.APPLY_MODEL).get(REGIONS)
    return wrappers[0].regions if wrappers else None


def is_grouped(options: dict[str, Any]) -> bool:
    """Whether GroupNorm is taken over all frames in a UNet call."""
    wrappers = wrappers_of(options, WrappersMP.APPLY_MODEL).get(KEY)
    return bool(wrappers and wrappers[0].grouped)


def caches(options: dict[str, Any]) -> bool:
    """Whether another node wraps the UNet, and may answer in its place."""
    keys = {*wrappers_of(options, WrappersMP.APPLY_MODEL), *wrappers_of(options, WrappersMP.DIFFUSION_MODEL)}
    return any(not str(key).startswith((KEY, COMPILE_KEY)) for key in keys)


def wrappers_of(options: dict[str, Any], kind: str) -> dict[str | None, list[Any]]:
    """Return the wrappers of a kind that a call goes through, by the key of the node that added them."""
    found: dict[str | None, list[Any]] = options.get("wrappers", {}).get(kind, {})
    return found


# The frames of a call


def say_frames(executor: Any, model: Any, conds: Any, x: Tensor, timestep: Tensor, options: dict[str, Any]) -> Any:
    """A CALC_COND_BATCH wrapper: say which frames a clip or window (frames, channels, height, width) has.

    ControlNets run before the UNet, and outside of what wraps it: they read of a clip what is there by now.
    """
    told = options.get("transformer_options", {})
    frames = frames_of(told, len(x))
    told = {"ad_params": ad_params(frames)} | told | {FRAMES: frames}
    return executor(model, conds, x, timestep, options | {"transformer_options": told})


def frames_of_call(options: dict[str, Any], x: Tensor) -> Frames:
    """Return the frames of an APPLY_MODEL call on `x`, (conds * tiles * frames, channels, height, width)."""
    frames: Frames = options.get(FRAMES) or frames_of(options, len(x) // len(options.get("cond_or_uncond", [0])))
    if len(x) % len(frames.numbers):
        raise MotionModelError(
            f"The UNet is called with {len(x)} rows, and the clip has {len(frames.numbers)} frames. Another node on "
            "this model cuts the clip, and its frames do not see each other: take it off the model."
        )
    return frames


# The places in the UNet


def places(unet: Any, config: MotionConfig) -> Iterator[nn.Module]:
    """Yield the layers of `unet` that the temporal transformers follow, in the order in which they run."""
    blocks: list[Any] = [*unet.input_blocks, *([unet.middle_block] if config.mid_channels else []), *unet.output_blocks]
    for block in blocks:
        place = last_of(block, comfy.ldm.modules.attention.SpatialTransformer) or first_of(block, openaimodel.ResBlock)
        if place is not None:
            yield place


def last_of(block: nn.Sequential, kind: type[nn.Module]) -> nn.Module | None:
    """Return the last layer of that kind in a block, or None."""
    return next((layer for layer in reversed(list(block)) if isinstance(layer, kind)), None)


def first_of(block: nn.Sequential, kind: type[nn.Module]) -> nn.Module | None:
    """Return the first layer of that kind in a block, or None."""
    return next((layer for layer in block if isinstance(layer, kind)), None)


def width(place: Any) -> int:
    """Return the channels that a place puts out."""
    return int(place.in_channels if hasattr(place, "in_channels") else place.out_channels)


# Checks


def check_fit(model: ModelPatcher, config: MotionConfig) -> None:
    """Refuse a model whose UNet has other places or widths than the motion module."""
    unet, kind = model.model.diffusion_model, type(model.model.model_config).__name__
    # SD2's UNet has the same widths, but knows other features.
    if not isinstance(model.model.model_config, comfy.supported_models.SD15):
        raise MotionModelError(
            f"This is a model of the kind {kind}, and the motion module is one for SD1.5. Load an SD1.5 checkpoint."
        )
    found = [width(place) for place in places(unet, config)]
    wanted = widths(config)
    if found != wanted:
        raise MotionModelError(
            f"This is a {kind} model whose UNet has {len(found)} places of widths {sorted(set(found))}. The motion "
            f"module has {len(wanted)} of widths {sorted(set(wanted))}: load a checkpoint and a motion module that "
            "belong together. AnimateLCM's module needs SD1.5, the mini module the mini checkpoint."
        )


def widths(config: MotionConfig) -> list[int]:
    """Return the channels of each temporal transformer, in the order in which they run."""
    down = [channels for channels in config.down_channels for _ in range(config.down_modules)]
    up = [channels for channels in config.up_channels for _ in range(config.up_modules)]
    return [*down, *([config.mid_channels] if config.mid_channels else []), *up]


def check_length(executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """An OUTER_SAMPLE wrapper: refuse clips, or windows, longer than the position encoding before the first step."""
    guider, frames = executor.class_obj, noise.shape[0]
    config = motion_config_of(guider.model_patcher)
    handler = guider.model_options.get("context_handler")
    if config is not None and handler is None:
        check_frames(frames, config)
    elif config is not None:
        check_window(min(frames, getattr(handler, "context_length", 0)), config)
    if frames == 1:
        logging.warning("AnimateLCM: a single frame has no motion. Set the latent's batch size to 16 frames.")
    if guider.model_patcher.get_additional_models_with_key(ANIMATEDIFF_EVOLVED):
        logging.warning(
            "AnimateLCM: the model has a motion module of AnimateDiff-Evolved too, and both move the video. Take its "
            "node ('Use Evolved Sampling' or 'Apply AnimateDiff Model') off the model, or 'Apply AnimateLCM'."
        )
    return executor(noise, *args, **kwargs)


def check_frames(frames: int, config: MotionConfig) -> None:
    """Refuse more frames at once than there are positions."""
    if frames > config.max_frames:
        raise MotionModelError(
            f"The clip has {frames} frames, and the motion module has positions for {config.max_frames}. "
            f"Choose {config.max_frames} frames or fewer, or put 'AnimateLCM Long Clip' before the sampler."
        )


def check_window(length: int, config: MotionConfig) -> None:
    """Refuse windows of more frames than there are positions."""
    if length > config.max_frames:
        raise MotionModelError(
            f"The windows have {length} frames, and the motion module has positions for {config.max_frames}. Set the "
            f"length of 'AnimateLCM Long Clip', or of the node that they are of, to {config.max_frames} or fewer."
        )


def check_all_ran(ran: Ran, expected: int, must_run: bool) -> None:
    """Refuse a result that the motion module, or a part of it, had no say in.

    Where the UNet did not run either, a cache (EasyCache, say) answered in its place, and all is fine; unless there is
    none, and it `must_run`.
    """
    if len(ran.motion) != expected and (ran.unet or ran.motion):
        raise MotionModelError(
            f"{len(ran.motion)} of {expected} parts of the motion module ran. Another node on this model replaces or "
            "skips layers of the UNet: take it off the model, or put gamma to 0."
        )
    if not ran.motion and must_run:
        raise MotionModelError(
            "The compiled UNet ran without the motion module. Take the node that compiles the model away "
            "(TorchCompileModel, say)."
        )
