"""The pool of training examples: what is told of a still is true of it."""

import torch
from animatelcm.distill.mini.autoencoder import build_autoencoder, build_encoder
from animatelcm.distill.mini.pool import fill_pool
from animatelcm.distill.mini.scenes import FRAMES, SIZE, boxes

COUNT = 40


def test_the_box_of_a_still_is_that_of_its_frame_or_mirrored() -> None:
    torch.manual_seed(0)
    autoencoder = build_autoencoder()
    build_encoder(autoencoder.encoder.layers)
    pool = fill_pool(autoencoder, clips=4, seed=1)
    stills, _, places = pool.draw_stills_with_boxes(COUNT, torch.Generator().manual_seed(2))
    known = boxes(pool.scenes, torch.arange(FRAMES, dtype=torch.float32))
    mirrored = torch.stack((1 - known[..., 2], known[..., 1], 1 - known[..., 0], known[..., 3]), dim=-1)
    assert SIZE == 64
    turned = 0
    for still, place in zip(stills, places, strict=True):
        for latents, table in ((pool.latents.float(), known), (pool.latents.float().flip(-1), mirrored)):
            same = (latents == still).flatten(2).all(-1)
            if same.any():
                assert (table[same] - place).abs().amin(0).max() < 1e-6
                turned += table is mirrored
                break
        else:
            raise AssertionError("a still that is no frame of the pool")
    assert 0 < turned < COUNT
