"""The mini CLIP: the real tokenizer and the real architecture, with a vocabulary of about forty words.

CLIP's 49408 token ids are mapped onto 128 rows of embeddings, synonyms onto the same row and every other word onto one;
the map is stored in the checkpoint, so that ComfyUI's own tokenizer works unchanged.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ...comfyui_server import comfyui_dir

VOCABULARY = 49408
START, END = 49406, 49407
LENGTH = 77
ROWS = 128  # more than there are words: later versions may add some
WIDTH = 64

WORDS = (
    *("a an the", "small little tiny", "large big huge", "and", "with"),
    *("red scarlet crimson", "green", "blue", "yellow", "purple violet", "turquoise teal aqua"),
    *("black", "white", "gray grey"),
    *("orange", "pink magenta", "brown"),
    *("circle disc disk ball", "square box", "triangle", "star", "ring"),
    *("moving moves going", "standing", "still", "right", "left", "up upward upwards", "down downward"),
    *("on over", "background backdrop", "of in style", "fast", "slow", "hollow", ","),
)
UNKNOWN_ROW, START_ROW, END_ROW, FIRST_WORD_ROW = range(4)


@lru_cache(maxsize=1)
def tokenizer() -> CLIPTokenizer:
    """CLIP's BPE tokenizer, from ComfyUI's own files."""
    return CLIPTokenizer.from_pretrained(str(comfyui_dir() / "comfy" / "sd1_tokenizer"))


@lru_cache(maxsize=1)
def token_map() -> Tensor:
    """Row of the embedding table for each CLIP token id: (49408,), int32."""
    rows = torch.full((VOCABULARY,), UNKNOWN_ROW, dtype=torch.int32)
    rows[START], rows[END] = START_ROW, END_ROW
    for row, synonyms in enumerate(WORDS, FIRST_WORD_ROW):
        for word in synonyms.split():
            ids = tokenizer()(word, add_special_tokens=False)["input_ids"]
            if len(ids) != 1:
                raise ValueError(f'"{word}" is {len(ids)} tokens of CLIP. Expected a word that is one.')
            rows[ids[0]] = row
    return rows


@lru_cache(maxsize=65536)
def _rows(prompt: str) -> Tensor:
    ids = [START, *tokenizer()(prompt, add_special_tokens=False)["input_ids"][: LENGTH - 2]]
    return token_map()[ids + [END] * (LENGTH - len(ids))].long()


def embedding_rows(prompts: list[str]) -> Tensor:
    """Prompts, tokenized and padded as ComfyUI does, as rows of the embedding table: (N, 77), int64."""
    return torch.stack([_rows(prompt) for prompt in prompts])


def build_text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=ROWS,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=START_ROW,
        eos_token_id=END_ROW,
        pad_token_id=END_ROW,
        attn_implementation="eager",
    )
    encoder = CLIPTextModel(config)
    # CLIP's own 0.02 leaves words too much alike: shapes and directions were then not learned within the hour.
    nn.init.normal_(encoder.text_model.embeddings.token_embedding.weight, std=0.4)
    return encoder


def encode_text(encoder: nn.Module, prompts: list[str]) -> Tensor:
    """Context of shape (N, 77, 64). A prompt that occurs twice is encoded once."""
    unique = sorted(set(prompts))
    context = encoder(embedding_rows(unique)).last_hidden_state
    return context[[unique.index(prompt) for prompt in prompts]]
