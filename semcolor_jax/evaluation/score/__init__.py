"""Scores folders of coloured photos, by any method, against a folder of originals: `semcolor score`.

`pairing` finds the pairs, `measures` defines the metrics, `streaming` reads and batches, `results` caches values,
`statistics` computes means and intervals, `tables` writes them, and `run` runs it all.
"""
