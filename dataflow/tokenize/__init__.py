"""`tokenize`: documents of a pool as files of raw tokens, cut into chunks of one length by whoever reads them.

    list the shards | tokenise each into a file of its own | tokens.json

It stands on `export`, whose sink, claim to a folder and leases it uses.
"""
