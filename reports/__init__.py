"""Reports over drift frames, and the command line ``lsrl``."""
