"""The mini family through the nodes: graphs for a server, and the clips that they make."""

import io
import json
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from _pack import ROOT
from torch import Tensor

if TYPE_CHECKING:
    from animatelcm.comfyui_server import Server

Graph = dict[str, Any]
SIZE = 64
WINDOWS: Graph = {"length": 16, "overlap": 2, "loop": False, "repeat_noise": 1.0, "stride": 1}
WINDOWS |= {"windows": "from afar", "weights": "pyramid"}


def shipped(name: str) -> Graph:
    """The API graph of a shipped workflow."""
    graph: Graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    return graph


def change(graph: Graph, kind: str, **inputs: Any) -> None:
    """Set inputs of every node of a type."""
    for node in graph.values():
        node["inputs"].update(inputs if node["class_type"] == kind else {})


def in_windows(graph: Graph) -> None:
    """Have 'AnimateLCM Long Clip' between the sampler and its model; it leaves 16 frames as they are."""
    (sampler,) = (node["inputs"] for node in graph.values() if node["class_type"] == "AnimateLCMSampler")
    graph["windows"] = {"class_type": "AnimateLCMLongClip", "inputs": WINDOWS | {"model": sampler["model"]}}
    sampler["model"] = ["windows", 0]


def from_text(server: "Server", words: str, **weights: Any) -> Tensor:
    """The video of the text-to-video graph for a prompt, with inputs of 'Apply AnimateLCM' changed."""
    graph = shipped("text_to_video")
    change(graph, "AnimateLCMApply", **weights)
    change(graph, "CLIPTextEncode", text=words)
    return run(server, graph)


def run(server: "Server", graph: Graph) -> Tensor:
    """The video of a graph, (F, 3, 64, 64) in 0..1."""
    from animatelcm.comfyui_server import outputs

    (file,) = outputs(server.run(graph))
    with av.open(io.BytesIO(server.view(file)), "r") as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return F.interpolate(torch.from_numpy(frames).movedim(-1, 1) / 255, size=SIZE, mode="area")
