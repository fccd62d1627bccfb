"""Metrics of colours, segmentation and scenes: arrays in, numbers out."""
