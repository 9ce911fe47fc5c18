class MelScale:
    """Imported by ComfyUI's audio models; this pack runs none of them."""
