"""`semcolor score`: folders of coloured photos, by any method, against a folder of originals.

`pairing` finds the pairs, `measures` says what is measured, `streaming` reads and computes, `results` keeps what has
been computed, `statistics` makes means and intervals, `tables` writes them, and `run` is the whole.
"""
