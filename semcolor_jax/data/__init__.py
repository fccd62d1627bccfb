"""Reads photos and labels from many kinds of data sets, and makes training batches of them.

Importing this package imports no TensorFlow; modules that need tf.data take it from `data.cpu_tf`.
"""
