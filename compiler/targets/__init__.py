"""The architectures: one file each, from a path to named weights."""
