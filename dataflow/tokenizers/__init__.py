"""Tokenizers as the user names them: found, checked, written as one file, and what workers do with them: texts to ids.

Whatever writes ids (`tokenize`, `export --format megatron`) makes them here, so that the same text gives the same ids.
"""
