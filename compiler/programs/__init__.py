"""The programs of the library: LSRL sources beside their oracles, prompts and decoders."""
