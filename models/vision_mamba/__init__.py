"""Vision-Mamba blocks in pure torch: the selective scan in linear time, SS2D, VSS blocks."""
