"""Syphus: annotations of pictures and videos to instruction-response pairs, by a language model.

System message + visual annotation + in-context examples -> language model -> filter -> translation
-> MIMIC-IT (arXiv 2306.05425, section 3.2 and appendix A).
"""
