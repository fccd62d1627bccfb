"""Photos, labels and the batches made of them.

Importing this package imports no TensorFlow; modules that need tf.data take it from `data.cpu_tf`.
"""
