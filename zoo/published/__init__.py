"""Write edits of the miniature world in the files of published datasets, one module for each kind of files."""
