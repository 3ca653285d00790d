"""The benchmarks, one file each: what a folder of theirs holds, read into edits and comparisons."""
