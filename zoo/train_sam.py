"""Trains zoo:sam, a SamModel, to cut out what a box holds (Kirillov et al. 2023, with a plain focal loss)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from zoo.batches import IMAGE_MEAN, IMAGE_STD, PatchHead, draw, patch_truth, pixels
from zoo.export import export
from zoo.training import Training, device, train
from zoo.world import SIZE_PX, boxes, thing_masks

if TYPE_CHECKING:
    import random

PATCH_PX = 4
WIDTH = 96
DECODER_WIDTH = 64
BOX_JITTER_PX = 1.0
TRAINING = Training(
    "sam", num_steps=1600, batch_size=20, learning_rate=1.5e-3, muon_rate=0.006, ema=0.995, autocast=True
)


def build() -> SamModel:
    """A SamModel with random weights: 96 wide, 4 global vision layers over 4 px patches, masks at 64 px."""
    vision = {
        "hidden_size": WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4, "mlp_dim": 4 * WIDTH,
        "image_size": SIZE_PX, "patch_size": PATCH_PX, "output_channels": DECODER_WIDTH,
        "window_size": 0, "global_attn_indexes": [0, 1, 2, 3], "num_pos_feats": DECODER_WIDTH // 2,
        "initializer_range": 0.02, "scale": 1.0,  # the library's own start, 1e-10 and width / 2, is for loaded weights
    }  # fmt: skip
    prompt = {"hidden_size": DECODER_WIDTH, "image_size": SIZE_PX, "patch_size": PATCH_PX, "mask_input_channels": 8}
    prompt |= {"image_embedding_size": SIZE_PX // PATCH_PX}
    decoder = {"hidden_size": DECODER_WIDTH, "mlp_dim": 256, "num_attention_heads": 4, "iou_head_hidden_dim": 64}
    model = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))
    for module in model.mask_decoder.modules():
        if isinstance(module, nn.Linear | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)  # a mask is a product of two outputs: both near zero, none learns
    for embedding in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        embedding.requires_grad_(requires_grad=False)  # random Fourier features, the same in both
    model.prompt_encoder.shared_embedding.load_state_dict(model.shared_image_embedding.state_dict())
    return model


def mask_loss(logit_NHW: torch.Tensor, mask_NHW: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy plus dice, mean over the N masks."""
    cross = nn.functional.binary_cross_entropy_with_logits(logit_NHW, mask_NHW)
    chance = logit_NHW.sigmoid()
    overlap = (chance * mask_NHW).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (chance.sum((1, 2)) + mask_NHW.sum((1, 2)) + 1)
    return 2 * cross + dice.mean()


class Trained(nn.Module):
    """The model and the head that helps its vision tower."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = build()
        self.head = PatchHead(DECODER_WIDTH, PATCH_PX)

    def losses(self, training: Training, step: int) -> dict[str, torch.Tensor]:
        """One box an image, off by up to a pixel a side, with single and multiple mask outputs in turn.

        The encoder is called by itself: the model's `get_image_embeddings` cuts off its gradients.
        """
        rng = training.rng(step)
        scenes = draw(rng, training.batch_size)
        embedded = self.sam.vision_encoder(
            pixels(scenes).to(device())
        ).last_hidden_state  # with gradients, unlike theirs
        chosen = [rng.randrange(len(scene.things)) for scene in scenes]
        masks = [thing_masks(scene)[index] for scene, index in zip(scenes, chosen, strict=True)]
        box_B14 = torch.from_numpy(np.stack([boxes(mask[None]) + _jitter(rng) for mask in masks]))
        out = self.sam(
            image_embeddings=embedded,
            input_boxes=box_B14.clamp(0, SIZE_PX).to(device()),
            multimask_output=step % 2 == 1,
        )
        logit_BKHW = out.pred_masks[:, 0].float()
        mask_BHW = torch.from_numpy(np.stack(masks)).float().to(device())
        each = [mask_loss(logit_BKHW[:, k], mask_BHW) for k in range(logit_BKHW.shape[1])]
        with torch.no_grad():
            on_BKHW, true_BKHW = logit_BKHW > 0, (mask_BHW > 0)[:, None]
            iou_BK = (on_BKHW & true_BKHW).sum((2, 3)) / (on_BKHW | true_BKHW).sum((2, 3))
        guessed = nn.functional.mse_loss(out.iou_scores[:, 0].float(), iou_BK)
        tokens = embedded.flatten(2).transpose(1, 2)
        patches = self.head(tokens, patch_truth(scenes, PATCH_PX))
        return {"masks": torch.stack(each).mean(), "guessed": guessed, "patches": 0.5 * patches}


def _jitter(rng: random.Random) -> np.ndarray:
    return np.array([[rng.uniform(-BOX_JITTER_PX, BOX_JITTER_PX) for _ in range(4)]], dtype=np.float32)


def main(training: Training = TRAINING) -> None:
    """Trains and exports to zoo/weights/sam."""
    torch.manual_seed(training.seed)
    trained = Trained().to(device())
    train(training, trained, lambda step: trained.losses(training, step))
    processor = SamImageProcessor(
        size={"longest_edge": SIZE_PX}, pad_size={"height": SIZE_PX, "width": SIZE_PX},
        mask_size={"longest_edge": SIZE_PX}, mask_pad_size={"height": SIZE_PX, "width": SIZE_PX},
        image_mean=IMAGE_MEAN, image_std=IMAGE_STD,
    )  # fmt: skip
    export("sam", trained.sam, SamProcessor(processor))


if __name__ == "__main__":
    main()
