"""The comfy side of long clips: an object that ComfyUI asks for predictions, which makes them window by window.

`model_options["context_handler"]` is how ComfyUI's own node does it too; its object, though, cuts no hints to a window,
and on ComfyUI 0.3.75 it fails on SD1.5.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from comfy.conds import CONDConstant, CONDList, CONDRegular
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..windows.frames import FRAMES, Frames, ad_params
from .noise import held, repeated, step_noise
from .windows import FROM_AFAR, LOOPED, MOVING, UNIFORM, Window, WindowPlan, shares, windows

KEY, HANDLER = "animatelcm_long_clip", "context_handler"
# What ComfyUI's own node leaves on a model: they read numbers of its handler, and of no other.
COMFYUIS_WRAPPERS = {
    WrappersMP.PREPARE_SAMPLING: "ContextWindows_prepare_sampling",
    WrappersMP.SAMPLER_SAMPLE: "ContextWindows_sampler_sample",
}
TAKE_STEP_NOISE = ("sample_consistency", "sample_lcm")
PURE_NOISE = 0.8  # of the greatest noise level, from which on nothing of a latent is left to see


def attach_windows(model: ModelPatcher, plan: WindowPlan, repeat_noise: float) -> ModelPatcher:
    """Return a clone of `model` that samples clips of more than `plan.length` frames in windows.

    Args:
        model: any SD1.5 model, as a rule with a motion module.
        plan: how windows are laid over a clip.
        repeat_noise: 0 to 1, how much the noise repeats from one window's length to the next.
    """
    patched = model.clone()
    found = patched.model_options.get(HANDLER)
    if found is not None:
        logging.warning(
            "AnimateLCM: the model has windows from an earlier node (%s). 'AnimateLCM Long Clip' comes later, and "
            "replaces them.",
            type(found).__name__,
        )
    clip = LongClip(plan, repeat_noise)
    patched.model_options[HANDLER] = clip
    for kind, name in COMFYUIS_WRAPPERS.items():
        patched.remove_wrappers_with_key(kind, name)
    wrappers = {WrappersMP.PREPARE_SAMPLING: clip.reserve, WrappersMP.OUTER_SAMPLE: clip.sample}
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


@dataclass(frozen=True)
class LongClip:
    """ComfyUI's context handler, and the two wrappers that go with it."""

    plan: WindowPlan
    repeat_noise: float

    @property
    def context_length(self) -> int:
        """The most frames of a window, under the name that ComfyUI's handlers have it."""
        return self.plan.length

    def should_use_context(self, model: Any, conds: Any, x_in: Tensor, timestep: Tensor, model_options: Any) -> bool:
        """Return whether a clip, (frames, ...), is longer than a window."""
        return len(x_in) > self.plan.length

    def execute(
        self,
        calc_cond_batch: Callable[..., list[Tensor]],
        model: Any,
        conds: list[list[dict[str, Any]] | None],
        x_in: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ) -> list[Tensor]:
        """Return what each of `conds` predicts of x_in, (frames, channels, height, width): the windows', fused."""
        options, frames = model_options.get("transformer_options", {}), len(x_in)
        levels = options.get("sample_sigmas", timestep[:1])
        plan, steps = self.plan_for(model.model_sampling, levels), max(1, len(levels) - 1)
        step = step_of(levels, float(timestep[0]))
        now = windows(plan, frames, step, steps)
        fused = [torch.zeros_like(x_in) for _ in conds]
        for number, (window, share) in enumerate(zip(now, shares(now, plan.weights), strict=True)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            seen = torch.tensor(window, device=x_in.device)
            told = {**model_options, "transformer_options": {**options, **window_options(window, frames)}}
            with hints_of(conds, window):
                cut = [None if cond is None else [cut_cond(part, window) for part in cond] for cond in conds]
                predicted = calc_cond_batch(model, cut, x_in[seen], timestep[seen], told)
            weight = x_in.new_tensor(share).view(-1, *[1] * (x_in.ndim - 1))
            for whole, part in zip(fused, predicted, strict=True):
                whole.index_add_(0, seen, weight * part)
            show([len(windows(plan, frames, i, steps)) for i in range(steps)], step, number + 1)
        return fused

    def plan_for(self, sampling: Any, levels: Tensor) -> WindowPlan:
        """Return how windows are laid in a sample of these noise levels: what there is to see already is not seen from
        afar, where it would move too fast."""
        if float(levels[0]) >= PURE_NOISE * float(sampling.sigma_max) or self.plan.layout != FROM_AFAR:
            return self.plan
        return replace(self.plan, layout=MOVING)

    def reserve(self, executor: Any, model: Any, noise_shape: Sequence[int], *args: Any, **kwargs: Any) -> Any:
        """A PREPARE_SAMPLING wrapper: let ComfyUI make room for one window, not for the clip."""
        frames, *sides = noise_shape
        if model.model_options.get(HANDLER) != self:
            return executor(model, noise_shape, *args, **kwargs)
        return executor(model, [min(frames, self.plan.length), *sides], *args, **kwargs)

    def sample(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """An OUTER_SAMPLE wrapper: repeat the noise that a sample starts from, and that of its steps."""
        guider = executor.class_obj
        if guider.model_options.get(HANDLER) != self:  # equal, not the same: a clone of the model has a copy
            name = type(guider.model_options.get(HANDLER)).__name__
            logging.warning("AnimateLCM: another node's windows, %s, replace those of 'AnimateLCM Long Clip'.", name)
        elif len(noise) > self.plan.length:
            plan = self.plan_for(guider.model_patcher.get_model_object("model_sampling"), sigmas)
            say_stride(plan, len(noise))
            noise = self.started(noise, plan.far_steps(len(noise), len(sigmas) - 1) > 0)
            sampler = self.with_step_noise(sampler, noise.shape, seed or 0) if self.repeat_noise else sampler
        return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)

    def started(self, noise: Tensor, far: bool) -> Tensor:
        """Return the noise that a clip starts from; seen from afar, the windows side by side have the same."""
        if far:
            return held(noise, self.plan.distance(len(noise)))
        return repeated(noise, self.plan.length, self.repeat_noise)

    def with_step_noise(self, sampler: Any, shape: Sequence[int], seed: int) -> Any:
        """Return a sampler whose steps' noise repeats, where it is one that adds noise in the way of this pack."""
        function, options = getattr(sampler, "sampler_function", None), getattr(sampler, "extra_options", {})
        if getattr(function, "__name__", "") not in TAKE_STEP_NOISE or options.get("noise_sampler") is not None:
            return sampler

        def noise_sampler(sigma: Tensor, lower: Tensor) -> Tensor:
            noise = step_noise(shape, seed, float(lower), options.get("numbers"))
            return repeated(noise, self.plan.length, self.repeat_noise).to(sigma.device)

        more = {**options, "noise_sampler": noise_sampler}
        return comfy.samplers.KSAMPLER(function, more, sampler.inpaint_options)


def show(counts: Sequence[int], step: int, done: int) -> None:
    """Move the progress bar to a window of a step; the last window of a step is the sampler's own to show.

    Args:
        counts: windows of each step.
        step: its number; samplers may ask for predictions after the last, too.
        done: windows of it that are done.
    """
    if step < len(counts) and done < counts[step]:
        comfy.utils.ProgressBar(sum(counts)).update_absolute(sum(counts[:step]) + done)


def say_stride(plan: WindowPlan, frames: int) -> None:
    """Say in the log how much of a stride is too much for a clip."""
    stride = len(plan.distances(frames))
    if plan.layout in (UNIFORM, LOOPED) and stride < plan.stride:
        logging.warning("AnimateLCM: %d frames are too few for a stride of %d: it is %d.", frames, plan.stride, stride)


def step_of(levels: Tensor, sigma: float) -> int:
    """Return the number of the step to which a noise level belongs; samplers look between two levels as well."""
    return int((levels > sigma * (1 + 1e-4)).sum())


def window_options(window: Window, frames: int) -> dict[str, Any]:
    """Return what says which frames are seen: to this pack's own parts, and to IP-Adapter and Advanced-ControlNet."""
    seen = Frames(window, frames)
    return {FRAMES: seen, "ad_params": ad_params(seen)}


# What belongs to a frame goes into the windows that the frame is in


def rows_of(tensor: Tensor, window: Window) -> Tensor:
    """Return a window's rows of what has one row per frame; ComfyUI begins again where there are fewer rows."""
    if len(tensor) == 1:
        return tensor
    return tensor[[frame % len(tensor) for frame in window]]


def cut_cond(cond: dict[str, Any], window: Window) -> dict[str, Any]:
    """Return a copy of a prompt, as ComfyUI's sampling knows it, for a window."""
    cut = dict(cond)
    cut["model_conds"] = {name: _cut_model_cond(value, window) for name, value in cond.get("model_conds", {}).items()}
    if "mask" in cond:
        cut["mask"] = rows_of(cond["mask"], window)
    return cut


def _cut_model_cond(value: Any, window: Window) -> Any:
    if isinstance(value, CONDConstant) or not isinstance(value, CONDRegular | CONDList):
        return value
    if isinstance(value, CONDList):
        return value._copy_with([rows_of(part, window) for part in value.cond])
    return value._copy_with(rows_of(value.cond, window))


@contextmanager
def hints_of(conds: Sequence[Sequence[dict[str, Any]] | None], window: Window) -> Iterator[None]:
    """Let the ControlNets and T2I adapters of prompts see a window's hints only, for as long as this lasts."""
    controls = list(dict.fromkeys(_controls(conds)))
    before = [(control, control.cond_hint_original, control.extra_concat_orig) for control in controls]
    try:
        for control, hint, more in before:
            control.cond_hint = None  # made of the hints at first use, and kept until others are given
            control.cond_hint_original = rows_of(hint, window)
            control.extra_concat_orig = [rows_of(part, window) for part in more]
        yield
    finally:
        for control, hint, more in before:
            control.cond_hint, control.cond_hint_original, control.extra_concat_orig = None, hint, more


def _controls(conds: Sequence[Sequence[dict[str, Any]] | None]) -> Iterator[Any]:
    """Yield all that have hints, also those of other GPUs; Advanced-ControlNet's read the window for themselves."""
    for cond in (part for prompt in conds if prompt is not None for part in prompt):
        control = cond.get("control")
        while control is not None:
            copies = getattr(control, "multigpu_clones", {}).values()
            yield from (one for one in (control, *copies) if _has_hints(one))
            control = control.previous_controlnet


def _has_hints(control: Any) -> bool:
    return isinstance(control.cond_hint_original, Tensor) and not hasattr(control, "sub_idxs")
