"""JSON held to a schema while a model in transformers writes it, through xgrammar.

Source  Dong et al. 2024, XGrammar: a token that cannot continue a text under the schema has its logit set to -inf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_PRINTABLE = 0x20
"""Lower bytes are control characters, which JSON forbids within strings (RFC 8259, section 7)."""

# B rows, V vocabulary


class JsonGrammar:
    """Schemas as grammars over one tokenizer. A compiled grammar is kept.

    The JSON has no line breaks and is separated by ", " and ": ". A string with `maxLength` or `minLength` holds no
    quotation mark and no backslash: xgrammar's rule for those has no escapes (mlc-ai/xgrammar issue 800).
    """

    def __init__(self, tokenizer: Any, *, vocab_size: int, stops: Sequence[int]) -> None:
        """`vocab_size` is the width of the logits, which may be more than the tokenizer has. `stops` end a text."""
        import xgrammar

        about = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size, stop_token_ids=list(stops))
        self._compiler = xgrammar.GrammarCompiler(about)
        self._control = [
            token
            for token, text in enumerate(about.decoded_vocab)
            if token not in stops and any(byte < FIRST_PRINTABLE for byte in text)
        ]

    def processors(self, json_schema: Mapping[str, Any]) -> list[Any]:
        """Logits processors for one call of `generate`: they follow the text and cannot be used again."""
        from xgrammar.contrib.hf import LogitsProcessor

        grammar = self._compiler.compile_json_schema(dict(json_schema), any_whitespace=False)
        return [LogitsProcessor(grammar), self._without_control_characters]

    def _without_control_characters(self, input_ids: Any, scores: Any) -> Any:
        """The rule for bounded strings admits control characters, which are no JSON (the same issue)."""
        del input_ids
        scores[:, self._control] = float("-inf")
        return scores
