"""Graphs made of AnimateDiff-Evolved's nodes ("ADE") to graphs of this pack's: pure functions on JSON, with a report.

Nothing here imports ComfyUI, torch or anything else that has to be installed.
"""
