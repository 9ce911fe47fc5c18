"""The node that reads frames from a video file."""

import logging

from comfy_api.latest import io

from ..video.probe import describe
from ..video.read import Excerpt, read_video
from ..video.sound import read_sound
from .checked import checked
from .compatibility import known
from .folders import fingerprint_of
from .inputs import FileInput, frames_input, size_input
from .progress import on_frame
from .saving import audio_of
from .videos import MissingVideoError, find_video, videos

DEFAULT_FPS = 8.0  # what motion modules are trained at
CROP = " The middle of the picture is used where the shape differs."


@checked
class AnimateLCMLoadVideo(io.ComfyNode):
    """Reads as much of a video as is asked for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLoadVideo",
            display_name="Load AnimateLCM Video",
            category="AnimateLCM",
            description="Reads a part of a video (MP4, WebM, MOV, MKV, AVI, GIF, animated WebP and others), and cuts "
            "it to size. Only the frames asked for are kept in memory.",
            # The page puts its upload button behind all required inputs: one that is added later has to be optional
            inputs=[
                FileInput(
                    "video",
                    options=videos(),
                    upload=io.UploadType.video,
                    tooltip="A file of ComfyUI's input folder, or the example that comes with this pack.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=86400.0,
                    step=0.1,
                    tooltip="Seconds of the video to leave out at its beginning, 0 to 86400.",
                ),
                frames_input("1 to 4096"),
                io.Int.Input(
                    "every_nth",
                    default=1,
                    min=1,
                    max=100,
                    tooltip="1 reads every frame, 2 every second one, and so on to 100. Motion modules are trained at "
                    "8 frames per second: 3 suits a video of 24.",
                ),
                size_input("width", CROP),
                size_input("height", CROP),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The frames, for VAE Encode."),
                io.Float.Output(display_name="fps", tooltip="How many of these frames make a second."),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The sound of these frames, for Save AnimateLCM Video; silence where the video has none.",
                ),
            ],
            **known(io.Schema, search_aliases=["video to video", "vid2vid", "mp4", "gif"]),
        )

    @classmethod
    def validate_inputs(cls, video: str | None = None) -> bool | str:
        """Check the name that is chosen here; one that is missing, or handed over, is None at this time."""
        try:
            return video is None or bool(find_video(video))
        except MissingVideoError as error:
            return str(error)

    @classmethod
    def fingerprint_inputs(cls, video: str | None = None, **others: object) -> str:
        return fingerprint_of(find_video(video)) if video else ""

    @classmethod
    def execute(cls, video: str, start: float, frames: int, every_nth: int, width: int, height: int) -> io.NodeOutput:
        excerpt = Excerpt(start=start, frames=frames, every=every_nth, width=width, height=height)
        path, watched = find_video(video), on_frame()
        images, fps = read_video(path, excerpt, watched)
        if len(images) == 1 < frames:
            logging.warning("AnimateLCM: %s has one frame from second %g on; motion needs at least 2.", video, start)
        elif len(images) < frames:
            logging.warning("AnimateLCM: %s ends after %d of %d frames.", video, len(images), frames)
        if not fps:
            logging.warning("AnimateLCM: %s does not say how fast it plays; %g frames a second.", video, DEFAULT_FPS)
        fps = fps or DEFAULT_FPS
        sound = read_sound(describe(path), start, len(images) / fps, lambda: watched(frames - 1, frames))
        return io.NodeOutput(images, fps, audio_of(sound))
