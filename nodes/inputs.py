"""Inputs that several nodes, or several sides of a frame, have in common."""

from comfy_api.latest import io


class FileInput(io.Combo.Input):
    """A choice among files. One that is not in the list may be there all the same: "clip.mp4 [output]", for one."""


class PerFrameInput(io.Float.Input):
    """A number; from another node also a list of numbers, one for each frame."""


def steps_input() -> io.Int.Input:
    """How many consistency steps to take."""
    tooltip = "Number of steps, 1 to 100: 4 as a rule, 6 to 8 for more detail, 2 for speed."
    return io.Int.Input("steps", default=4, min=1, max=100, tooltip=tooltip)


def denoise_input() -> io.Float.Input:
    """Over how much of the schedule to run."""
    tooltip = "Share of the schedule to run over, 0.01 to 1. Below 1 the given latent is kept in part."
    return io.Float.Input("denoise", default=1.0, min=0.01, max=1.0, step=0.01, tooltip=tooltip)


def size_input(side: str, more: str = "") -> io.Int.Input:
    """The "width" or the "height" of a frame, in pixels; `more` is what else a node says of it."""
    tooltip = f"{side.capitalize()} in pixels, 64 to 4096 by 8. SD1.5 is made for 512, the mini family for 64.{more}"
    return io.Int.Input(side, default=512, min=64, max=4096, step=8, tooltip=tooltip)


def frames_input(least: str = "at least 2") -> io.Int.Input:
    """How long the video is; `least` is what a node says of few frames."""
    tooltip = (
        f"Length in frames, {least}. Motion modules are trained on 16 frames, which is 2 seconds at 8 frames per "
        "second; they end at some length, AnimateLCM's at 64, and 'AnimateLCM Long Clip' goes on from there."
    )
    return io.Int.Input("frames", default=16, min=1, max=4096, tooltip=tooltip)
