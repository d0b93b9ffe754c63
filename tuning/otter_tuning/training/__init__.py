"""In-context instruction tuning: MIMIC-IT in, an Otter that `otter-edge export` takes out.

The method is the paper's (arXiv 2306.05425, 2305.03726): eyes and language model frozen, resampler,
gated cross-attention and embeddings trained; loss on answers alone, those of the examples too.
"""
