"""The pocket tokenizer: byte-level BPE trained on the pocket world's sentences."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from otter_tuning.pocket.questions import corpus

# The order is the published checkpoints' (50277-50280 in MPT, 32000-32003 in LLaMA).
SPECIAL_TOKENS = ("<|endofchunk|>", "<image>", "<answer>", "<PAD>")
VOCABULARY = 512
PROMPT, END = "<image>User: {question} GPT:<answer>", SPECIAL_TOKENS[0]


def special_ids(tokenizer: Tokenizer) -> tuple[int, int, int, int]:
    """Ids of SPECIAL_TOKENS, in their order."""
    end, image, answer, pad = (tokenizer.encode(token).ids[0] for token in SPECIAL_TOKENS)
    return end, image, answer, pad


def train_tokenizer() -> Tokenizer:
    """Byte-level BPE: every word of the pocket world is one token, and any text has ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    prompts = [f"User: {sentence} GPT:" for sentence in corpus()]
    tokenizer.train_from_iterator([*corpus(), *prompts], trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer
