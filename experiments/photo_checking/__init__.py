"""What `experiments/photo_checks.py` is made of: photos in every format, and independent looks at results."""
