"""ComfyUI node classes: what people connect, and the checks before the work starts."""
