#!/usr/bin/env bash
# The whole story of iEdit (Bodur et al. 2023, arXiv 2305.05947) in five steps: build data, look at it, train an editor, edit an
# image, evaluate. Everything runs on two CPU cores without a GPU, on drawn scenes and small models that come with the repository
# (zoo/README.md). "Section" and "equation" below are those of the paper. What the paper leaves open: docs/iedit.md.
#
#   bash examples/iedit.sh                               # from a checkout; some 10 minutes after the set-up
#   SCENES=600 STEPS=20 CASES=8 bash examples/iedit.sh   # a short trial; its numbers mean nothing
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${OUT:-runs/story}     # everything is written below this folder
SCENES=${SCENES:-6000}     # images of the collection
STEPS=${STEPS:-300}        # steps of the training
CASES=${CASES:-64}         # edits to evaluate
MANIFEST=manifests/tiny/iedit.toml

# 1. Build the data (sections 3.1 and 3.4). Input is a table of image addresses, as LAION has it. The command draws the scenes, serves
#    them on this machine, and runs the stages of the manifest, one after another:
#      read_laion            downloads each image once
#      normalise_image       one size, one format
#      dedup                 removes copies, so that no image retrieves its copy
#      caption               BLIP describes the image: "a red pear on the moon"
#      embed, index          CLIP vectors of all images, and a search index over them
#      count_words           the words of the collection, so that edits keep to them
#      edit_caption_wordnet  changes one noun or adjective with WordNet: "a red banana on the moon"
#      retrieve              finds the image nearest to the mean of CLIP(source image) and CLIP(new caption): the pseudo-target
#      attach_target         fetches that image
#      mask_phrase           CLIPSeg masks "red pear" on the source and "red banana" on the target
#      score_pair, select    measures the pair, and drops pairs whose target does not show the edit
#      emit                  writes the dataset
#    Stop it with Ctrl-C and run it again: it resumes.
make build-dataset MANIFEST=$MANIFEST OUT="$OUT/data" WORLD_SCENES="$SCENES"

# 2. Look at it, before anything is trained. The report is one page for a browser: rows by stage, reasons of rejects, distributions of
#    scores, sample sheets. `verify` compares every file with its record.
.venv/bin/editloom verify $MANIFEST --out "$OUT/data"
echo "open $OUT/data/dataset/report.html in a browser"

# 3. Train (sections 3.3 and 3.4). Stable Diffusion learns to denoise a source image into its pseudo-target, with the loss of equation
#    12, (1 - t/T) (L_loc + L_global) + (t/T) L_mask + lambda_perc L_perc:
#      L_mask   equations 8 and 9: inside the mask predict the noise that leads to the target (equation 3), outside the source's noise
#      L_global equation 5: CLIP distance of the edited image and the new caption
#      L_loc    equation 11: the same for the masked part of the image and the changed phrase
#      L_perc   equation 10: the masked part of the edited image has the perceptual features of the masked part of the target
#    Input layers and the middle block of the UNet are updated in turn, all else is frozen.
#    $OUT/model/previews shows edits as the weights change; --resume continues after an interruption.
.venv/bin/editloom train --recipe iedit --data "$OUT/data/dataset" --model zoo:sd --out "$OUT/training" --steps "$STEPS" \
  --batch-size 8 --set size_px=64 --set clip_model=zoo:clip --set perceptual_model=zoo:dino --set run_on.preview_every=100 --resume

# 4. Edit an image that the training never saw. First held-out scenes with edits whose true result is known; then one of them with
#    SDEdit: the source is noised to 70 % and denoised with the new caption. With a mask, equation 13 puts the noised source back
#    outside it after every step, so that the rest of the image stays (section 3.4, iEdit-M).
.venv/bin/python -m zoo.write_edits "$OUT/cases" --count "$CASES" --kinds replace_noun change_colour
IMAGE=$OUT/cases/images/000000001.source.png
TEXT="a green bear and a purple cherry in the desert in falling snow"
.venv/bin/editloom edit "$IMAGE" "$TEXT" --model "path:$OUT/training/model" --set num_steps=25 --out "$OUT/edited.png"
.venv/bin/editloom edit "$IMAGE" "$TEXT" --model "path:$OUT/training/model" --set num_steps=25 --out "$OUT/edited-masked.png" \
  --mask-model zoo:clipseg --phrase "orange cherry"

# 5. Evaluate (section 4): all held-out edits, with the base model and with the trained one, by the measures of table 2. clip_score says
#    how well the result fits the new caption, ssim_not_m how much of the rest was kept, fid_source how close the results are to
#    real images. In this miniature the trained model does not beat the base model, which was trained on this very world;
#    docs/iedit.md has the whole ablation with three seeds.
for MODEL in zoo:sd "path:$OUT/training/model"; do
  .venv/bin/editloom evaluate pairs "$OUT/cases" --model "$MODEL" --set num_steps=25 --clip zoo:clip --fid zoo:dino \
    --out "$OUT/scores/${MODEL%%:*}"
done
