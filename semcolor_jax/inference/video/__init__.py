"""Colours films: colours stay steady along the motion, frames keep their times, everything else is copied.

Needs the extra `video` (PyAV, OpenCV).
"""
