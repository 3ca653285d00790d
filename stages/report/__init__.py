"""The pages of a finished dataset: data card, HTML report, histograms, thumbnails."""
