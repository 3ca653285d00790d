"""Random checkpoints of the production classes that write text, shrunk to kilobytes, their tokenizers made here."""

import numpy as np
from PIL import Image

from models.model_ids import find
from models.placement import Placement

CHAT_TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n"
    "{% if turn['content'] is string %}{{ turn['content'] }}{% else %}{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's, without what is not used here."""


def cpu(batch_size=16):
    return Placement(device="cpu", dtype="float32", batch_size=batch_size)


def weights_at(folder):
    return find(f"path:{folder}")


def make_images(count=3):
    """Smooth noise in several sizes."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in range(count)]
    return [image.resize((40 + 9 * n, 64 - 7 * n), Image.Resampling.BICUBIC) for n, image in enumerate(noise)]


def seeded():
    """A fixed state for layers that are made after it, on one thread."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


def loud(model, scale=8.0):
    """The model with weights large enough for its choices to be clear and to hang on what it reads."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower() and parameter.ndim > 1:
                parameter.mul_(scale)
    return model.eval()


def byte_tokenizer(*specials, **named):
    """Byte-level BPE without merges, as GPT-2's and Llama 3's: one token a byte, then the special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([*named.values(), *specials])
    return PreTrainedTokenizerFast(tokenizer_object=inner, **named)


def save_llama(folder, *, chat=True, max_length=512):
    """meta-llama/Llama-3: grouped queries, an output wider than the tokenizer, no padding token of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    seeded()
    tokenizer = byte_tokenizer("<|im_start|>", bos_token="<|begin|>", eos_token="<|im_end|>")
    tokenizer.chat_template = CHAT_TEMPLATE if chat else None
    config = LlamaConfig(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=max_length, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )  # fmt: skip
    model = loud(LlamaForCausalLM(config))
    model.generation_config.update(temperature=0.7, top_p=0.8, do_sample=True, repetition_penalty=1.3)  # as Qwen's
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_blip(folder, *, depth=2, width=32):
    """Salesforce/blip-image-captioning: BERT's pieces. A number the tokenizer lacks starts a caption, [SEP] ends it."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    seeded()
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)})
    shared = {
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": depth, "num_attention_heads": 4,
    }  # fmt: skip
    config = BlipConfig(
        text_config={
            **shared, "encoder_hidden_size": width, "vocab_size": len(pieces) + 2, "bos_token_id": len(pieces),
            "eos_token_id": 2, "sep_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 64,
        },
        vision_config={**shared, "image_size": 32, "patch_size": 16, "initializer_range": 0.02},
    )  # fmt: skip
    loud(BlipForConditionalGeneration(config)).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_blip2(folder, *, language="opt", num_query_tokens=4):
    """Salesforce/blip2-opt-2.7b or blip2-flan-t5-xl: a Q-Former between ViT and a language model."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    seeded()
    tokenizer = byte_tokenizer("<image>", bos_token="</s>", eos_token="</s>", pad_token="<pad>")
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    ids["pad_token_id"] = tokenizer.pad_token_id
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    texts = {
        "opt": {
            "model_type": "opt", "vocab_size": 272, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64, **ids,
        },
        "t5": {
            "model_type": "t5", "vocab_size": 272, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
            "num_heads": 4, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": ids["pad_token_id"], **ids,
        },
    }  # fmt: skip
    config = Blip2Config(
        vision_config={**small, "image_size": 28, "patch_size": 14, "initializer_range": 0.02},
        qformer_config={**small, "vocab_size": 32, "encoder_hidden_size": 32},
        text_config=texts[language], num_query_tokens=num_query_tokens, image_token_index=image_token,
    )  # fmt: skip
    model = loud(Blip2ForConditionalGeneration(config))
    model.query_tokens.data.normal_()
    model.save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 28, "width": 28})
    Blip2Processor(images, tokenizer, num_query_tokens=num_query_tokens).save_pretrained(folder)
    return folder


def save_qwen2_vl(folder, *, chat=True):
    """Qwen/Qwen2-VL-2B-Instruct: images keep their shape, so rows differ in length."""
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    seeded()
    specials = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = byte_tokenizer(*specials, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = dict(zip(specials, tokenizer.convert_tokens_to_ids(list(specials)), strict=True))
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": 288, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None,
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    loud(Qwen2VLForConditionalGeneration(config)).save_pretrained(folder)
    size = {"shortest_edge": 28 * 28, "longest_edge": 84 * 84}
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=size), tokenizer, Qwen2VLVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE if chat else None,
    ).save_pretrained(folder)  # fmt: skip
    return folder
