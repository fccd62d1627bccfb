"""Training losses of the paper (equations 16 to 20), plain and fused with the network's heads."""
