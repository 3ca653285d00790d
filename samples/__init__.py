"""What a sample is, apart from any stage: the images that it may hold and how they are decoded."""
