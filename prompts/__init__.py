"""Prompts over time: reading them, mixing them between keyframes, and what they look like to people."""
