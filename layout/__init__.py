"""Boxes over time: reading them, where they are in each frame, and what they look like to a model and to people."""
