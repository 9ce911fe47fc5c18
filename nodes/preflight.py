"""What cannot work together is said before sampling starts, with what to do about it."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..motion.attach import motion_config_of
from ..sampling.model_sampling import schedule_of

TRAINED_FRAMES = 16
MOST_FRAMES = 2**16  # that noise is drawn for
GOOD_CFG = 2.0
GOOD_SAMPLERS = ("consistency", "lcm")
ADVICE, MASKS = "animatelcm_advice", "animatelcm_masks"


class PreflightError(ValueError):
    """The inputs of a sampler do not fit each other."""


def check_before_sampling(model: ModelPatcher, latent: Tensor, cfg: float, positive: Any, negative: Any | None) -> None:
    """Raise what cannot work."""
    check_latent(model, latent)
    check_numbers(latent, "The latent has", "Look at the node that it comes from.")
    for prompt in [positive] if negative is None else [positive, negative]:
        check_prompt(prompt)
    check_frames(model, latent.shape[0])
    check_guidance(cfg, negative)


def with_advice(model: ModelPatcher) -> ModelPatcher:
    """Return a clone of an accelerated model that logs, before it is sampled, what may be meant but seldom is.

    It does so in every sampler: KSampler's defaults (euler, cfg 8), say, burn the colours of a distilled model.
    """
    return _wrapped(model, ADVICE, _advise)


def with_mask_check(model: ModelPatcher) -> ModelPatcher:
    """Return a clone that gives, in every sampler, each frame its own row of a prompt and mask, or refuses the mask."""
    return _wrapped(model, MASKS, _spread_rows)


def _wrapped(model: ModelPatcher, key: str, wrapper: Callable[..., Tensor]) -> ModelPatcher:
    clone = model.clone()
    clone.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, key)
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, wrapper)
    return clone


def _spread_rows(executor: Any, noise: Tensor, latent_image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    conds, frames = executor.class_obj.conds, len(latent_image)
    check_masks(conds, frames)
    advise_rows(conds, frames)
    for cond in (cond for prompts in conds.values() for cond in prompts):  # copies, made for this sample
        for key, rows in (("mask", _masks(cond)), ("cross_attn", len(cond.get("cross_attn", ())))):
            if rows not in (0, 1, frames):  # ComfyUI would begin again in each context window
                cond[key] = cond[key][torch.arange(frames) % rows]
    return executor(noise, latent_image, *args, **kwargs)


def _masks(cond: dict[str, Any]) -> int:
    mask = cond.get("mask")
    return 0 if mask is None else len(mask) if mask.ndim > 2 else 1


def _advise(executor: Any, noise: Tensor, latent_image: Tensor, sampler: Any, *args: Any, **kwargs: Any) -> Tensor:
    guider = executor.class_obj
    for advice in filter(None, (_of_guidance(guider), _of_sampler(sampler), _of_schedule(guider.model_patcher))):
        logging.warning("AnimateLCM: %s", advice)
    return executor(noise, latent_image, sampler, *args, **kwargs)


def _of_guidance(guider: Any) -> str | None:
    cfg = getattr(guider, "cfg", 1.0)
    if cfg <= GOOD_CFG:
        return None
    return f"cfg {cfg:g} burns colours in; the model has the guidance built in and wants 1 to {GOOD_CFG:g}."


def _of_sampler(sampler: Any) -> str | None:
    name = getattr(getattr(sampler, "sampler_function", None), "__name__", "sample_lcm").removeprefix("sample_")
    if name in GOOD_SAMPLERS:
        return None
    return f"the sampler {name} is not made for this model. Choose 'lcm', or 'AnimateLCM Sampler'."


def _of_schedule(model: ModelPatcher) -> str | None:
    if schedule_of(model) is not None:
        return None
    return (
        "this model samples on a schedule of its own, not on AnimateLCM's. If that is not meant, choose 'automatic' "
        "in 'Apply AnimateLCM', and put nodes such as ModelSamplingDiscrete before it."
    )


def check_latent(model: ModelPatcher, latent: Tensor) -> None:
    """Refuse latents of another kind of model."""
    channels = model.get_model_object("latent_format").latent_channels
    if latent.ndim != 4 or latent.shape[1] != channels:
        raise PreflightError(
            f"The latent has the shape {tuple(latent.shape)}. This model needs (frames, {channels}, height / 8, "
            "width / 8): use 'Empty AnimateLCM Latent', or encode images with the VAE of this checkpoint."
        )


def check_frames(model: ModelPatcher, frames: int) -> None:
    """Refuse lengths that the model's motion module has no positions for, or no motion in."""
    config = motion_config_of(model)
    if config is None:
        raise PreflightError(
            "This model has no motion module, so every frame would be a video of its own. Put 'Apply AnimateLCM' "
            "between the checkpoint and the sampler. For the image model on every frame set its γ gamma to 0."
        )
    if config.max_frames < 2:
        raise PreflightError(
            f"This motion module has positions for {config.max_frames} frames, and a video needs 2. Load another one, "
            "such as AnimateLCM_sd15_t2v.ckpt."
        )
    windowed = "context_handler" in model.model_options  # windows are short themselves
    if not 2 <= frames <= (frames if windowed else config.max_frames):
        raise PreflightError(
            f"The latent has {frames} frame{'s' if frames > 1 else ''}. This motion module works on 2 to "
            f"{config.max_frames} frames, best on {TRAINED_FRAMES}: set 'frames' of the node that it comes from, such "
            "as 'Empty AnimateLCM Latent', 'AnimateLCM Image to Video' or 'Load AnimateLCM Video', or its batch size. "
            "For longer clips put 'AnimateLCM Long Clip' before the sampler."
        )
    if not (windowed or TRAINED_FRAMES <= frames <= 2 * TRAINED_FRAMES):
        logging.warning(
            "AnimateLCM: %d frames; motion modules are trained on %d, and move less well far from it.",
            frames,
            TRAINED_FRAMES,
        )


