"""Raw token files without a header (OLMo's `.npy`, Megatron's `.bin`): a row is a chunk of ids, copied as it is."""
