"""What users hand in: tars, tables, folders of images and files of captions, read with every fault named."""
