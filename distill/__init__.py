"""Decoupled consistency learning: the training stages, the rendered scenes and the mini family."""
