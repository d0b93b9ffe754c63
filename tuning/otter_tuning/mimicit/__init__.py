"""MIMIC-IT, the multimodal in-context instruction data: its files, their store, their checking.

The released formats (arXiv 2306.05425): instructions as JSON, images as JSON or Parquet, context
maps (`*_train.json`) and the grouped YAML that says what a training mixes.
"""