def check_masks(conds: dict[str, list[dict[str, Any]]], frames: int) -> None:
    """Refuse prompts whose masks are those of a video of another length."""
    counts = {_masks(cond) for prompts in conds.values() for cond in prompts} - {0}
    for count in sorted(counts):
        if count < frames and frames % count:
            raise PreflightError(
                f"A prompt has masks for {count} frames, and the latent has {frames}. Set 'frames' of 'AnimateLCM "
                "Layout Conditioning' to the video's, or give one mask for all frames."
            )


def advise_rows(conds: dict[str, list[dict[str, Any]]], frames: int) -> None:
    """Say that prompts change over another number of frames than the video has."""
    told = {len(cond["cross_attn"]) for prompts in conds.values() for cond in prompts if "cross_attn" in cond}
    for count in sorted(told - {1, frames}):
        logging.warning(
            "AnimateLCM: a prompt has %d frames, and the video %d: it is %s. Set 'frames' of 'AnimateLCM Prompt "
            "Schedule' to the video's.",
            count,
            frames,
            "cut" if count > frames else "begun again",
        )


def check_guidance(cfg: float, negative: Any | None) -> None:
    """Refuse guidance without a negative prompt."""
    if cfg > 1.0 and negative is None:
        raise PreflightError(
            f"cfg {cfg:g} compares with a negative prompt, and none is connected. Connect one, or set cfg to 1."
        )


def check_prompt(prompt: list[Any]) -> None:
    """Refuse a prompt whose encoding has values that are not numbers."""
    for encoded, *_ in prompt:
        remedy = "Look for a weight such as (word:nan) in the prompt, and for LoRAs of the text encoder."
        check_numbers(encoded, "The encoding of a prompt has", remedy)


def check_numbers(values: Tensor, which: str, remedy: str) -> None:
    """Refuse values that are not numbers, and say which have them and what to do."""
    if not torch.isfinite(values).all():
        raise PreflightError(f"{which} values that are not numbers (NaN or infinity). {remedy}")


def frame_numbers(latent: dict[str, Any]) -> list[int] | None:
    """Return a latent's "batch_index", the numbers of its frames for their noise, or None where it has none.

    ComfyUI's LatentFromBatch and LatentBatchSeedBehavior set it.
    """
    numbers, frames = latent.get("batch_index"), len(latent["samples"])
    if numbers is None:
        return None
    if len(numbers) != frames or not all(isinstance(n, int) and 0 <= n < MOST_FRAMES for n in numbers):
        raise PreflightError(
            f"The latent's batch_index does not number its {frames} frames. Expected as many whole numbers of 0 to "
            f"{MOST_FRAMES - 1}: take away the node that cuts or repeats the latent, or let it set batch_index."
        )
    return list(numbers)


def check_finite(latent: Tensor, model: ModelPatcher) -> None:
    """Refuse to hand on a result that would decode to black frames, and say what it comes from."""
    if torch.isfinite(latent).all():
        return
    if not all(torch.isfinite(tensor).all() for tensor in _tensors(model.patches)):
        cause = "A LoRA on this model has weights that are not numbers: take it away, or download its file again."
    else:
        cause = (
            "As a rule half precision overflowed: start ComfyUI with --force-fp32 or --bf16-unet, or lower the LoRA "
            "weights α and β."
        )
    raise PreflightError(
        f"Sampling gave values that are not numbers (NaN or infinity), which would decode to black frames. {cause}"
    )


def _tensors(patches: Any) -> Iterator[Tensor]:
    """Yield the tensors, and strengths as tensors, in ComfyUI's patches of weights."""
    if isinstance(patches, Tensor):
        yield patches
    elif isinstance(patches, float):
        yield torch.tensor(patches)
    elif isinstance(patches, dict | list | tuple):
        for part in patches.values() if isinstance(patches, dict) else patches:
            yield from _tensors(part)
    elif hasattr(patches, "weights"):  # an adapter: LoRA, LoHa, ...
        yield from _tensors(patches.weights)
