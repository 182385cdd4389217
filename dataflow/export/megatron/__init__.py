"""`--format megatron`: the kept rows as Megatron-LM's indexed datasets, pairs of a `.bin` and an `.idx`.

Rows of a pool of texts become ids as `poolsieve tokenize` makes them: a sequence and a document for each, an end of
text behind it. Chunks of a pool of token files are sequences as they are. No pool is read of such files, so this is a
kind of export, like `indices`, and no format.
"""
