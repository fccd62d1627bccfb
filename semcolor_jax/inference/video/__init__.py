"""Colouring film: the frames in time and place, colours steady along the motion, everything else copied.

Needs the extra `video` (PyAV, OpenCV).
"""
