"""The paper's losses, equations 16 to 20."""
